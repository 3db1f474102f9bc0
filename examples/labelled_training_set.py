"""Simulated tomograms with class masks, for a segmentation network: MODEL OUT [COPIES]."""

import sys
from pathlib import Path

import dual_core

model, output = sys.argv[1], Path(sys.argv[2])
copies = int(sys.argv[3]) if len(sys.argv) > 3 else 4  # of each cell, each with its own noise
SHAPE = (64, 128, 128)

cells = dual_core.pack(shape=SHAPE, count=2, gold=3, seed=7, output=output / "cells")
network = dual_core.DualModel.load(model)  # once, not for every tomogram

for number, cell in enumerate(cells):
    for copy in range(1, copies + 1):
        target = output / f"cell_{number}_copy_{copy}.mrc"
        made = dual_core.simulate(cell.path, network, copy=copy, output=target)
        print(made.path, made.labels["class_mask"], made.labels["particles"])

print("classes:", {"background": 0, **cells[0].classes})
