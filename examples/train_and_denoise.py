"""Train on your tomograms, then denoise all of them: python train_and_denoise.py OUT T1.mrc ..."""

import os
import sys
from pathlib import Path

import dual_core

output, tomograms = Path(sys.argv[1]), sys.argv[2:]
PRESET = os.environ.get("PRESET", "standard")  # quick for a first look, thorough for a GPU
VOXEL_SIZE_A = 10.0  # that of your tomograms, if you can
SHAPE = (64, 128, 128)  # of each synthetic cell (z, y, x)

cells = dual_core.pack(voxel_size_A=VOXEL_SIZE_A, shape=SHAPE, count=3, output=output / "cells")
clean = [cell.path for cell in cells]

config = dual_core.preset_config(PRESET, tilt_range_deg=(-60.0, 60.0))
trained = dual_core.train(tomograms, clean, output / "run", config=config)

for path in tomograms:
    target = output / f"{Path(path).stem}_denoised.mrc"
    found = dual_core.denoise(path, trained.path, output=target)
    print(f"{found.path}: density {found.contrast}, correlation {found.correlation:.2f}")
