"""Pairs to learn from: turned tomograms, copies with independent noise, and the halves."""
