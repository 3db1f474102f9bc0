"""Packing whole grand models and writing them with masks, particle lists and a record."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import yaml

from dual_core import __version__
from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas
from dual_core.grand_models.cell import Contents, contents_of
from dual_core.grand_models.config import (
    DEFAULT_OCCUPANCY,
    OTHER_CLASSES,
    STRUCTURES,
    PackConfig,
)
from dual_core.grand_models.labels import write_csv, write_star
from dual_core.grand_models.molecules.sources import Molecule, load_molecule
from dual_core.grand_models.orientations import CONVENTION
from dual_core.grand_models.packing import Packer, Rotator, check_fit, fits
from dual_core.grand_models.shortfall import report_shortfall
from dual_core.grand_models.structures.crowd import place_crowd
from dual_core.grand_models.structures.fiducials import place_gold
from dual_core.grand_models.structures.filaments import place_filaments
from dual_core.grand_models.structures.helices import ACTIN, MICROTUBULE
from dual_core.grand_models.structures.membranes import Vesicle, place_vesicles, surface_sites
from dual_core.grand_models.structures.sheets import place_sheets
from dual_core.grand_models.structures.solvent import add_solvent
from dual_core.particles import write_text
from dual_core.volumes.reading import write_volume

logger = logging.getLogger(__name__)

__all__ = ["GrandModel", "PackConfig", "load_molecules", "pack", "pack_grand_model",
           "write_grand_model"]

# Places on membranes tried for one membrane-bound molecule.
_SITES = 60


@dataclass(frozen=True)
class GrandModel:
    """A packed grand model.

    Attributes
    ----------
    canvas : Canvas
        Density, masks and particles.
    occupancy : float
        Part of the sample's voxels that molecules fill.
    crowd_mg_per_ml : float
        Mass of the crowd over the volume of the sample.
    """

    canvas: Canvas
    occupancy: float
    crowd_mg_per_ml: float


def load_molecules(config: PackConfig) -> List[Molecule]:
    """Load the molecules of a configuration.

    Raises
    ------
    DualError
        For files that are missing or broken.
    """
    return [load_molecule(spec, config.voxel_size_A, config.used_resolution_A)
            for spec in config.molecules]


def pack_grand_model(config: PackConfig, molecules: Sequence[Molecule],
                     index: int = 0) -> GrandModel:
    """Pack one grand model; the same configuration and index give the same bytes.

    Membrane sheets come first, then microtubules, vesicles, actin, gold, membrane-bound molecules,
    molecules with a given number of copies, molecules up to the occupancy, the crowd in what is
    left, and the fluctuation of the solvent.

    Parameters
    ----------
    config : PackConfig
    molecules : sequence of Molecule
        From `load_molecules`.
    index : int
        Number of the grand model: each is packed anew.

    Raises
    ------
    DualError
        If something does not fit.
    """
    canvas = Canvas(config.shape, config.voxel_size_A, config.slab)
    for molecule in molecules:
        check_fit(molecule, canvas)
    rng = np.random.default_rng([config.seed, index])
    contents = contents_of(config)
    vesicles = _place_structures(canvas, config, contents, rng)
    rotators = [Rotator(molecule, config.voxel_size_A, config.gap_A, config.variation)
                for molecule in molecules]
    packer = Packer(canvas, rotators, rng)
    copies, bound, abundances = _plan(config, contents)
    for one, number in bound.items():
        for done in range(number):
            sites = surface_sites(vesicles, config.voxel_size_A, _SITES, rng)
            if packer.place_bound(one, sites):
                continue
            report_shortfall(f"only {done} of {number} copies of {molecules[one].name} found a "
                             "place on a membrane; place fewer copies or more vesicles",
                             config.best_effort)
            break
    packer.place_copies(copies, config.best_effort)
    if abundances:
        packer.fill(config.occupancy or DEFAULT_OCCUPANCY, abundances, config.best_effort)
    crowd = place_crowd(canvas, contents.crowd_mg_per_ml, config.used_resolution_A, config.gap_A,
                        config.classes["crowd"], rng,
                        config.best_effort or "crowd" in contents.by_default)
    add_solvent(canvas, config.solvent, config.sigma_A, rng)
    return GrandModel(canvas, packer.occupancy, crowd)


def _place_structures(canvas: Canvas, config: PackConfig, contents: Contents,
                      rng: np.random.Generator) -> List[Vesicle]:
    """Place membranes, filaments and gold, and give back the vesicles."""
    classes, sigma_A = config.classes, config.sigma_A
    lenient = {name: config.best_effort or name in contents.by_default for name in STRUCTURES}
    place_sheets(canvas, contents.sheets, sigma_A, classes["membrane"], rng, lenient["sheets"])
    place_filaments(canvas, MICROTUBULE, contents.microtubules, sigma_A, classes["microtubule"],
                    rng, lenient["microtubules"])
    vesicles = place_vesicles(canvas, contents.vesicles, contents.vesicle_radius_nm, sigma_A,
                              classes["membrane"], rng, lenient["vesicles"])
    place_filaments(canvas, ACTIN, contents.actin, sigma_A, classes["actin"], rng,
                    lenient["actin"])
    place_gold(canvas, config.gold, config.gold_diameter_nm, sigma_A, classes["gold"], rng)
    return vesicles


def _plan(config: PackConfig, contents: Contents
          ) -> Tuple[Dict[int, int], Dict[int, int], Dict[int, float]]:
    """Copies of free and of membrane-bound molecules, and abundances of the rest, by index."""
    copies: Dict[int, int] = {}
    bound: Dict[int, int] = {}
    abundances: Dict[int, float] = {}
    given = config.number is not None
    for index, spec in enumerate(config.molecules):
        number = config.number if spec.copies is None else spec.copies
        if spec.membrane_bound:
            # Membranes are filled by number only: occupancy speaks of the volume.
            bound[index] = 10 * contents.vesicles if number is None else number
        elif number is not None:
            copies[index] = number
        elif not given and spec.abundance > 0.0:
            abundances[index] = spec.abundance
    if config.occupancy is not None and not abundances:
        raise DualError("an occupancy is asked for and every molecule has a number of copies; "
                        "give some of them an abundance instead")
    return copies, bound, abundances


def write_grand_model(model: GrandModel, config: PackConfig, molecules: Sequence[Molecule],
                      output: Path, index: int = 0) -> Dict[str, Path]:
    """Write a grand model, its masks, particle lists and record.

    Returns
    -------
    dict of str to pathlib.Path
        ``grand_model``, ``class_mask``, ``instance_mask`` (MRC: float32, int8, uint16), ``csv``,
        ``star`` and ``record``.
    """
    canvas, size = model.canvas, config.voxel_size_A
    paths = {"grand_model": output / f"grand_model_{index}.mrc",
             "class_mask": output / f"class_mask_{index}.mrc",
             "instance_mask": output / f"instance_mask_{index}.mrc",
             "csv": output / f"particles_{index}.csv",
             "star": output / f"particles_{index}.star",
             "record": output / f"pack_{index}.yaml"}
    write_volume(paths["grand_model"], canvas.density, size)
    write_volume(paths["class_mask"], canvas.classes, size, dtype=np.int8)
    write_volume(paths["instance_mask"], canvas.instances, size, dtype=np.uint16)
    write_csv(paths["csv"], canvas.particles)
    write_star(paths["star"], canvas.particles, f"grand_model_{index}", config.shape)
    # Last of all: where a record is, the model is whole.
    record = yaml.safe_dump(_record(model, config, molecules, index), sort_keys=False, width=100)
    write_text(paths["record"], record)
    return paths


def _record(model: GrandModel, config: PackConfig, molecules: Sequence[Molecule],
            index: int) -> Dict[str, Any]:
    names = [particle.name for particle in model.canvas.particles]
    return {
        "software": f"dual_core {__version__}",
        "grand_model": index,
        "seed": config.seed,
        "shape_zyx": list(config.shape),
        "voxel_size_A": config.voxel_size_A,
        "resolution_A": config.used_resolution_A,
        "sample_sections": list(config.slab),
        "occupancy_reached": round(model.occupancy, 5),
        "occupancy_asked": config.occupancy,
        "gap_A": config.gap_A,
        "variation": config.variation,
        "solvent": config.solvent,
        "density_unit": "dalton per cubic angstrom: every molecule is mass-normalised, its voxels "
                        "times the voxel volume sum to its mass; bright on zero",
        "euler_angles": CONVENTION,
        "coordinates": "voxels (z, y, x), the centre of the first voxel is 0; angstrom = voxels x "
                       "voxel size",
        "classes": {"background": 0, **config.classes},
        "molecules": [{"name": one.name, "source": one.source,
                       "mass_kDa": round(one.mass_kDa, 2), "placed": names.count(one.name),
                       "membrane_bound": one.spec.membrane_bound} for one in molecules],
        "placed": {name: names.count(name) for name in OTHER_CLASSES},
        "crowd_mg_per_ml": round(model.crowd_mg_per_ml, 3),
        "vesicle_radius_nm": [round(radius, 3) for radius in
                              contents_of(config).vesicle_radius_nm],
        "gold_diameter_nm": config.gold_diameter_nm,
    }


def leave_out_too_large(
        config: PackConfig,
        molecules: Sequence[Molecule]) -> Tuple[PackConfig, List[Molecule]]:
    """The same settings without the molecules that are larger than the sample, with a warning.

    Raises
    ------
    DualError
        If none is left.
    """
    canvas = Canvas(config.shape, config.voxel_size_A, config.slab)
    fitting = [molecule for molecule in molecules if fits(molecule, canvas)]
    names = [one.name for one in fitting]
    if not fitting:
        check_fit(min(molecules, key=lambda molecule: molecule.extents_A[-1]), canvas)
    if len(fitting) < len(molecules):
        left_out = ", ".join(one.name for one in molecules if one.name not in names)
        logger.warning("left out, since they are larger than the sample: %s; --molecules chooses "
                       "others, a larger --shape or --thickness takes them in", left_out)
    return replace(config, molecules=tuple(one.spec for one in fitting)), fitting


def pack(config: PackConfig, output: Path, count: int = 1,
         only_fitting: bool = False) -> List[Dict[str, Path]]:
    """Pack and write `count` grand models into a folder, which is made if need be.

    With `only_fitting` molecules larger than the sample are left out; see `leave_out_too_large`.

    Returns
    -------
    list of dict
        The files of every grand model, as from `write_grand_model`.

    Raises
    ------
    DualError
        If a molecule cannot be loaded or something does not fit.
    """
    molecules = load_molecules(config)
    if only_fitting:
        config, molecules = leave_out_too_large(config, molecules)
    for name in contents_of(config).left_out:
        logger.warning("there are no %s: the sample is too thin for them", name)
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for index in range(count):
        model = pack_grand_model(config, molecules, index)
        logger.info("grand model %d: %d objects, molecules fill %.3f of the sample", index,
                    len(model.canvas.particles), model.occupancy)
        written.append(write_grand_model(model, config, molecules, output, index))
    return written
