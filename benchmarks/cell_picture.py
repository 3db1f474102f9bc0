"""Draw the cell that ``dual pack`` makes without options: docs/images/cell.png.

    python benchmarks/cell_picture.py --output docs/images

Sections, the classes of one of them, a microtubule and actin cut along and across, and a vesicle.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
from common import dual
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from dual_core.grand_models.orientations import as_zyx, orientation_from_euler
from dual_core.volumes.reading import open_volume

HALF = 24  # voxels of a cross-section, either side


def cross_section(density: np.ndarray, row: Dict[str, str], along: bool) -> np.ndarray:
    """A plane through an object's centre: at right angles to its axis, or with it level."""
    centre = np.array([float(row[f"{axis}_voxel"]) for axis in "zyx"])
    angles = [float(row[f"relion_{name}_deg"]) for name in ("rot", "tilt", "psi")]
    axis, one, two = as_zyx(orientation_from_euler(*angles)).T
    steps = np.arange(-HALF, HALF + 0.25, 0.25)
    down, right = np.meshgrid(steps, steps, indexing="ij")
    plane = [down[..., None] * one + right[..., None] * (axis if along else two) + centre]
    return np.asarray(ndimage.map_coordinates(density, np.moveaxis(plane[0], -1, 0), order=1))


def surroundings(density: np.ndarray, row: Dict[str, str]) -> np.ndarray:
    """The section through an object's centre, around it."""
    z, y, x = (round(float(row[f"{axis}_voxel"])) for axis in "zyx")
    reach = 2 * HALF
    return density[z, max(y - reach, 0):y + reach, max(x - reach, 0):x + reach]


def panels(folder: Path) -> List[Tuple[str, np.ndarray]]:
    """Titles and pictures."""
    density = open_volume(folder / "grand_model_0.mrc").load()
    classes = open_volume(folder / "class_mask_0.mrc").load()
    with open(folder / "particles_0.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    depth = len(density)
    tube = next(row for row in rows if row["name"] == "microtubule")
    actin = next(row for row in rows if row["name"] == "actin")
    vesicle = [row for row in rows if row["kind"] == "membrane"][-1]
    through = round(float(tube["z_voxel"]))
    return [
        (f"section {through}, through a microtubule", density[through]),
        (f"section {depth // 2}", density[depth // 2]),
        (f"classes of section {through}", classes[through]),
        ("xz", density[:, density.shape[1] // 2]),
        ("microtubule, across", cross_section(density, tube, False)),
        ("microtubule, along", cross_section(density, tube, True)),
        ("actin, along", cross_section(density, actin, True)),
        ("a vesicle", surroundings(density, vesicle)),
    ]


def main() -> None:
    """Pack and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmark_cell"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dual(["pack", "--output", args.work, "--seed", args.seed], 1)
    figure = Figure(figsize=(16.0, 8.4))
    FigureCanvasAgg(figure)
    for number, (title, picture) in enumerate(panels(args.work), start=1):
        axes = figure.add_subplot(2, 4, number)
        labels = title.startswith("classes")
        axes.imshow(picture, cmap="nipy_spectral" if labels else "gray", vmin=0,
                    vmax=picture.max() if labels else 0.75, interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    figure.tight_layout()
    args.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output / "cell.png", dpi=65)


if __name__ == "__main__":
    main()
