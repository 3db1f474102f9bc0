"""The power of tomograms' noise as fine as their thickness resolves it, and such noise."""
