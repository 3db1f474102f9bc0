"""DUAL: deep unsupervised simultaneous simulation and denoising for cryo-electron tomography."""

__version__ = "0.1.0"
