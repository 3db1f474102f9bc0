"""The volume that is filled, and the pieces put into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.grand_models.labels import Particle
from dual_core.grand_models.molecules.density import MASK_DENSITY, TAIL_DENSITY

Triple = Tuple[int, int, int]

MAX_INSTANCES = int(np.iinfo(np.uint16).max)


@dataclass(frozen=True)
class Piece:
    """An object on the grand model's grid, not yet at a place.

    Attributes
    ----------
    points : numpy.ndarray
        ``(n, 3)`` int64, voxels ``(z, y, x)`` of the support, the smallest index 0 on each axis.
    values : numpy.ndarray
        ``(n,)`` float32 density of these voxels.
    mask : numpy.ndarray
        ``(n,)`` bool, the voxels that are labelled.
    keep_out : numpy.ndarray
        ``(n,)`` bool, the voxels (all labelled ones among them) that must be free of others.
    centre : tuple of float
        Centre of the object ``(z, y, x)`` as an index into the box of the points.
    """

    points: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    keep_out: np.ndarray
    centre: Tuple[float, float, float]

    @property
    def box(self) -> Triple:
        """Sides ``(z, y, x)`` of the bounding box."""
        sides = self.points.max(axis=0) + 1
        return int(sides[0]), int(sides[1]), int(sides[2])

    @property
    def labelled(self) -> int:
        """Number of labelled voxels."""
        return int(np.count_nonzero(self.mask))


def piece_from_box(density: np.ndarray, centre: Tuple[float, float, float],
                   mask: Optional[np.ndarray] = None, mask_level: float = MASK_DENSITY,
                   keep_out: Optional[np.ndarray] = None) -> Piece:
    """A `Piece` from a density ``(z, y, x)``.

    Parameters
    ----------
    density : numpy.ndarray
        ``(z, y, x)``; what is fainter than the tail level is left out.
    centre : tuple of float
        Index ``(z, y, x)`` into `density`.
    mask : numpy.ndarray, optional
        bool, like `density`; without it, where the density reaches `mask_level`.
    mask_level : float
        Where the density reaches it, other objects are kept out.
    keep_out : numpy.ndarray, optional
        bool, like `density`; more voxels to keep others out of.
    """
    labelled = density >= mask_level if mask is None else mask
    occupied = labelled | (density >= mask_level)
    if keep_out is not None:
        occupied = occupied | keep_out
    points = np.argwhere((density > TAIL_DENSITY) | occupied)
    first = points.min(axis=0)
    z, y, x = points.T
    shifted = np.array(centre) - first
    return Piece(points - first, density[z, y, x].astype(np.float32), labelled[z, y, x],
                 occupied[z, y, x],
                 (float(shifted[0]), float(shifted[1]), float(shifted[2])))


@dataclass
class Canvas:
    """Grand model, masks and particle list in the making.

    Attributes
    ----------
    shape : tuple of int
        ``(z, y, x)``.
    voxel_size_A : float
    slab : tuple of int
        First and one past the last section that the sample fills.
    density : numpy.ndarray
        ``(z, y, x)`` float32.
    classes, instances : numpy.ndarray
        ``(z, y, x)`` int8 and uint16.
    blocked : numpy.ndarray
        ``(z, y, x)`` bool: voxels that nothing else may label.
    particles : list of Particle
    """

    shape: Triple
    voxel_size_A: float
    slab: Tuple[int, int]
    density: np.ndarray = field(init=False)
    classes: np.ndarray = field(init=False)
    instances: np.ndarray = field(init=False)
    blocked: np.ndarray = field(init=False)
    particles: List[Particle] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.density = np.zeros(self.shape, np.float32)
        self.classes = np.zeros(self.shape, np.int8)
        self.instances = np.zeros(self.shape, np.uint16)
        self.blocked = np.zeros(self.shape, bool)
        self.strides = np.array([self.shape[1] * self.shape[2], self.shape[2], 1], np.int64)

    @property
    def slab_shape(self) -> Triple:
        """``(z, y, x)`` of the sample."""
        return self.slab[1] - self.slab[0], self.shape[1], self.shape[2]

    @property
    def slab_voxels(self) -> int:
        """Number of voxels of the sample."""
        z, y, x = self.slab_shape
        return z * y * x

    def offsets(self, points: np.ndarray) -> np.ndarray:
        """Flat offsets of points ``(n, 3)``."""
        return np.asarray(points @ self.strides)

    def corner_range(self, box: Triple) -> Optional[Tuple[np.ndarray, np.ndarray]]:
        """First and one past the last corner that keeps a box in the sample; None if too big."""
        low = np.array([self.slab[0], 0, 0])
        high = low + np.array(self.slab_shape) - np.array(box) + 1
        return (low, high) if np.all(high > low) else None

    def is_free(self, corner: np.ndarray, piece: Piece) -> bool:
        """Whether a piece lies inside the sample and meets nothing with its corner there."""
        limits = self.corner_range(piece.box)
        if limits is None or np.any(corner < limits[0]) or np.any(corner >= limits[1]):
            return False
        flat = self.offsets(piece.points[piece.keep_out]) + int(np.dot(corner, self.strides))
        return not bool(self.blocked.ravel()[flat].any())

    def next_instance(self) -> int:
        """The number of the next object.

        Raises
        ------
        DualError
            If there are more objects than the instance mask can count.
        """
        instance = len(self.particles) + 1
        if instance > MAX_INSTANCES:
            raise DualError(f"more than {MAX_INSTANCES} objects in a grand model; the instance "
                            "mask cannot number them, pack fewer or a smaller volume")
        return instance

    def add(self, corner: np.ndarray, piece: Piece, class_number: int, instance: int,
            scale: float = 1.0) -> None:
        """Add a piece's density times `scale`, and its labels; nothing is listed."""
        flat = self.offsets(piece.points) + int(np.dot(corner, self.strides))
        self.density.ravel()[flat] += np.float32(scale) * piece.values
        labelled = flat[piece.mask]
        self.classes.ravel()[labelled] = class_number
        self.instances.ravel()[labelled] = instance
        # Not the whole of keep_out: a free margin counts from one side only.
        self.blocked.ravel()[flat[piece.mask | (piece.values >= np.float32(MASK_DENSITY))]] = True

    def place(self, corner: np.ndarray, piece: Piece, class_number: int, name: str, kind: str,
              orientation: Optional[np.ndarray] = None, mass_kDa: float = 0.0,
              scale: float = 1.0) -> Particle:
        """Put a piece down and list it; the caller has made sure that it is free and inside.

        Its density is multiplied by `scale`, its mask and the listed mass are not.

        Raises
        ------
        DualError
            If there are more objects than the instance mask can count.
        """
        instance = self.next_instance()
        self.add(corner, piece, class_number, instance, scale)
        centre = np.array(corner, dtype=np.float64) + np.array(piece.centre)
        particle = Particle(instance, class_number, name, kind,
                            (float(centre[0]), float(centre[1]), float(centre[2])),
                            self.voxel_size_A, orientation, mass_kDa)
        self.particles.append(particle)
        return particle

    def seal(self, corner: np.ndarray, piece: Piece) -> None:
        """Block all of a placed piece's `keep_out`: nothing comes into a lumen later."""
        flat = self.offsets(piece.points[piece.keep_out]) + int(np.dot(corner, self.strides))
        self.blocked.ravel()[flat] = True
