"""Volumes larger than the memory: which tiles, in which order, and a network that runs on them."""
