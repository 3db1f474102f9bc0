"""Grand models: noise-free density maps packed with molecules, membranes and fiducials.

A grand model is the clean domain ``V`` of the paper. Everything is kept on one scale, dalton
per cubic angstrom: the voxels of a molecule times the voxel volume sum to its mass, whatever
file it came from. Arrays are ``(z, y, x)``; proteins are bright on a zero background.
"""
