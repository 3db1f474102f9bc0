"""How far simulated tomograms are from real ones."""
