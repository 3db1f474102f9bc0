"""Volumes: MRC in and out, voxel size, axes, contrast; training patches drawn from them."""
