"""The power of tomograms' noise as finely as their thickness resolves it, and noise of that power."""
