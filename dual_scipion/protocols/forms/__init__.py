"""The forms of the protocols."""
