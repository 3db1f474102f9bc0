"""Simulate tomograms from grand models the conventional way: with physics, not with a network.

Each grand model G.mrc (density bright) is projected into a tilt series, imaged with the CTF,
radiation damage, noise and detector of an electron microscope, and reconstructed by weighted
back-projection: OUTPUT/G_tomogram.mrc, float32, on the grid of the grand model.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Dict

from dual_core.cli.common import (
    dump_options,
    finite_float,
    fraction,
    non_negative_int,
    output_folder,
    positive_float,
    progress_bar,
    voxel_size,
)
from dual_core.cli.parsing import TWO_OR_THREE
from dual_core.errors import DualError
from dual_core.physics.config import CONTRASTS, DOSE_ORDERS, WEIGHTINGS, SimulatorConfig

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

EXAMPLE = """
dual project grand_model_*.mrc --output simulated
dual project grand_model_0.mrc --output simulated --tilt-range -50 70 2 --defocus 4 --snr 0.3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual project``."""
    default = SimulatorConfig(voxel_size_A=1.0)
    files = parser.add_argument_group("files")
    files.add_argument(
        "grand_models", nargs="+", metavar="G.mrc", help="grand models, any MRC mode"
    )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, created if missing"
    )
    files.add_argument(
        "--halves",
        action="store_true",
        help="also write half tomograms, _odd and _even: the same specimen with independent shot "
        "noise",
    )
    files.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="A",
        help="voxel size in angstrom, instead of that in the headers",
    )
    files.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="random seed; the same seed gives the same tomogram; each grand model gets its own "
        "noise",
    )
    _add_microscope(parser.add_argument_group("microscope"), default)
    _add_noise(parser.add_argument_group("noise and dose"), default)
    result = parser.add_argument_group("reconstruction")
    result.add_argument(
        "--weighting",
        choices=WEIGHTINGS,
        default=default.weighting,
        help="filter of the back-projection; exact amplifies noise less at high frequencies",
    )
    result.add_argument(
        "--contrast",
        choices=CONTRASTS,
        default=default.contrast,
        help="whether density is dark or bright in the tomograms; in experiments it is usually "
        "dark",
    )


def _add_microscope(group: argparse._ArgumentGroup, default: SimulatorConfig) -> None:
    group.add_argument(
        "--tilt-range",
        nargs=TWO_OR_THREE,
        type=_angle,
        metavar=("MIN", "MAX", "STEP"),
        default=[*default.tilt_range, default.tilt_step],
        help=f"tilt angles in degrees, about y; the STEP is {default.tilt_step:g} if not given",
    )
    numbers = {
        "defocus": (default.defocus_um, "UM", "underfocus in micrometres"),
        "defocus-spread": (
            default.defocus_spread_um,
            "UM",
            "standard deviation of the defocus over the tilts",
        ),
        "voltage": (default.voltage_kV, "KV", "acceleration voltage"),
        "cs": (default.cs_mm, "MM", "spherical aberration"),
    }
    for name, (value, unit, text) in numbers.items():
        group.add_argument(f"--{name}", type=finite_float, default=value, metavar=unit, help=text)
    group.add_argument(
        "--amplitude-contrast",
        type=fraction,
        default=default.amplitude_contrast,
        metavar="A",
        help="share of amplitude contrast, 0 to 1",
    )
    group.add_argument(
        "--phase-flip", action="store_true",
        help="correct the CTF of the tilt images by phase flipping"
    )


def _angle(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an angle; give MIN MAX STEP, or put the files before this option"
        ) from None


def _add_noise(group: argparse._ArgumentGroup, default: SimulatorConfig) -> None:
    level = group.add_mutually_exclusive_group()
    level.add_argument(
        "--snr",
        type=positive_float,
        default=default.snr,
        metavar="S",
        help="variance of signal over variance of noise in the tilt images",
    )
    level.add_argument("--no-noise", action="store_true", help="no solvent noise and no shot noise")
    group.add_argument(
        "--solvent-share",
        type=fraction,
        default=default.solvent_share,
        metavar="S",
        help="part of the noise variance that comes from the solvent, 0 to 1",
    )
    group.add_argument(
        "--free-path",
        type=positive_float,
        default=default.free_path_A,
        metavar="A",
        help="mean free path of the electrons in angstrom; shot noise grows with the tilt",
    )
    group.add_argument(
        "--dose",
        type=finite_float,
        default=default.total_dose,
        metavar="D",
        help="total dose in e/A^2 that damages the specimen; 0 for none",
    )
    group.add_argument(
        "--dose-order",
        choices=DOSE_ORDERS,
        default=default.dose_order,
        help="order of the tilts: from 0 outwards, or from MIN to MAX",
    )
    group.add_argument(
        "--dose-weighting", action="store_true", help="dose-weight the tilt images"
    )
    group.add_argument(
        "--mtf",
        type=fraction,
        default=default.mtf_nyquist,
        metavar="M",
        help="MTF of the detector at Nyquist for the signal",
    )
    group.add_argument(
        "--noise-mtf",
        type=fraction,
        default=default.noise_mtf_nyquist,
        metavar="M",
        help="MTF of the detector at Nyquist for shot noise",
    )


def make_config(args: argparse.Namespace, voxel_size_A: float) -> SimulatorConfig:
    """The simulator's configuration from the options; errors as `SimulatorConfig` has them."""
    minimum, maximum, *step = args.tilt_range
    return SimulatorConfig(
        voxel_size_A=voxel_size_A,
        tilt_range=(minimum, maximum),
        tilt_step=step[0] if step else SimulatorConfig.tilt_step,
        voltage_kV=args.voltage,
        cs_mm=args.cs,
        amplitude_contrast=args.amplitude_contrast,
        defocus_um=args.defocus,
        defocus_spread_um=args.defocus_spread,
        phase_flip=args.phase_flip,
        snr=None if args.no_noise else args.snr,
        solvent_share=args.solvent_share,
        free_path_A=args.free_path,
        total_dose=args.dose,
        dose_order=args.dose_order,
        dose_weighting=args.dose_weighting,
        mtf_nyquist=args.mtf,
        noise_mtf_nyquist=args.noise_mtf,
        weighting=args.weighting,
        contrast=args.contrast,
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual project``; 0 when all tomograms are written."""
    from dual_core.tasks.batch import plan_jobs
    from dual_core.volumes.reading import open_volume
    from dual_core.volumes.writer import write_volume

    jobs = plan_jobs(args.grand_models, args.output, "_tomogram")
    # Everything that can be refused is refused before the first simulation starts.
    volumes = [open_volume(job.source, args.voxel_size) for job in jobs]
    configs = [make_config(args, volume.voxel_size_A) for volume in volumes]
    with output_folder(args.output) as output, progress_bar(
        "projecting", unit="tomogram"
    ) as report:
        dump_options(args, output / "project.yaml")
        for done, (job, volume, config) in enumerate(zip(jobs, volumes, configs)):
            report(done, len(jobs))
            try:
                tomograms = _simulate(volume.load(), config, args.seed, args.halves)
            except DualError as error:
                raise DualError(f"{volume.name}: {error}") from error
            for suffix, tomogram in tomograms.items():
                path = job.output.with_name(job.output.stem + suffix + job.output.suffix)
                facts = volume.facts
                write_volume(
                    path, tomogram, config.voxel_size_A, facts.origin_A, start=facts.start
                )
                logger.info("%s: written", path)
        report(len(jobs), len(jobs))
    return 0


def _simulate(
    grand_model: np.ndarray, config: SimulatorConfig, seed: int, halves: bool
) -> Dict[str, np.ndarray]:
    """Tomograms by the suffix of their file names."""
    from dual_core.physics.simulate import generator_of, simulate_halves, simulate_tomogram

    rng = generator_of(grand_model, seed)
    if not halves:
        return {"": simulate_tomogram(grand_model, config, rng)}
    series = simulate_halves(grand_model, config, rng)
    return {"": series.full, "_odd": series.odd, "_even": series.even}
