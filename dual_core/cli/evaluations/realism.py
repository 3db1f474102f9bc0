"""``dual evaluate realism``: do synthetic tomograms look like real ones?"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple

from dual_core.cli.common import (
    add_device_argument,
    dump_options,
    finite_float,
    non_negative_int,
    output_folder,
    positive_float,
    replacing,
    voxel_size,
)
from dual_core.cli.evaluations.against_truth import check_tilt_range
from dual_core.cli.evaluations.realism_groups import (
    GreyLevels,
    as_stored,
    cropped,
    load_group,
    named_groups,
)
from dual_core.cli.evaluations.table import Row, format_table
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

    from dual_core.evaluation.realism.examine import Portrait
    from dual_core.evaluation.realism.statistics_judge import Judgement

logger = logging.getLogger(__name__)

SUMMARY = "how much synthetic tomograms look like real ones, and whether a network can tell"
DESCRIPTION = (
    "Compares groups of synthetic tomograms with real ones: radial and angular power spectra,\n"
    "the missing wedge, intensities, local statistics, and a small classifier that is trained on\n"
    "one half of the volumes and tested on the other (0.5: it cannot tell them apart).\n"
    "Cells and shapes need not be the same; voxel sizes must. Every volume is standardised as a\n"
    "whole and turned to bright density; where the real files hold integers, the others are\n"
    "rounded to the same grey levels. All distances are 0 where there is no difference."
)
EXAMPLE = """
  dual evaluate realism --real tomo_8.mrc --synthetic simulated/grand_8_simulated_01.mrc \\
      --output realism
  dual evaluate realism --real tomo_*.mrc --synthetic dual=a_1.mrc dual=a_2.mrc other=b.mrc \\
      --reference grand_8.mrc --output realism
""".strip("\n")

COLUMNS: Dict[str, Tuple[str, str]] = {
    "name": ("group", ""),
    "volumes": ("volumes", "d"),
    "radial_rms": ("radial", ".3f"),
    "radial_log_rms": ("radial (ln)", ".3f"),
    "angular_rms": ("angular", ".3f"),
    "wedge_contrast": ("wedge", ".2f"),
    "wedge_contrast_real": ("wedge real", ".2f"),
    "wedge_error": ("wedge error", "+.1%"),
    "wasserstein": ("intensity", ".3f"),
    "local": ("local", ".3f"),
    "accuracy": ("accuracy", ".3f"),
    "accuracy_standard_error": ("+-", ".3f"),
    "accuracy_64": ("64^3", ".3f"),
    "accuracy_64_standard_error": ("+-", ".3f"),
    "judge": ("judge", ".3f"),
    "judge_standard_error": ("+-", ".3f"),
}
LEGEND = (
    "radial: rms of S/S_real - 1 over shells; angular: rms of the log10 profiles' difference;\n"
    "wedge: mean log10 power in the missing wedge less that outside; intensity: Wasserstein\n"
    "distance in deviations; local: mean Kolmogorov distance; accuracy 0.5: cannot be told apart,\n"
    "by patches of 32^3 (smaller in small volumes), and of 64^3 where they fit twice;\n"
    "judge: the same of a linear discriminant on the statistics of small blocks"
)

Groups = Dict[str, List["np.ndarray"]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--real", nargs="+", required=True, metavar="T.mrc", help="real tomograms"
    )
    parser.add_argument(
        "--synthetic",
        nargs="+",
        metavar="[NAME=]S.mrc",
        help="synthetic ones; those of one NAME make one group, those without a name another",
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        metavar="G.mrc",
        help="grand models: adds white noise on them, and the conventional simulator with guessed "
        "parameters, as groups to compare with",
    )
    parser.add_argument(
        "--reference-snr",
        type=positive_float,
        default=0.1,
        metavar="S",
        help="signal-to-noise ratio of the references (variances), in voxels and in tilt images",
    )
    parser.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="density of all volumes; auto finds it for each",
    )
    parser.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        default=[-60.0, 60.0],
        metavar=("MIN", "MAX"),
        help="tilt angles in degrees: where the missing wedge is",
    )
    parser.add_argument("--tilt-axis", choices=("y", "x"), default="y", help="axis of the tilt")
    parser.add_argument(
        "--margin",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="voxels left out along every face, for empty borders",
    )
    parser.add_argument(
        "--no-classifier", action="store_true", help="skip the classifier, the slow part"
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N",
        help="random seed of the classifier and the references"
    )
    parser.add_argument(
        "--voxel-size", type=voxel_size, metavar="A",
        help="voxel size in angstrom, instead of the one in the headers"
    )
    add_device_argument(parser)
    parser.add_argument("--output", metavar="DIR", help="write CSV, JSON and PNG")


def run(args: argparse.Namespace) -> int:
    """Compare, print a table and write the files."""
    check_tilt_range(args)
    named = named_groups(args.synthetic or [])
    if not named and not args.reference:
        raise DualError("nothing to compare with the real tomograms; give --synthetic S.mrc")
    if not args.no_classifier:
        from dual_core.networks.devices import choose_device

        device = str(choose_device(args.device))
    else:
        device = "cpu"
    folder = output_folder(args.output) if args.output else contextlib.nullcontext()
    with folder as output:
        real, voxel_size_A, levels = load_group(args.real, args)
        if levels is not None:
            logger.info("real tomograms are integers: the others are rounded to their grey levels")
        groups: Groups = {}
        for name, paths in named.items():
            groups[name] = load_group(paths, args, voxel_size_A, levels)[0]
        _add_references(groups, args, voxel_size_A, levels)
        if len(real) == 1 and not args.no_classifier:
            logger.info(
                "one real tomogram alone does not tell how far two real ones are apart; give "
                "another one as a group, --synthetic others=T.mrc, to see it beside the synthetic"
            )
        rows, portraits, judgements = _compare(real, groups, args, device)
        print(format_table(rows, COLUMNS))
        print(LEGEND)
        if output:
            pictures = {"real": real[0], **{name: group[0] for name, group in groups.items()}}
            _write(output, rows, portraits, pictures, voxel_size_A, args)
            if judgements:
                from dual_core.evaluation.realism.figure import judgements_figure

                judgements_figure(judgements, output / "where.png", voxel_size_A)
    return 0


def _add_references(
    groups: Groups,
    args: argparse.Namespace,
    voxel_size_A: float,
    levels: Optional[GreyLevels],
) -> None:
    from dual_core.evaluation.realism.references import (
        guessed_simulator,
        projected_reference,
        white_reference,
    )
    from dual_core.evaluation.truth.metrics import standardise
    from dual_core.volumes.reading import open_volume

    for number, path in enumerate(args.reference or []):
        grand_model = open_volume(path, voxel_size_A=args.voxel_size).load()
        seed, snr = args.seed + number, args.reference_snr
        config = guessed_simulator(voxel_size_A, tuple(args.tilt_range), snr)
        white = white_reference(grand_model, snr, seed)
        projected = projected_reference(grand_model, config, seed)
        for name, one in (("white noise", white), ("conventional, guessed", projected)):
            one = cropped(as_stored(one, levels), args.margin, path)
            groups.setdefault(name, []).append(standardise(one))


def _compare(
    real: List[np.ndarray], groups: Groups, args: argparse.Namespace, device: str
) -> Tuple[List[Row], Dict[str, Portrait], Dict[str, Judgement]]:
    """A row, a portrait and a judgement for each group; the real ones' portrait comes first."""
    from dual_core.evaluation.realism.examine import choose_blocks, compare, portrait
    from dual_core.evaluation.realism.statistics_judge import judge

    shapes = [volume.shape for group in (real, *groups.values()) for volume in group]
    config = choose_blocks(shapes, tuple(args.tilt_range), args.tilt_axis)
    portraits = {"real": portrait(real, config)}
    rows: List[Row] = []
    judgements: Dict[str, Judgement] = {}
    for name, group in groups.items():
        portraits[name] = portrait(group, config)
        scores = compare(portraits["real"], portraits[name])
        row: Row = {"name": name, "volumes": len(group), **scores.as_dict()}
        if not args.no_classifier:
            row.update(_classify(real, group, shapes, args, device))
            judgements[name] = judged = judge(real, group, args.tilt_axis)
            row.update(judge=judged.accuracy, judge_standard_error=judged.standard_error)
            logger.info("%s: classifier done", name)
        rows.append(row)
    return rows, portraits, judgements


def _classify(
    real: List[np.ndarray],
    group: List[np.ndarray],
    shapes: Sequence[Tuple[int, ...]],
    args: argparse.Namespace,
    device: str,
) -> Row:
    from dual_core.evaluation.realism.two_sample import LARGE, USUAL, choose_patch, two_sample_test
    from dual_core.volumes.patches import FLIPS_ASYMMETRIC

    # With the tilt axis along x the flips that keep the wedge are those of a turned volume.
    turned = args.tilt_axis == "x"
    alike = [[v.swapaxes(1, 2) if turned else v for v in one] for one in (real, group)]
    row: Row = {}
    for name, config in (("accuracy", USUAL), ("accuracy_64", LARGE)):
        # One patch for all groups: accuracies are compared with one another.
        patch = choose_patch(shapes, config.patch)
        found: Tuple[Optional[float], Optional[float]] = (None, None)
        if config is USUAL or patch == config.patch:
            used = replace(config, patch=patch, seed=args.seed)
            result = two_sample_test(alike[0], alike[1], used, FLIPS_ASYMMETRIC, device)
            found = result.accuracy, result.standard_error
        row[name], row[f"{name}_standard_error"] = found
    return row


def _write(
    folder: Path,
    rows: Sequence[Row],
    portraits: Dict[str, Portrait],
    pictures: Dict[str, np.ndarray],
    voxel_size_A: float,
    args: argparse.Namespace,
) -> None:
    from dual_core.evaluation.realism.figure import portraits_figure
    from dual_core.figures import slices_figure

    with replacing(folder / "realism.csv") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    curves = {
        name: {
            "frequency_per_A": (one.frequency_per_voxel / voxel_size_A).tolist(),
            "radial_power": one.radial_power.tolist(),
            "angle_deg": one.angle_deg.tolist(),
            "angular_log10_power": one.angular_power.tolist(),
            "intensity": one.intensity.tolist(),
            "histogram": one.histogram.tolist(),
        }
        for name, one in portraits.items()
    }
    with replacing(folder / "realism.json") as file:
        json.dump({"real": args.real, "groups": list(rows), "curves": curves}, file, indent=1)
    slices_figure(pictures, folder / "slices.png", voxel_size_A, invert=True)
    portraits_figure(portraits, folder / "curves.png", voxel_size_A, tuple(args.tilt_range))
    dump_options(args, folder / "evaluate.yaml")
    logger.info("written: %s", folder)
