"""Make grand models (noise-free cells) with masks and particle lists.

Without options a cell has membranes (sheets and vesicles), microtubules, actin, complexes of
100 kDa to 4 MDa and a crowd of small proteins; gold is added only on request. --molecules chooses
the complexes only; --only-molecules leaves out the membranes, filaments and crowd.

Molecules are PDB or mmCIF files (the biological assembly is built), MRC maps (density bright) or
built-in phantoms, the default. Every molecule is scaled to its mass: density is in dalton per
cubic angstrom, whatever file it came from.

Each grand model N becomes OUTPUT/grand_model_N.mrc with class_mask_N.mrc, instance_mask_N.mrc,
particles_N.csv, particles_N.star and pack_N.yaml, a record of what was placed.
"""

from __future__ import annotations

import argparse
import logging

from dual_core.cli.common import (
    dump_options,
    finite_float,
    fraction,
    non_negative_int,
    output_folder,
    positive_float,
    positive_int,
    voxel_size,
)

logger = logging.getLogger(__name__)

EXAMPLE = """
dual pack --output cells --count 5 --voxel-size 10
dual pack --output cells --shape 128 256 256 --occupancy 0.1 --microtubules 5 --crowd 0 --gold 10
dual pack --molecules pdb/ maps/4v94.mrc --only-molecules --output o --number 20
dual pack --molecules molecules.yaml --output cells --seed 7

molecules.yaml:
molecules:
  - {name: p97, file: 3cf3.pdb, abundance: 2}
  - {name: tric, file: 4v94.mrc, mass_kDa: 950, copies: 20}
  - {name: barrel_960}

keys of a molecule:
  name            name of its class
  file            PDB, mmCIF or MRC file, relative to the list
  phantom         a built-in molecule, where the name is not that of one
  copies          how many, or
  abundance       relative number, to fill up to the occupancy (default: 1)
  mass_kDa        instead of the mass of the file
  threshold       for an MRC map: density below this counts as empty
  voxel_size_A    for an MRC map, instead of that in its header
  assembly        for an atomic model: number of the assembly, or none for the atoms of the file
  membrane_bound  true: outside on a vesicle, z axis along its normal
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual pack``."""
    _add_file_arguments(parser)
    _add_volume_arguments(parser)
    _add_molecule_arguments(parser)
    _add_structure_arguments(parser)


def _add_file_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument(
        "--molecules",
        nargs="+",
        default=[],
        metavar="M",
        help="folders, PDB, mmCIF or MRC files, YAML lists, names of built-in molecules "
        "(default: all built-in molecules, 100 kDa to 4 MDa, that fit into the sample)",
    )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, created if missing"
    )
    files.add_argument(
        "--count", type=positive_int, default=1, metavar="N", help="number of grand models"
    )


def _add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    volume = parser.add_argument_group("volume")
    volume.add_argument(
        "--shape",
        type=positive_int,
        nargs=3,
        default=[128, 256, 256],
        metavar=("Z", "Y", "X"),
        help="size in voxels",
    )
    volume.add_argument(
        "--voxel-size",
        dest="voxel_size",
        type=voxel_size,
        default=10.0,
        metavar="A",
        help="voxel size in angstrom",
    )
    volume.add_argument(
        "--resolution",
        type=positive_float,
        metavar="A",
        help="resolution in angstrom (default: two voxels)",
    )
    volume.add_argument(
        "--thickness",
        type=positive_float,
        metavar="NM",
        help="thickness of the sample in nm, in the middle of z (default: the whole volume)",
    )


def _add_molecule_arguments(parser: argparse.ArgumentParser) -> None:
    molecules = parser.add_argument_group("molecules")
    molecules.add_argument(
        "--number",
        type=positive_int,
        metavar="N",
        help="copies of each molecule, unless a YAML list says otherwise",
    )
    molecules.add_argument(
        "--occupancy",
        type=fraction,
        metavar="F",
        help="fill this part of the sample with molecules; 0.05 is dilute, 0.2 crowded "
        "(default: 0.08 where no number of copies is given)",
    )
    molecules.add_argument(
        "--gap",
        type=finite_float,
        default=0.0,
        metavar="A",
        help="free space kept around each molecule in angstrom",
    )
    molecules.add_argument(
        "--variation",
        type=finite_float,
        default=1.0,
        metavar="F",
        help="how much copies of a molecule differ in density, sharpness and shape: 1 as particles "
        "in ice do, 0 not at all",
    )
    molecules.add_argument(
        "--best-effort",
        dest="best_effort",
        action="store_true",
        help="continue with fewer molecules if not all of them fit",
    )
    molecules.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N",
        help="random seed; the same seed gives the same grand models"
    )


def _add_structure_arguments(parser: argparse.ArgumentParser) -> None:
    other = parser.add_argument_group(
        "membranes, filaments, crowd, fiducials",
        "Without a number: as in a cell, in proportion to the volume. A number is exact, 0 is none."
    )
    other.add_argument(
        "--only-molecules",
        dest="only_molecules",
        action="store_true",
        help="leave these out unless a number is given; for purified particles",
    )
    for name, what in (
        ("sheets", "membranes that cross the sample, gently curved"),
        ("vesicles", "vesicles"),
        ("microtubules", "microtubules"),
        ("actin", "actin filaments"),
    ):
        other.add_argument(
            f"--{name}", type=non_negative_int, metavar="N", help=f"number of {what}"
        )
    other.add_argument(
        "--vesicle-radius",
        dest="vesicle_radius",
        type=positive_float,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="radius of the vesicles in nm (default: 15 to 40, less in a thin sample)",
    )
    other.add_argument(
        "--crowd",
        type=finite_float,
        metavar="MG_PER_ML",
        help="small proteins, 20 to 95 kDa, in the remaining space (default: 40 mg/ml)",
    )
    other.add_argument(
        "--solvent",
        type=finite_float,
        default=0.0,
        metavar="F",
        help="fluctuation of the ice, as part of the density of protein, 0.02 for example; to "
        "simulate with, not to train with, since a model learns to show what its grand models hold",
    )
    other.add_argument(
        "--gold", type=non_negative_int, default=0, metavar="N", help="number of gold beads"
    )
    other.add_argument(
        "--gold-diameter",
        dest="gold_diameter",
        type=positive_float,
        default=10.0,
        metavar="NM",
        help="diameter of the gold beads in nm",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual pack``."""
    from dual_core.errors import DualError
    from dual_core.grand_models.config import STRUCTURES
    from dual_core.grand_models.molecules.molecule_list import resolve_molecules
    from dual_core.grand_models.pack import PackConfig, pack

    if not 0.0 <= args.gap < float("inf"):
        raise DualError(f"--gap {args.gap:g}: give a distance of at least 0 A")
    none = 0 if args.only_molecules else None
    config = PackConfig(
        molecules=tuple(resolve_molecules(args.molecules)),
        shape=(args.shape[0], args.shape[1], args.shape[2]),
        voxel_size_A=args.voxel_size,
        resolution_A=args.resolution,
        number=args.number,
        occupancy=args.occupancy,
        thickness_nm=args.thickness,
        vesicle_radius_nm=tuple(args.vesicle_radius) if args.vesicle_radius else None,
        gold=args.gold,
        gold_diameter_nm=args.gold_diameter,
        **{name: none if getattr(args, name) is None else getattr(args, name)
           for name in STRUCTURES + ("crowd",)},
        gap_A=args.gap,
        variation=args.variation,
        solvent=args.solvent,
        best_effort=args.best_effort,
        seed=args.seed,
    )
    with output_folder(args.output) as output:
        written = pack(config, output, args.count, only_fitting=not args.molecules)
        dump_options(args, output / "pack.yaml")
    for files in written:
        logger.info("written %s", files["grand_model"])
    return 0
