"""What runs in Napari's own environment; in a folder of its own, which Python puts before all."""
