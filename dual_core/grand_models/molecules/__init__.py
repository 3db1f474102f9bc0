"""Molecules as density: atomic models, maps, built-in ones, lists of them."""
