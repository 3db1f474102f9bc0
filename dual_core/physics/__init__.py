"""The conventional simulator: tilt-series forward model and weighted back-projection.

It is the baseline that learned simulation is compared with, and a source of tomograms whose
truth is known. Everything here is numpy and scipy; nothing needs torch.
"""
