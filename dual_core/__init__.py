"""DUAL: deep unsupervised simultaneous simulation and denoising for cryo-electron tomography."""

__version__ = "0.2.0"
