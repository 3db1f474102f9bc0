"""Tomograms with a mask of classes and the positions of their particles, in three output sets."""

from __future__ import annotations

import csv
import math
import os
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence
from typing import Set as SetOf

import mrcfile
import numpy as np
from pyworkflow.object import Pointer
from tomo.convert.mdoc import normalizeTSId
from tomo.objects import SetOfCoordinates3D, SetOfTomograms, SetOfTomoMasks, Tomogram

from dual_core.errors import DualError
from dual_scipion import convert

TOMOGRAMS = "Tomograms"
MASKS = "TomoMasks"
COORDINATES = "Coordinates"

GRAND_MODEL = re.compile(r"grand_model_(.+)\.mrc$")  # as 'dual pack' calls them
MOLECULE = "molecule"  # of the kinds in a particle list; others are membranes, gold, filaments
PROTEIN_DA_PER_A3 = 0.81
SMALLEST_BOX = 8


class Particles(NamedTuple):
    """The particles of one list, and the mass of the heaviest (0: not known)."""

    picks: List[convert.Pick]
    names: List[str]
    mass_kDa: float


class Labelled(NamedTuple):
    """A tomogram and its labels; what is not there is ``None``."""

    tomogram: Any
    mask: Optional[str] = None
    particles: Optional[str] = None


def generated_ts_id(*parts: Any) -> str:
    """A tsId that Scipion's databases take, from several parts."""
    # Dots and blanks go first: the normalisation cuts off what follows a dot.
    return str(normalizeTSId(re.sub(r"\W+", "_", "_".join(map(str, parts)))))


def labelled_path(path: str) -> str:
    """A file of a grand model, by the name under which its labels lie beside it.

    An import protocol links to files elsewhere: the labels are where the link leads.
    """
    for candidate in (os.path.abspath(path), os.path.realpath(path)):
        if label_beside(candidate, "class_mask_{}.mrc"):
            return candidate
    return os.path.abspath(path)


def label_beside(grand_model: str, pattern: str) -> Optional[str]:
    """A label beside ``grand_model_K.mrc``, such as ``class_mask_{}.mrc``, or ``None``."""
    found = GRAND_MODEL.match(os.path.basename(grand_model))
    if not found:
        return None
    path = os.path.join(os.path.dirname(grand_model), pattern.format(found.group(1)))
    return path if os.path.isfile(path) else None


def read_particles(path: str, everything: bool) -> Particles:
    """The molecules of the engine's particle list, or everything in it; the class is the group.

    Raises
    ------
    DualError
        If it is no such list.
    """
    picks, names, heaviest = [], [], 0.0
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if not everything and row["kind"] != MOLECULE:
                    continue
                x, y, z = (float(row[f"{axis}_voxel"]) for axis in "xyz")
                picks.append(convert.Pick(x, y, z, 1.0, int(row["class"])))
                names.append(row["name"])
                heaviest = max(heaviest, float(row["mass_kDa"]))
    except OSError as error:
        raise DualError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DualError(f"{path}: not a particle list of DUAL ({error}); make it again") from error
    return Particles(picks, names, heaviest)


def chosen_mask(
    class_mask: Optional[str], particles: Optional[str], everything: bool
) -> Optional[str]:
    """The mask to show: that of all classes, or one of the molecules only.

    The latter is written beside the former where they differ. Then every class in it has
    positions: programs that count the classes by the positions fail on others.
    """
    if everything or class_mask is None or particles is None:
        return class_mask
    folder, name = os.path.split(class_mask)
    target = os.path.join(folder, name.replace("class_mask", "molecule_mask"))
    wanted = [pick.group for pick in read_particles(particles, False).picks]
    with mrcfile.mmap(class_mask, permissive=True) as file:
        classes, voxel_size = file.data, file.voxel_size.copy()
        if set(np.unique(classes)) <= {0, *wanted}:
            return class_mask
        kept = np.where(np.isin(classes, wanted), classes, 0).astype(np.int8)
    temporary = f"{target}.{os.getpid()}.tmp"
    with mrcfile.new(temporary, kept, overwrite=True) as file:
        file.voxel_size = voxel_size
    os.replace(temporary, target)
    return target


def automatic_box(mass_kDa: float, voxel_size_A: float) -> int:
    """An even box, in voxels, of twice the diameter of a globular protein of this mass."""
    diameter_A = 2 * (3 * 1000 * mass_kDa / (4 * math.pi * PROTEIN_DA_PER_A3)) ** (1 / 3)
    return max(SMALLEST_BOX, 2 * math.ceil(diameter_A / voxel_size_A))


class LabelledSets:
    """Mixin of protocols whose outputs are called as the constants of this module say."""

    _inOutput: Optional[Dict[str, SetOf[str]]] = None

    def registerLabelled(
        self: Any,
        items: Sequence[Labelled],
        pointers: Sequence[Any],
        prepare: Callable[[Any], None],
        everything: bool,
        box_size: int,
    ) -> None:
        """Append tomograms, masks and positions to the outputs; what is there already stays.

        Call it with the lock held. A mask has the number of its tomogram: other programs pair
        them by it.

        Parameters
        ----------
        pointers : of the protocol, to what the tomograms come from.
        prepare : gives a new set of tomograms or masks its properties.
        everything : also the centres of what is no molecule.
        box_size : of the positions in voxels; 0 for an automatic one.
        """
        try:
            self._registerTomograms(items, pointers, prepare)
            self._registerMasks(items, pointers, prepare)
            self._registerParticles(items, pointers, everything, box_size)
        except BaseException:
            self._inOutput = None  # it may have come half way
            raise

    def _known(self: Any, name: str) -> SetOf[str]:
        """The tsIds in an output, asked of it once: it may hold hundreds of thousands of items."""
        if self._inOutput is None:
            self._inOutput = {}
        if name not in self._inOutput:
            self._inOutput[name] = self.registeredTsIds(name)
        found: SetOf[str] = self._inOutput[name]
        return found

    def _registerTomograms(
        self: Any, items: Sequence[Labelled], pointers: Sequence[Any], prepare: Any
    ) -> None:
        known = self._known(TOMOGRAMS)
        output = self.getOutputSet(TOMOGRAMS, SetOfTomograms, pointers, prepare)
        for item in items:
            ts_id = item.tomogram.getTsId()
            if ts_id in known:
                item.tomogram.setObjId(output[{Tomogram.TS_ID_FIELD: ts_id}].getObjId())
            else:
                output.append(item.tomogram)
        self.storeOutput(TOMOGRAMS, output)
        known.update(item.tomogram.getTsId() for item in items)

    def _registerMasks(
        self: Any, items: Sequence[Labelled], pointers: Sequence[Any], prepare: Any
    ) -> None:
        known = self._known(MASKS)
        new = [
            (item.tomogram, item.mask)
            for item in items
            if item.mask is not None and item.tomogram.getTsId() not in known
        ]
        if not new:
            return
        output = self.getOutputSet(MASKS, SetOfTomoMasks, pointers, prepare)
        for tomogram, path in new:
            mask = convert.derived_mask(tomogram, path)
            mask.setObjId(tomogram.getObjId())
            output.append(mask)
        self.storeOutput(MASKS, output)
        known.update(tomogram.getTsId() for tomogram, _ in new)

    def _registerParticles(
        self: Any,
        items: Sequence[Labelled],
        pointers: Sequence[Any],
        everything: bool,
        box_size: int,
    ) -> None:
        known = self._known(COORDINATES)
        lists = [
            (item.tomogram, read_particles(item.particles, everything))
            for item in items
            if item.particles is not None and item.tomogram.getTsId() not in known
        ]
        lists = [(tomogram, particles) for tomogram, particles in lists if particles.picks]
        if not lists:
            return
        size = lists[0][0].getSamplingRate()
        heaviest = max(particles.mass_kDa for _, particles in lists)

        def prepare(output: Any) -> None:
            tomograms = Pointer(self, extended=TOMOGRAMS)
            box = box_size or automatic_box(heaviest, size)
            convert.prepare_coordinates(output, tomograms, box)

        output = self.getOutputSet(COORDINATES, SetOfCoordinates3D, pointers, prepare)
        for tomogram, particles in lists:
            convert.append_picks(output, tomogram, particles.picks)
        self.storeOutput(COORDINATES, output)
        known.update(tomogram.getTsId() for tomogram, _ in lists)

    def labelSummary(self: Any) -> List[str]:
        """How many particles and masks there are, and of what."""
        summary = []
        if self.doneCount(COORDINATES):
            summary.append(
                f"{self.doneCount(COORDINATES)} particle positions, box "
                f"{getattr(self, COORDINATES).getBoxSize()} voxels; the group of a particle is "
                "its class in the masks."
            )
            groups = sorted(getattr(self, COORDINATES).getUniqueValues("_groupId"))
            if groups != list(range(1, len(groups) + 1)):
                summary.append(
                    f"The classes with positions are {', '.join(map(str, groups))}: programs that "
                    "count classes by the positions (DeepFinder) want 1, 2, ... without a gap. "
                    "Label molecules only, or make grand models that hold all of them."
                )
        if self.doneCount(MASKS):
            summary.append(f"{self.doneCount(MASKS)} masks of classes.")
        return summary


def count_names(lists: Sequence[Particles]) -> Dict[str, int]:
    """How many particles there are of each name, in the order in which they occur."""
    counts: Dict[str, int] = {}
    for particles in lists:
        for name in particles.names:
            counts[name] = counts.get(name, 0) + 1
    return counts
