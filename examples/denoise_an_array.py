"""Denoise a tomogram that is in memory, and save the result: python denoise_an_array.py T M OUT."""

import sys

import mrcfile

import dual_core

tomogram, model, output = sys.argv[1:4]  # an MRC file, a model of 'dual train', a file to write

with mrcfile.open(tomogram) as mrc:
    volume = mrc.data.copy()  # (z, y, x)
    voxel_size_A = float(mrc.voxel_size.x)

found = dual_core.denoise(volume, model, voxel_size_A=voxel_size_A, strength=0.9)
print(f"density is {found.contrast}, correlation with the raw tomogram {found.correlation:.2f}")

with mrcfile.new(output, overwrite=True) as mrc:
    mrc.set_data(found.array)
    mrc.voxel_size = voxel_size_A
