"""Table 2 of the paper: particles picked on raw and on denoised tomograms.

    python benchmarks/picks.py
    python benchmarks/picks.py --denoised DUAL=d/tomo_0_denoised.mrc,d/tomo_1_denoised.mrc,...

Four noisy tomograms of purified ribosomes without truth volumes (``ribosome_like`` in the data
folder). Picks as the paper did: sigma 8 and 8.8 voxels, at least 24 voxels apart, as many as
there are ribosomes, a hit within 8 voxels. The classical filters are tuned for the F1 of the first
tomogram; so the fair comparison is the mean over the other three, which is printed beside that
over all four. Both assumptions of what lies outside of the tomogram are shown, as they make more
difference than any filter: ``mean`` is what ``dual pick`` does, ``mirror`` what scipy does.

Prints two Markdown tables, and writes them with all scores and a picture to the output folder.
"""

from __future__ import annotations

import argparse
import csv
import logging
import time
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple

import numpy as np
from common import DATA, ROOT, circumstances

from dual_core.evaluation.picks import mean_and_deviation, pair_picks, score_picks
from dual_core.evaluation.truth.classical import (
    AnisotropicDiffusion,
    ClassicalDenoiser,
    Gaussian,
    NonLocalMeans,
)
from dual_core.figures import contrast_limits, scale_bar_nm
from dual_core.particles import read_particles
from dual_core.picking import PickOptions, pick_particles
from dual_core.volumes.reading import ArrayVolume, open_volume

OUTPUT = ROOT / "benchmarks" / "output" / "picks"
NUMBER = 4
TUNED_ON = 0
SIGMA, MIN_DISTANCE, TOLERANCE = 8.0, 24.0, 8.0
BOUNDARIES = ("mean", "mirror")
# Coarser than for table 1: what is small beside the picking filter cannot matter.
GRIDS: Dict[type, Dict[str, Tuple[float, ...]]] = {
    Gaussian: {"sigma": (1.0, 2.0, 3.0, 4.0)},
    AnisotropicDiffusion: {"conductance": (2.0, 4.0, 8.0), "iterations": (20, 40)},
    NonLocalMeans: {"patch_size": (3, 5), "patch_distance": (3,), "h": (0.8, 1.2, 2.0)},
}

logger = logging.getLogger(__name__)


class Tomogram:
    """A tomogram with bright density and its ribosomes in voxels."""

    def __init__(self, folder: Path, number: int) -> None:
        volume = open_volume(folder / f"tomo_{number}.mrc")
        self.voxel_size_A = volume.voxel_size_A
        self.array = -volume.load()
        truth = read_particles(folder / f"particles_{number}.csv").of_class("1")
        assert truth.voxels is not None
        self.truth = truth.voxels
        self._filtered: Dict[ClassicalDenoiser, np.ndarray] = {}

    def filtered(self, method: ClassicalDenoiser) -> np.ndarray:
        """The tomogram after a classical filter; kept, as some take minutes."""
        if method not in self._filtered:
            self._filtered[method] = method(self.array)
        return self._filtered[method]

    def pick(self, volume: np.ndarray, boundary: str) -> np.ndarray:
        """Positions in voxels, as many as there are ribosomes."""
        options = PickOptions(
            sigma=SIGMA,
            min_distance_A=MIN_DISTANCE * self.voxel_size_A,
            number=len(self.truth),
            contrast="bright",
            boundary=boundary,
        )
        return pick_particles(ArrayVolume(volume, self.voxel_size_A), options).positions

    def scores(self, volume: np.ndarray, boundary: str) -> Tuple[float, float, float]:
        """Precision, recall, F1."""
        found = score_picks(self.truth, self.pick(volume, boundary), TOLERANCE)
        return found.precision, found.recall, found.f1


def tune(method: type, tomogram: Tomogram, boundary: str) -> ClassicalDenoiser:
    """The filter of a kind with the best F1 on one tomogram; the first of equals."""
    best, highest = None, -1.0
    for candidate in method.candidates(GRIDS[method]):  # type: ignore[attr-defined]
        started = time.monotonic()
        denoised = tomogram.filtered(candidate)
        f1 = tomogram.scores(denoised, boundary)[2]
        logger.info(
            "%s, %s, %s: F1 %.3f (%.0f s)",
            boundary, candidate.label, candidate.describe(), f1, time.monotonic() - started,
        )
        if f1 > highest:
            best, highest = candidate, f1
    assert best is not None
    return best


def classical_rows(
    tomograms: Sequence[Tomogram], boundary: str, methods: Iterable[type]
) -> Dict[str, List[np.ndarray]]:
    """Label -> the tomograms filtered, raw ones first."""
    rows = {"raw": [tomogram.array for tomogram in tomograms]}
    for method in methods:
        best = tune(method, tomograms[TUNED_ON], boundary)
        label = f"{best.label} ({best.describe()})"
        rows[label] = [tomogram.filtered(best) for tomogram in tomograms]
    return rows


def given_rows(denoised: Sequence[str]) -> Dict[str, List[np.ndarray]]:
    """What ``--denoised NAME=FILE,...`` gives; density dark in the files, as in the tomograms."""
    rows = {}
    for text in denoised:
        name, _, files = text.partition("=")
        paths = files.split(",")
        if len(paths) != NUMBER:
            raise SystemExit(f"{text}: give {NUMBER} files, as NAME=FILE0,FILE1,FILE2,FILE3")
        rows[name] = [-open_volume(path, require_voxel_size=False).load() for path in paths]
    return rows


def table_row(label: str, scores: np.ndarray) -> str:
    """A line of Markdown from ``(tomograms, 3)`` scores."""
    rest = np.delete(scores, TUNED_ON, axis=0)
    cells = [label]
    for part, columns in ((scores, (0, 1, 2)), (rest, (2,))):
        for column in columns:
            mean, deviation = mean_and_deviation(part[:, column].tolist())
            cells.append(f"{mean:.3f} ± {deviation:.3f}")
    cells.append(", ".join(f"{value:.3f}" for value in scores[:, 2]))
    return "| " + " | ".join(cells) + " |"


def picture(
    rows: Dict[str, List[np.ndarray]], tomogram: Tomogram, number: int, boundary: str, path: Path
) -> None:
    """The projection of the middle third, with hits, misses and wrong picks drawn in."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(4.2 * columns, 4.5 * lines + 0.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    depth = tomogram.array.shape[0]
    middle = slice(depth // 3, depth - depth // 3)
    radius = MIN_DISTANCE / 2
    for panel, (label, volumes) in zip(axes, rows.items()):
        cut = volumes[number][middle].mean(axis=0)
        low, high = contrast_limits(cut)
        panel.imshow(cut, cmap="gray_r", vmin=low, vmax=high, origin="lower")
        picks = tomogram.pick(volumes[number], boundary)
        partner = pair_picks(tomogram.truth, picks, TOLERANCE)
        missed = np.setdiff1d(np.arange(len(tomogram.truth)), partner)
        kinds = (
            ("hit", picks[partner >= 0], "#0072b2", "-"),
            ("wrong pick", picks[partner < 0], "#d55e00", "-"),
            ("missed ribosome", tomogram.truth[missed], "#009e73", "--"),
        )
        for kind, positions, colour, style in kinds:
            for at, (_, y, x) in enumerate(positions):
                panel.add_patch(_circle(x, y, radius, colour, style, kind if at == 0 else None))
        hits = int((partner >= 0).sum())
        panel.set_title(f"{label}\n{hits} of {len(tomogram.truth)} ribosomes", fontsize=9)
        limits = {"xlim": (-0.5, cut.shape[1] - 0.5), "ylim": (-0.5, cut.shape[0] - 0.5)}
        panel.set(xticks=[], yticks=[], **limits)
        length_nm = scale_bar_nm(cut.shape[1] * tomogram.voxel_size_A / 10)
        panel.plot([6, 6 + 10 * length_nm / tomogram.voxel_size_A], [5, 5], color="k", linewidth=3)
        panel.text(6, 9, f"{length_nm:g} nm", fontsize=8)
    for panel in axes[len(rows) :]:
        panel.set_axis_off()
    handles = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False
    )
    figure.get_layout_engine().set(rect=(0.0, 0.0, 1.0, 0.985))  # type: ignore[union-attr]
    figure.savefig(path)


def _circle(x: float, y: float, radius: float, colour: str, style: str, label: object):  # type: ignore[no-untyped-def]
    from matplotlib.patches import Circle

    return Circle(
        (x, y), radius, fill=False, edgecolor=colour, linestyle=style, linewidth=1.3, label=label
    )


def main() -> None:
    """Tune, pick, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--denoised", action="append", default=[], metavar="NAME=FILE0,FILE1,FILE2,FILE3"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR")
    parser.add_argument(
        "--no-filters", dest="filters", action="store_false",
        help="leave the classical filters out, whose tuning takes most of the time",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    tomograms = [Tomogram(args.data / "ribosome_like", number) for number in range(NUMBER)]
    given = given_rows(args.denoised)
    args.output.mkdir(parents=True, exist_ok=True)
    text: List[str] = []
    scored: List[Tuple[object, ...]] = []
    for boundary in BOUNDARIES:
        rows = {**given, **classical_rows(tomograms, boundary, GRIDS if args.filters else ())}
        text += [
            f"Outside of the tomogram: {boundary}",
            "",
            "| tomograms | precision | recall | F1 | F1 of tomograms 1 to 3 | F1 of each |",
            "|---|---|---|---|---|---|",
        ]
        for label, volumes in rows.items():
            pairs = zip(tomograms, volumes)
            scores = np.array([tomogram.scores(volume, boundary) for tomogram, volume in pairs])
            text.append(table_row(label, scores))
            scored += [(boundary, label, at, *map(float, one)) for at, one in enumerate(scores)]
        text.append("")
        picture(rows, tomograms[1], 1, boundary, args.output / f"picks_{boundary}.png")
    text.append(circumstances(1))
    print("\n".join(text))
    (args.output / "table.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    with open(args.output / "scores.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("boundary", "tomograms", "number", "precision", "recall", "f1"))
        writer.writerows(scored)


if __name__ == "__main__":
    main()
