"""Which sides a training patch may have, and what each of them means. No window, no engine."""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Optional, Tuple

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.protocols.forms.train import METHODS
from dual_scipion.slices import read_shape
from dual_scipion.wizards.wizard_base import input_items

# The engine takes every multiple of 8 from SMALLEST on; these are the steps worth choosing from.
SIZES = (16, 24, 32, 40, 48, 56, 64, 80, 96)
SMALLEST = {"stable": 24, "paper": 16}
DEFAULT = 32  # what 0 in the form means

# A patch is 1.5 to 3 times as wide as the largest particles that matter.
LEAST_DIAMETERS, MOST_DIAMETERS = 1.5, 3.0
TYPICAL_DIAMETER_A = 200.0

_SAME_VOXEL_SIZE = 0.005  # as the engine: within it nothing is resampled


class TrainingGrid(NamedTuple):
    """What patches are cut from.

    ``voxel_size_A`` is the one trained at and ``source`` says where it is from; ``smallest`` is
    the shape ``(z, y, x)``, in such voxels, of the volume ``name`` whose shortest side is the
    shortest of all.
    """

    voxel_size_A: float
    source: str
    smallest: Tuple[int, int, int]
    name: str

    @property
    def shortest_side(self) -> int:
        """Voxels; no patch may be larger."""
        return min(self.smallest)


class PatchChoice(NamedTuple):
    """A side of the patches: voxels, angstrom, what it suits, whether it can be cut."""

    voxels: int
    edge_A: float
    smallest_particle_A: float
    largest_particle_A: float
    work: float
    fits: bool

    def suits(self, diameter_A: float) -> bool:
        """Whether the side is 1.5 to 3 times the diameter."""
        return self.smallest_particle_A <= diameter_A <= self.largest_particle_A


def training_grid(protocol: Any) -> TrainingGrid:
    """The voxels that a training of this form sees, and the smallest volume it has.

    Parameters
    ----------
    protocol : `ProtDualTrain` with the values of the form.

    Raises
    ------
    DualError
        If an input is not chosen or a file cannot be read.
    """
    wanted = set(convert.parse_names(protocol.tsIds.get()))
    noisy = input_items(protocol, "inputTomograms")
    noisy = [item for item in noisy if not wanted or convert.ts_id(item) in wanted]
    if not noisy:
        raise DualError("None of the tomograms named in the form is in the set; correct the names.")
    domains = [(noisy, protocol.inputTomograms.get().getSamplingRate())]
    own_rate, source = domains[0][1], "that of the tomograms"
    # Without clean volumes the wizard works too: they may be chosen later.
    if protocol.needsClean() and protocol.inputClean.get() is not None:
        own_rate = protocol.inputClean.get().getSamplingRate()
        source = "that of the clean volumes"
        domains.append((input_items(protocol, "inputClean"), own_rate))
    elif protocol.needsClean():
        source = "that of the tomograms, as no clean volumes are chosen yet"
    given = protocol.voxelSize.get()
    voxel_size_A, source = (given, "from the form") if given else (own_rate, source)
    if not voxel_size_A or voxel_size_A <= 0:
        raise DualError("The voxel size of the input is not known; give it in the form.")
    shapes = [
        (resampled_shape(read_shape(convert.volume_path(item)), rate / voxel_size_A), item)
        for items, rate in domains
        for item in items
    ]
    shape, item = min(shapes, key=lambda entry: min(entry[0]))
    return TrainingGrid(float(voxel_size_A), source, shape, convert.ts_id(item))


def resampled_shape(shape: Tuple[int, int, int], factor: float) -> Tuple[int, int, int]:
    """The shape ``(z, y, x)`` on voxels that are smaller by a factor, rounded as the engine does.

    Parameters
    ----------
    factor : old voxel size over new voxel size.
    """
    if abs(factor - 1) <= _SAME_VOXEL_SIZE:
        return shape
    z, y, x = (max(1, math.floor(length * factor + 0.5)) for length in shape)
    return z, y, x


def patch_choices(grid: TrainingGrid, method: str) -> List[PatchChoice]:
    """The sides that the networks of a method take, from small to large.

    ``work`` is time and memory of an iteration, in those of the default.
    """
    return [
        PatchChoice(
            voxels=side,
            edge_A=side * grid.voxel_size_A,
            smallest_particle_A=side * grid.voxel_size_A / MOST_DIAMETERS,
            largest_particle_A=side * grid.voxel_size_A / LEAST_DIAMETERS,
            work=(side / DEFAULT) ** 3,
            fits=side <= grid.shortest_side,
        )
        for side in SIZES
        if side >= SMALLEST[method]
    ]


def method_of(protocol: Any) -> str:
    """The method that is chosen in the form."""
    return METHODS[protocol.method.get() or 0]


def recommended(choices: List[PatchChoice], diameter_A: float) -> Optional[PatchChoice]:
    """The default, or the smallest larger side that holds the particle with room around it.

    Where no side is large enough, the largest that fits; ``None`` if none fits.
    """
    fitting = [choice for choice in choices if choice.fits]
    for choice in fitting:
        if choice.voxels >= DEFAULT and choice.largest_particle_A >= diameter_A:
            return choice
    return fitting[-1] if fitting else None


def judgement(choice: PatchChoice, diameter_A: float, shortest_side: int) -> str:
    """In some words, what speaks for or against a side for particles of a diameter."""
    if not choice.fits:
        return f"too large: the thinnest volume has {shortest_side}"
    if choice.suits(diameter_A):
        return "suits"
    if choice.largest_particle_A < diameter_A:
        return "tight: little room around the particle"
    return "roomy: more work than needed"
