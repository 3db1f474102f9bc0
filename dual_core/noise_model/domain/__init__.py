"""What tomograms look like to a network, in a few numbers: noise, spectrum and tilt range."""
