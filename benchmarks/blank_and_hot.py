"""What padding, a hot voxel and strong gold do to the result and to picking.

    python benchmarks/blank_and_hot.py run/model.safetensors

A tomogram of the test pair is spoilt in several ways, denoised with contrast ``auto`` and compared
with the truth where it was not touched, further than 12 voxels from padding and beads.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Dict, Tuple

import numpy as np
from common import DATA, circumstances
from scipy import ndimage

from dual_core.networks.model import DualModel
from dual_core.picking.pick import PickOptions, pick_particles
from dual_core.tasks.denoise import denoise_tomogram, make_runner
from dual_core.volumes.reading import ArrayVolume, open_volume, write_volume

VOXEL_A = 10.0
BORDER = 12
CORNER_DEG = 15.0
BEADS, BEAD_RADIUS, BEAD_DEVIATIONS = 40, 5.0, 25.0
HALO = 12
GOLD_CLASS = 15
DEVIATION = 24.0  # of the byte tomogram


def corners(shape: Tuple[int, int, int]) -> np.ndarray:
    """What a tomogram that was turned about the beam leaves blank, bool ``(z, y, x)``."""
    angle = np.deg2rad(CORNER_DEG)
    y, x = np.indices(shape[1:]) - (np.array(shape[1:])[:, None, None] - 1) / 2
    along, across = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    half = 0.445 * np.array(shape[1:])
    outside = (np.abs(along) > half[0]) | (np.abs(across) > half[1])
    return np.broadcast_to(outside, shape).copy()


def beads(shape: Tuple[int, int, int]) -> np.ndarray:
    """Round beads away from the faces, bool ``(z, y, x)``; seed 0."""
    random = np.random.default_rng(0)
    centres = np.ones(shape, dtype=bool)
    for _ in range(BEADS):
        z, y, x = (int(random.integers(20, length - 20)) for length in shape)
        centres[z, y, x] = False
    inside: np.ndarray = ndimage.distance_transform_edt(centres) <= BEAD_RADIUS
    return inside


def cases(raw: np.ndarray) -> Dict[str, Tuple[np.ndarray, np.ndarray]]:
    """Name to (spoilt tomogram as bytes or float32, voxels that were touched)."""
    values = (raw - raw.mean()) / raw.std()
    byte = np.clip(np.rint(128 + DEVIATION * values), 1, 255).astype(np.float32)
    real = (128 + DEVIATION * values).astype(np.float32)
    nothing = np.zeros(raw.shape, dtype=bool)
    blank, gold = corners(raw.shape), beads(raw.shape)
    hot = nothing.copy()
    hot[50, 90, 90] = True
    found = {"as it is": (byte, nothing)}
    for name, fill in (("0", 0), ("255", 255), ("the mean", 128)):
        found[f"corners filled with {name}"] = (np.where(blank, np.float32(fill), byte), blank)
    found["in real numbers"] = (real, nothing)
    found["a voxel of -1e5"] = (np.where(hot, np.float32(-1e5), real), hot)
    strong = np.float32(128 - BEAD_DEVIATIONS * DEVIATION)
    found["beads of 25 deviations"] = (np.where(gold, strong, real), gold)
    return found


def own_halo(result: np.ndarray, truth: np.ndarray, classes: np.ndarray) -> float:
    """Background near the tomogram's own gold less background elsewhere, in deviations.

    Both volumes standardised; positive where the background looks like density.
    """
    distance = ndimage.distance_transform_edt(classes != GOLD_CLASS)
    empty = ndimage.distance_transform_edt(classes == 0) > 2
    near, far = empty & (distance > 3) & (distance <= HALO), empty & (distance > 2 * HALO)
    error = (result - result.mean()) / result.std() - (truth - truth.mean()) / truth.std()
    return float(error[near].mean() - error[far].mean())


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, of two flat arrays."""
    return float(np.corrcoef(one, other)[0, 1])


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    model = DualModel.load(args.model)
    raw = open_volume(args.data / "tomo_9.mrc").load()
    truth = open_volume(args.data / "grand_9.mrc").load()
    classes = open_volume(args.data / "class_9.mrc").load()
    print("Halo: density 2 to 12 voxels from the beads less that without them, in deviations.")
    print("| tomogram | contrast | correlation | of the unspoilt result | halo | blank picks |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (spoilt, touched) in cases(raw).items():
            source, output = Path(folder, "t.mrc"), Path(folder, "d.mrc")
            whole = (spoilt == np.rint(spoilt)).all()
            write_volume(source, spoilt.astype(np.uint8) if whole else spoilt, VOXEL_A)
            found = denoise_tomogram(source, output, model.card, make_runner(model))
            sign = -1 if found.contrast == "dark" else 1
            result = open_volume(output).load()
            distance = ndimage.distance_transform_edt(~touched) if touched.any() else np.inf
            far = np.broadcast_to(distance > BORDER, raw.shape)
            if not touched.any():
                reference = result
            if name == "in real numbers":
                own = own_halo(sign * result, truth, classes)
            halo = blank_picks = "-"
            if name.startswith("beads"):
                # The shell beyond the bead's own blur, where the specimen is as it was.
                near = (distance > 2) & (distance <= HALO)
                error = sign * (result - reference)[near].mean() / reference[far].std()
                halo = f"{error:+.2f}"
            if name.startswith("corners"):
                options = PickOptions(diameter_A=200, number=40, contrast="dark")
                picks = pick_particles(ArrayVolume(spoilt, VOXEL_A), options).positions
                blank_picks = f"{int(touched[tuple(picks.T)].sum())} of {len(picks)}"
            print(
                f"| {name} | {found.contrast} | {correlation(sign * result[far], truth[far]):.3f}"
                f" | {correlation(result[far], reference[far]):.4f} | {halo} | {blank_picks} |",
                flush=True,
            )
    print(f"background beside the tomogram's own gold: {own:+.2f} deviations")
    print(circumstances(1))


if __name__ == "__main__":
    main()
