"""Subtomogram averages by RELION at picks on raw and on denoised tomograms, against the truth.

    python benchmarks/average.py --picks DUAL=FOLDER_OF_DUAL_PICK --output OUT
    python benchmarks/average.py --denoised DUAL=d/tomo_0_denoised.mrc,d/tomo_1_denoised.mrc,...

The four noisy tomograms of ``ribosome_like``. Whatever was picked on, the boxes are cut out of the
raw tomograms; RELION 3.1 (Debian package ``relion``) aligns and averages them, with the missing
wedge given to it (`relion_files`). Beside the given picks stand those on the raw tomograms, and
the true positions as the upper limit. Picks are as many as there are ribosomes, sigma 8 voxels, as
for table 2; ``--picks`` takes what ``dual pick`` wrote, STAR or CSV, a list a tomogram.

RELION starts from ``4v4r`` up to 60 A. So what agrees up to 60 A proves nothing, only what
agrees beyond: compare with "beside ribosomes", boxes that hold none, which show how much the
reference alone brings. ``--reference average`` starts from the average of the same boxes in random
orientations, a ball that knows nothing of the ribosome: fair, but 130 particles in this noise
do not find their orientations from it, not even at the true positions.

The map is turned and shifted onto ``4v4r`` by exhaustive search. FSC is within a ball of 28 nm with
a soft edge, on both maps. "Not aligned" is the wedge-corrected average in random orientations: what
a ball of the right size has for an FSC.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import relion_files
from common import DATA, ROOT, circumstances
from map_alignment import BOX, Alignment, soft_ball, turned
from picks import NUMBER, TOLERANCE, Tomogram, given_rows
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dual_core.evaluation.picks import score_picks
from dual_core.evaluation.truth.metrics import FSC_THRESHOLDS, FscCurve, fourier_scores
from dual_core.figures import COLOURS
from dual_core.particles import read_particles, write_star

OUTPUT = ROOT / "benchmarks" / "output" / "average"
DIAMETER_A = 320.0
RIBOSOME_RADIUS = 13  # voxels: a particle nearer to a face is not whole
GOLD_SIGMAS = 4.5  # beyond are gold beads and their streaks
FILTER_A = 60.0  # of the template, where it is the reference
# Coarse angles (30 degrees, then halved) and only the likeliest poses, as finer ones cost hours;
# up to 40 A, where they are fine enough. Picks are some voxels off, so shifts are searched widely.
SEARCH = ("--healpix_order", 1, "--maxsig", 100, "--offset", 30, "--offset_range", 6,
          "--offset_step", 3, "--tau2_fudge", 2, "--strict_highres_exp", 40)  # fmt: skip
TABLE_HEAD = """\
| picks on | particles | on a ribosome | CC with 4v4r | FSC 0.5 (Å) | FSC 0.143 (Å) | minutes |
|---|---|---|---|---|---|---|"""
RAW, TRUTH, CONTROL, UNALIGNED = "raw", "true positions", "beside ribosomes", "not aligned"
FREE = 20  # voxels from a box of the control to the next ribosome, centre to centre


@dataclass(frozen=True)
class Result:
    """A map on the template: turned template, map, and how they agree."""

    label: str
    particles: int
    volume: np.ndarray
    turned: np.ndarray
    correlation: float
    fsc: FscCurve


def cut_boxes(tomograms: Sequence[Tomogram], lists: Sequence[np.ndarray]) -> List[np.ndarray]:
    """Normalised boxes with bright density around positions, from the raw tomograms.

    What sticks out of a tomogram, outside of the particle, is filled with the mean.
    """
    boxes = []
    outside = soft_ball() == 0
    for tomogram, positions in zip(tomograms, lists):
        values = tomogram.array.astype(np.float32)
        values = np.clip((values - values.mean()) / values.std(), -GOLD_SIGMAS, GOLD_SIGMAS)
        padded = np.pad(values, BOX // 2)
        at = np.rint(positions).astype(np.intp)
        room = np.array(values.shape) - 1 - at
        whole = (np.minimum(at, room) >= RIBOSOME_RADIUS).all(axis=1)
        for z, y, x in at[whole]:
            box = padded[z : z + BOX, y : y + BOX, x : x + BOX]
            boxes.append((box - box[outside].mean()) / box[outside].std())
    return boxes


def compared(
    label: str, particles: int, volume: np.ndarray, template: np.ndarray, voxel_size_A: float
) -> Result:
    """Align the template to a map and correlate them by shell."""
    alignment = Alignment(volume, template, voxel_size_A)
    pose, correlation = alignment.search()
    placed = alignment.placed(pose)
    mask = soft_ball()
    fsc, _, _ = fourier_scores(volume * mask, placed * mask, voxel_size_A)
    return Result(label, particles, volume, placed, correlation, fsc)


def lists_of(folder: Path) -> List[np.ndarray]:
    """Positions in voxels that ``dual pick`` wrote, of each tomogram in turn."""
    lists = []
    for number in range(NUMBER):
        found = sorted([*folder.glob(f"tomo_{number}*.star"), *folder.glob(f"tomo_{number}*.csv")])
        if not found:
            raise SystemExit(f"{folder}: no list of picks tomo_{number}*.star or .csv")
        # RELION's own format first: the lists say the same.
        path = min(found, key=lambda one: one.suffix != ".star")
        positions = read_particles(path).voxels
        if positions is None:
            raise SystemExit(f"{path}: no positions in voxels")
        lists.append(positions)
    return lists


def picked_rows(args: argparse.Namespace, tomograms: Sequence[Tomogram]) -> Dict[str, List]:
    """Label -> positions in each tomogram."""
    rows: Dict[str, List[np.ndarray]] = {}
    for text in args.picks:
        name, _, folder = text.partition("=")
        rows[name] = lists_of(Path(folder))
    for name, volumes in given_rows(args.denoised).items():
        rows[name] = [one.pick(volume, "mean") for one, volume in zip(tomograms, volumes)]
    rows[RAW] = [one.pick(one.array, "mean") for one in tomograms]
    rows[TRUTH] = [one.truth for one in tomograms]
    rows[CONTROL] = [beside(one, seed) for seed, one in enumerate(tomograms)]
    return rows


def beside(tomogram: Tomogram, seed: int) -> np.ndarray:
    """As many random positions as there are ribosomes, away from all of them."""
    rng = np.random.default_rng(seed)
    room = np.array(tomogram.array.shape) - RIBOSOME_RADIUS
    tried = rng.integers(RIBOSOME_RADIUS, room, (20000, 3))
    distance = cKDTree(tomogram.truth).query(tried)[0]
    free = tried[distance > FREE][: len(tomogram.truth)]
    if len(free) < len(tomogram.truth):
        raise SystemExit("the tomograms are too crowded for boxes beside the ribosomes")
    return free


def hits(tomograms: Sequence[Tomogram], lists: Sequence[np.ndarray]) -> str:
    """How many of the picks sit on a ribosome, as a cell of a table."""
    pairs = zip(tomograms, lists)
    found = [score_picks(one.truth, positions, TOLERANCE).precision for one, positions in pairs]
    return f"{np.average(found, weights=[len(positions) for positions in lists]):.2f}"


def resolution(fsc: FscCurve, threshold: float) -> str:
    """The resolution in angstrom as a cell of a table."""
    value: Optional[float] = fsc.resolution_A(threshold)
    return "none" if value is None else f"{value:.0f}"


def figure(results: Sequence[Result], path: Path) -> None:
    """Curves, and central slices of the maps over those of the template."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    page = Figure(figsize=(3.0 + 2.2 * len(results), 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(page)
    grid = page.add_gridspec(2, len(results) + 2)
    curves = page.add_subplot(grid[:, :2])
    for result, colour in zip(results, COLOURS):
        curves.plot(result.fsc.frequency_per_A, result.fsc.correlation, label=result.label,
                    color=colour)  # fmt: skip
    for threshold in FSC_THRESHOLDS:
        curves.axhline(threshold, color="0.7", linewidth=0.8)
    curves.set(xlabel="frequency (1/Å)", ylabel="FSC against 4v4r", ylim=(-0.3, 1.02))
    curves.legend(frameon=False, fontsize=8)
    for at, result in enumerate(results):
        # Beyond the resolution of the best map there is only noise.
        smooth = gaussian_filter(result.volume * soft_ball(), 1.0)
        for line, volume in enumerate((smooth, gaussian_filter(result.turned, 1.0))):
            panel = page.add_subplot(grid[line, at + 2])
            panel.imshow(volume[BOX // 2], cmap="gray_r", origin="lower")
            panel.set(xticks=[], yticks=[])
            panel.set_title(result.label if line == 0 else "4v4r, turned", fontsize=8)
    page.savefig(path)


def prepared(folder: Path, tomograms: Sequence[Tomogram], lists: Sequence[np.ndarray]) -> int:
    """Write the picks as STAR and the boxes around them; the number of boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    read_again = []
    for number, (tomogram, positions) in enumerate(zip(tomograms, lists)):
        path = folder / f"tomo_{number}_picks.star"
        shape = tomogram.array.shape
        write_star(path, f"tomo_{number}", positions, tomogram.voxel_size_A, shape)
        read_again.append(read_particles(path).voxels)
    boxes = cut_boxes(tomograms, read_again)
    relion_files.write_particles(folder, boxes, float(tomograms[0].voxel_size_A))
    return len(boxes)


def averaged(
    folder: Path, args: argparse.Namespace, template: np.ndarray, voxel_size_A: float
) -> Tuple[np.ndarray, np.ndarray]:
    """The average in random orientations, and RELION's after the last iteration."""
    reference = relion_files.reconstruct(folder)
    unaligned = relion_files.read_map(reference)
    options: List[object] = ["--particle_diameter", DIAMETER_A, "--ini_high", FILTER_A, *SEARCH]
    if args.reference == "template":
        reference = folder / "template.mrc"
        standing = turned(template, Rotation.identity(), 1)
        relion_files.write_map(reference, standing / standing.std(), voxel_size_A)
        options.append("--firstiter_cc")  # its grey values are not those of the boxes
    volume = relion_files.refine(folder, reference, args.iterations, args.threads, *options)
    return unaligned, volume


def main() -> None:
    """Pick, cut, average, align, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--picks", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument(
        "--denoised", action="append", default=[], metavar="NAME=FILE0,FILE1,FILE2,FILE3"
    )
    parser.add_argument("--reference", choices=("template", "average"), default="template")
    parser.add_argument("--iterations", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR")
    args = parser.parse_args()
    relion_files.require_relion()

    tomograms = [Tomogram(args.data / "ribosome_like", number) for number in range(NUMBER)]
    voxel_size_A = float(tomograms[0].voxel_size_A)
    template = relion_files.read_map(args.data / "templates" / "4v4r.mrc")
    text = [TABLE_HEAD]
    results: List[Result] = []
    for label, lists in picked_rows(args, tomograms).items():
        folder = args.output / f"{label.replace(' ', '_')}_{args.reference}"
        boxes = prepared(folder, tomograms, lists)
        started = time.monotonic()
        start, volume = averaged(folder, args, template, voxel_size_A)
        minutes = f"{(time.monotonic() - started) / 60:.0f}"
        rows = [(label, volume, minutes)]
        if label == TRUTH:
            rows.insert(0, (UNALIGNED, start, ""))
        for name, one, took in rows:
            found = compared(name, boxes, one, template, voxel_size_A)
            cells = [name, str(boxes), hits(tomograms, lists), f"{found.correlation:.3f}"]
            cells += [resolution(found.fsc, threshold) for threshold in FSC_THRESHOLDS]
            text.append("| " + " | ".join([*cells, took]) + " |")
            print(text[-1], flush=True)
            results.append(found)
    figure(results, args.output / f"average_{args.reference}.png")
    text += ["", f"Reference: {args.reference}; {circumstances(args.threads)}"]
    print("\n".join(text))
    (args.output / f"table_{args.reference}.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
