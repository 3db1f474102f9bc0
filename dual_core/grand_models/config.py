"""The settings of a packing, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.grand_models.molecules.density import resolution_sigma_A
from dual_core.grand_models.molecules.molecule_list import check_names
from dual_core.grand_models.molecules.sources import MoleculeSpec
from dual_core.safety.limits import COUNT, LENGTH_A, VOXEL_SIZE_A, Bounds, check_voxels, within

DEFAULT_OCCUPANCY = 0.08
STRUCTURES = ("sheets", "vesicles", "microtubules", "actin")
OTHER_CLASSES = ("membrane", "gold", "microtubule", "actin", "crowd")
MOST_CROWD = Bounds(0.0, 400.0, "mg/ml")
MOST_VARIATION = Bounds(0.0, 3.0, "")
MOST_SOLVENT = Bounds(0.0, 0.5, "of the density of protein")
_MAX_CLASSES = int(np.iinfo(np.int8).max)


@dataclass(frozen=True)
class PackConfig:
    """Settings of a packing.

    Attributes
    ----------
    molecules : tuple of MoleculeSpec
        Class numbers follow the order, from 1; membrane, gold, microtubule, actin and crowd come
        after the last.
    shape : tuple of int
        ``(z, y, x)`` of the grand model.
    voxel_size_A : float
    resolution_A : float, optional
        Two voxels by default.
    number : int, optional
        Copies of every molecule that names none itself.
    occupancy : float, optional
        Part of the sample's voxels that molecules fill, by relative abundance; 0.08 where
        neither it nor any number of copies is given.
    thickness_nm : float, optional
        Of the sample, in the middle of z; the whole volume by default.
    sheets, vesicles, microtubules, actin : int, optional
        ``None``: as many as a cell of this size has (`cell.contents_of`).
    crowd : float, optional
        Small proteins, mg/ml of the sample; ``None``: what a cell has.
    vesicle_radius_nm : tuple of float, optional
        Smallest and largest; by default what a cell has and what fits.
    gold : int
    gold_diameter_nm : float
    gap_A : float
        Free distance kept around every molecule.
    variation : float
        How much copies of a molecule differ in density, sharpness and shape: 1 as particles in
        ice do, 0 not at all.
    solvent : float
        Fluctuation of the solvent, as part of the density of protein.
    best_effort : bool
        Be content with what could be placed.
    seed : int
    """

    molecules: Tuple[MoleculeSpec, ...]
    shape: Tuple[int, int, int] = (128, 256, 256)
    voxel_size_A: float = 10.0
    resolution_A: Optional[float] = None
    number: Optional[int] = None
    occupancy: Optional[float] = None
    thickness_nm: Optional[float] = None
    sheets: Optional[int] = 0
    vesicles: Optional[int] = 0
    microtubules: Optional[int] = 0
    actin: Optional[int] = 0
    crowd: Optional[float] = 0.0
    vesicle_radius_nm: Optional[Tuple[float, float]] = None
    gold: int = 0
    gold_diameter_nm: float = 10.0
    gap_A: float = 0.0
    variation: float = 1.0
    solvent: float = 0.0
    best_effort: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_names(self.molecules)
        if len(self.molecules) + len(OTHER_CLASSES) > _MAX_CLASSES:
            raise DualError(f"{len(self.molecules)} classes of molecules are more than the class "
                            f"mask can number; give at most {_MAX_CLASSES - len(OTHER_CLASSES)}")
        if self.occupancy is not None and not 0.0 < self.occupancy < 1.0:
            raise DualError(f"occupancy {self.occupancy:g} is not between 0 and 1; 0.05 is "
                            "dilute, 0.2 is crowded")
        if self.number is not None and self.occupancy is not None:
            raise DualError("give a number of copies or an occupancy, not both (copies in a YAML "
                            "list of molecules go with either)")
        if min(self.shape) < 8 or not self.voxel_size_A > 0.0:
            raise DualError("a grand model needs sides of at least 8 voxels and a voxel size > 0")
        if self.resolution_A is not None and self.resolution_A < 2.0 * self.voxel_size_A:
            raise DualError(f"resolution {self.resolution_A:g} A does not fit voxels of "
                            f"{self.voxel_size_A:g} A; give at least {2 * self.voxel_size_A:g} A")
        depth_nm = 0.1 * self.shape[0] * self.voxel_size_A
        if self.thickness_nm is not None and not 0.0 < self.thickness_nm <= depth_nm:
            raise DualError(f"a sample of {self.thickness_nm:g} nm does not fit the volume's "
                            f"depth of {depth_nm:g} nm; give less --thickness or a larger --shape")
        self._check_bounds()
        low, high = self.vesicle_radius_nm or (6.0, 6.0)
        if not 6.0 <= low <= high:
            raise DualError(f"vesicle radius {low:g} to {high:g} nm: give the smaller one first, "
                            "at least 6 nm")
        if any(spec.membrane_bound for spec in self.molecules) and self.vesicles == 0:
            raise DualError("a molecule is to be bound to a membrane and there is none; "
                            "give --vesicles")

    def _check_bounds(self) -> None:
        """See that every number makes sense, and that there is something to place."""
        within(self.voxel_size_A, VOXEL_SIZE_A, "the voxel size")
        check_voxels(self.shape, "a grand model", "give a smaller --shape")
        lengths = {"gap": self.gap_A, "diameter of gold": 10 * self.gold_diameter_nm,
                   "radius of vesicles": 10 * max(self.vesicle_radius_nm or (0.0,)),
                   "resolution": self.resolution_A or 0.0}
        for name, length in lengths.items():
            within(length, Bounds(0.0, LENGTH_A.high, "A"), f"the {name}")
        for name in STRUCTURES + ("gold",):
            within(getattr(self, name) or 0, COUNT, f"the number of {name}")
        within(self.crowd or 0.0, MOST_CROWD, "the crowd")
        within(self.variation, MOST_VARIATION, "the variation of the molecules")
        within(self.solvent, MOST_SOLVENT, "the fluctuation of the solvent")
        for spec in self.molecules:
            if spec.copies is not None:
                within(spec.copies, COUNT, f"the number of copies of {spec.name}")
        if self.number is not None:
            within(self.number, COUNT, "the number of copies")
        wanted = [self.number if spec.copies is None else spec.copies for spec in self.molecules]
        placed = [spec.abundance if copies is None else copies
                  for spec, copies in zip(self.molecules, wanted)]
        others = [getattr(self, name) for name in STRUCTURES] + [self.crowd, self.gold]
        if not any(placed) and not any(other is None or other for other in others):
            raise DualError("nothing is to be placed: the copies or the abundance of every "
                            "molecule is 0; give one of them a number above 0")

    @property
    def slab(self) -> Tuple[int, int]:
        """First and one past the last section of the sample."""
        if self.thickness_nm is None:
            return 0, self.shape[0]
        sections = max(1, int(round(10.0 * self.thickness_nm / self.voxel_size_A)))
        first = (self.shape[0] - sections) // 2
        return first, first + sections

    @property
    def used_resolution_A(self) -> float:
        """The resolution, two voxels by default."""
        return self.resolution_A or 2.0 * self.voxel_size_A

    @property
    def sigma_A(self) -> float:
        """Gaussian blur of the resolution."""
        return resolution_sigma_A(self.used_resolution_A)

    @property
    def classes(self) -> Dict[str, int]:
        """Class numbers by name."""
        names = [spec.name for spec in self.molecules] + list(OTHER_CLASSES)
        return {name: number for number, name in enumerate(names, start=1)}
