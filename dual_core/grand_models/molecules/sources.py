"""Molecules on the common density scale, ready to be turned and placed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Tuple

import numpy as np
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.molecules.atomic import ATOMIC_SUFFIXES, atomic_density
from dual_core.grand_models.molecules.density import (
    MASK_DENSITY,
    PROTEIN_DENSITY,
    TAIL_DENSITY,
    resolution_sigma_A,
)
from dual_core.grand_models.molecules.maps import MAP_SUFFIXES, map_density
from dual_core.grand_models.molecules.phantoms import PHANTOMS, phantom_density

logger = logging.getLogger(__name__)

# Molecules are kept on a grid this many times finer than the grand model's, so that turning
# and shifting one does not blur it.
OVERSAMPLING = 2

MOLECULE_SUFFIXES = ATOMIC_SUFFIXES + MAP_SUFFIXES


@dataclass(frozen=True)
class MoleculeSpec:
    """What to load and how often to place it.

    Attributes
    ----------
    name : str
        Class name.
    path : pathlib.Path, optional
        PDB, mmCIF or MRC file; ``None`` for the built-in phantom `name` (or `phantom`).
    phantom : str, optional
        Name of the built-in phantom where it differs from `name`.
    copies : int, optional
        Number placed; ``None`` to let the settings of the packing decide.
    abundance : float
        Relative number when molecules are placed up to an occupancy.
    mass_kDa : float, optional
        Overrules the mass computed or estimated from the file.
    threshold, voxel_size_A : float, optional
        For maps: background level and the voxel size of the file.
    assembly : str, optional
        For atomic models: name of the biological assembly, ``"none"`` for the file's atoms.
    membrane_bound : bool
        Placed on the outside of a vesicle, its z axis along the membrane's normal.
    """

    name: str
    path: Optional[Path] = None
    phantom: Optional[str] = None
    copies: Optional[int] = None
    abundance: float = 1.0
    mass_kDa: Optional[float] = None
    threshold: Optional[float] = None
    voxel_size_A: Optional[float] = None
    assembly: Optional[str] = None
    membrane_bound: bool = False


@dataclass(frozen=True)
class Molecule:
    """A molecule's density and what is known of it.

    Attributes
    ----------
    spec : MoleculeSpec
    density : numpy.ndarray
        ``(z, y, x)`` float64, Da/A3.
    voxel_size_A : float
        Of `density`.
    centre : tuple of float
        Centre of mass as an index ``(z, y, x)`` into `density`.
    mass_kDa : float
    mask_level : float
        Density from which on a voxel belongs to the molecule.
    source : str
        The file's or phantom's name and how it was treated.
    """

    spec: MoleculeSpec
    density: np.ndarray
    voxel_size_A: float
    centre: Tuple[float, float, float]
    mass_kDa: float
    mask_level: float
    source: str

    @property
    def name(self) -> str:
        """Class name."""
        return self.spec.name

    @property
    def radius_A(self) -> float:
        """Largest distance of a voxel of the support from the centre of mass."""
        points = np.argwhere(self.density > TAIL_DENSITY) - np.array(self.centre)
        return float(np.sqrt((points ** 2).sum(axis=1).max()) * self.voxel_size_A)

    @property
    def volume_A3(self) -> float:
        """Volume of the mask."""
        return float(np.count_nonzero(self.density >= self.mask_level)) * self.voxel_size_A ** 3

    @property
    def extents_A(self) -> Tuple[float, float, float]:
        """Sides along the principal axes, smallest first."""
        points = np.argwhere(self.density >= self.mask_level) * self.voxel_size_A
        _, axes = np.linalg.eigh(np.cov(points.T))
        sides = np.sort(np.ptp(points @ axes, axis=0) + self.voxel_size_A)
        return (float(sides[0]), float(sides[1]), float(sides[2]))


def molecule_from_density(spec: MoleculeSpec, density: np.ndarray, voxel_size_A: float,
                          mass_kDa: float, source: str) -> Molecule:
    """A `Molecule` from a density ``(z, y, x)`` on any scale: cropped, centred, normalised.

    Afterwards ``density.sum() * voxel_size_A ** 3`` is the mass in dalton.

    Raises
    ------
    DualError
        If there is no density.
    """
    density = np.asarray(density, dtype=np.float64)
    total = float(density.sum())
    if not total > 0.0:
        raise DualError(f"{spec.name}: no density in {source}; give another file")
    density = density * (mass_kDa * 1000.0 / (total * voxel_size_A ** 3))
    support = density > min(TAIL_DENSITY, 0.02 * float(density.max()))
    box = ndimage.find_objects(support.astype(np.int8))[0]
    # Two voxels of margin, so that interpolation sees the fall to zero.
    density = np.pad(np.where(support, density, 0.0)[box], 2)
    density *= mass_kDa * 1000.0 / (float(density.sum()) * voxel_size_A ** 3)
    centre = ndimage.center_of_mass(density)
    peak = float(density.max())
    if peak <= TAIL_DENSITY:
        raise DualError(f"{spec.name}: its density peaks at {peak:.2g} Da/A3 with a mass of "
                        f"{mass_kDa:.2g} kDa, and proteins at about {PROTEIN_DENSITY:.2f}; give "
                        "its mass_kDa in a YAML list of molecules, or another file")
    if peak > 5.0 * PROTEIN_DENSITY or peak < MASK_DENSITY:
        logger.warning("%s: its density peaks at %.2f Da/A3, proteins at about %.2f; is its mass "
                       "of %.0f kDa right?", spec.name, peak, PROTEIN_DENSITY, mass_kDa)
    return Molecule(spec, density, voxel_size_A, (centre[0], centre[1], centre[2]), mass_kDa,
                    min(MASK_DENSITY, 0.3 * peak), source)


def load_molecule(spec: MoleculeSpec, voxel_size_A: float, resolution_A: float) -> Molecule:
    """Load a molecule for grand models of the given voxel size and resolution.

    Raises
    ------
    DualError
        If the file is missing, broken or of an unknown kind, or the phantom unknown.
    """
    spacing = voxel_size_A / OVERSAMPLING
    sigma_A = resolution_sigma_A(resolution_A)
    if spec.path is None:
        phantom = PHANTOMS.get(spec.phantom or spec.name)
        if phantom is None:
            raise DualError(f"unknown class name {spec.phantom or spec.name!r}: it has no file "
                            f"and the built-in molecules are {', '.join(PHANTOMS)}")
        mass = spec.mass_kDa or phantom.mass_kDa
        density = phantom_density(replace(phantom, mass_kDa=mass), spacing, sigma_A)
        source = f"phantom {phantom.name}"
    else:
        if not spec.path.is_file():
            raise DualError(f"{spec.path}: no such file; check the path of molecule {spec.name}")
        kind = file_kind(spec.path)
        if kind == "atomic":
            density, mass, note = atomic_density(spec.path, spacing, sigma_A, spec.assembly)
            mass = spec.mass_kDa or mass
        elif kind == "map":
            density, mass, note = map_density(spec.path, spacing, resolution_A, spec.threshold,
                                              spec.mass_kDa, spec.voxel_size_A)
        else:
            raise DualError(f"{spec.path}: not a molecule; give one of "
                            f"{' '.join(MOLECULE_SUFFIXES)}")
        source = f"{spec.path.name}, {note}"
    molecule = molecule_from_density(spec, density, spacing, mass, source)
    logger.info("%s: %.0f kDa, radius %.0f A (%s)", spec.name, mass, molecule.radius_A, source)
    return molecule


def file_kind(path: Path) -> Optional[str]:
    """``"atomic"``, ``"map"`` or ``None``, by the file's name."""
    name = path.name.lower()
    if name.endswith(".gz"):
        return "atomic" if name[:-3].endswith(ATOMIC_SUFFIXES) else None
    if name.endswith(ATOMIC_SUFFIXES):
        return "atomic"
    return "map" if name.endswith(MAP_SUFFIXES) else None


def class_name_of(path: Path) -> str:
    """Class name of a file: its name without suffixes."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem
