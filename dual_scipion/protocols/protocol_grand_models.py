"""Make grand models: noise-free volumes full of molecules, with masks and positions."""

from __future__ import annotations

import glob
import json
import os
from enum import Enum
from typing import Any, Dict, List, Optional, Set, Tuple

from pwem.objects import AtomStruct, Volume
from pyworkflow.object import Set as ObjectSet
from tomo.objects import SetOfCoordinates3D, SetOfTomograms, SetOfTomoMasks, TomoAcquisition

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.protocols.forms.grand_models import (
    BUILT_IN,
    BY_NUMBER,
    FILES,
    PROJECT,
    SMALLEST_RADIUS,
    define_grand_model_params,
    structure_errors,
    structure_number,
)
from dual_scipion.protocols.parts.labelled_sets import (
    Labelled,
    LabelledSets,
    chosen_mask,
    count_names,
    generated_ts_id,
    label_beside,
    read_particles,
)
from dual_scipion.protocols.parts.protocol_base import ProtDualBase

# Kinds of files beside a grand model, 'grand_model_K.mrc'.
CLASS_MASK = "class_mask_{}.mrc"
PARTICLES = "particles_{}.csv"
MAP_ENDS = (".mrc", ".map", ".ccp4", ".rec")
LIST_ENDS = (".yaml", ".yml")


class GrandModelOutputs(Enum):
    """What the protocol makes."""

    Tomograms = SetOfTomograms
    TomoMasks = SetOfTomoMasks
    Coordinates = SetOfCoordinates3D


class ProtDualGrandModels(LabelledSets, ProtDualBase):
    """Generate grand models: volumes without noise that are full of molecules, like a cell.

    They are what *train model* needs as clean volumes, and what *simulate tomograms* turns into
    tomograms with known contents. Molecules are placed at random and turned at random, without
    overlap, among what else a cell has: membranes, microtubules, actin and a crowd of small
    proteins. Gold beads can be added.

    *For a first run* leave everything as it is, and give only the voxel size of your (binned)
    tomograms.

    *Which molecules*: for denoising the built-in ones will do. For a training set of a segmentation
    program give atomic structures or maps of the molecules that you look for, and others as
    company.

    *Outputs*: the grand models (density bright, in dalton per cubic angstrom), masks in which each
    voxel has the number of its class, and the position of every molecule, its class as the group.
    In the folder of the run there are also masks of single molecules (instance_mask) and the
    positions with orientations (particles, for RELION too).

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "generate grand models"
    _possibleOutputs = GrandModelOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        define_grand_model_params(form)

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.packStep, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def packStep(self) -> None:
        """Run the engine; the results come into the folder of the run all at once."""
        folder = self.workFolder("pack")
        made = [os.path.join(folder, os.path.basename(path)) for path in self.grandModelFiles()]
        self.runEngine("pack", {**self.engineOptions(), "output": folder}, made)
        # The grand models last: where one is, its labels are.
        for name in sorted(os.listdir(folder), key=lambda name: name.startswith("grand_model_")):
            os.replace(os.path.join(folder, name), self._getExtraPath(name))
        self.cleanFolder(folder)

    def createOutputStep(self) -> None:
        """Register the grand models and their labels, and close the sets."""
        items = []
        for number, path in enumerate(self.grandModelFiles()):
            name = generated_ts_id(f"grand{self.getObjId()}", number)
            tomogram = convert.new_tomogram(path, name, self.voxelSize.get())
            mask, particles = label_beside(path, CLASS_MASK), label_beside(path, PARTICLES)
            if mask is None or particles is None:
                raise DualError(f"{path} has no labels beside it; run the protocol anew")
            mask = chosen_mask(mask, particles, self.everything.get())
            items.append(Labelled(tomogram, mask, particles))

        def prepare(output: Any) -> None:
            output.setSamplingRate(self.voxelSize.get())
            output.setAcquisition(TomoAcquisition())

        pointers = list(self.inputMolecules) if self.source.get() == PROJECT else []
        with self._lock:
            self.registerLabelled(
                items, pointers, prepare, self.everything.get(), self.boxSize.get()
            )
        self._closeOutputSet()

    def grandModelFiles(self) -> List[str]:
        """The files of the grand models, whether they are there or not."""
        return [self._getExtraPath(f"grand_model_{k}.mrc") for k in range(self.count.get())]

    # --------------------------- the engine's options ---------------------------
    def engineOptions(self) -> Dict[str, Any]:
        """The options of ``dual pack``."""
        by_number = self.amount.get() == BY_NUMBER
        low, high = self.radiusMin.get(), self.radiusMax.get()
        return {
            "molecules": self.molecules() or None,
            "count": self.count.get(),
            "shape": list(self.shape()),
            "voxel_size": self.voxelSize.get(),
            "resolution": self.resolution.get() or None,
            "thickness": self.thickness.get() or None,
            "number": self.number.get() if by_number else None,
            "occupancy": None if by_number else self.occupancy.get(),
            "gap": self.gap.get(),
            "variation": self.variation.get(),
            "solvent": self.solvent.get(),
            "best_effort": self.bestEffort.get(),
            "seed": self.seed.get(),
            **{name: structure_number(name, text)
               for name, text in self._structureTexts().items()},
            "vesicle_radius": [low, high] if high else None,
            "gold": self.gold.get(),
            "gold_diameter": self.goldDiameter.get(),
        }

    def shape(self) -> Tuple[int, int, int]:
        """Size of the grand models in voxels, ``(z, y, x)``."""
        return self.sizeZ.get(), self.sizeY.get(), self.sizeX.get()

    def molecules(self) -> List[str]:
        """What the engine takes as molecules; nothing for all that are built in."""
        if self.source.get() == BUILT_IN:
            return convert.parse_names(self.phantoms.get())
        if self.source.get() == FILES:
            return self._files()
        path = self._getExtraPath("parameters", "molecules.yaml")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:  # JSON is YAML
            json.dump({"molecules": self.moleculeList()}, file, indent=1)
        os.replace(temporary, path)
        return [path]

    def _files(self) -> List[str]:
        path = os.path.expanduser((self.filesPath.get() or "").strip())
        return [path] if os.path.exists(path) else sorted(glob.glob(path))

    def moleculeList(self) -> List[Dict[str, Any]]:
        """The maps and models of the project, as entries of the engine's list of molecules."""
        entries: List[Dict[str, Any]] = []
        names: Set[str] = set()
        for item in self._projectMolecules():
            path = _file_of(item)
            name = stem = convert.safe_name(os.path.splitext(os.path.basename(path))[0])
            number = 1
            while name in names:
                number += 1
                name = f"{stem}_{number}"
            names.add(name)
            entry = {"name": name, "file": os.path.abspath(path)}
            if isinstance(item, Volume) and item.getSamplingRate():
                entry["voxel_size_A"] = item.getSamplingRate()
            entries.append(entry)
        return entries

    def _projectMolecules(self) -> List[Any]:
        found: List[Any] = []
        for pointer in self.inputMolecules:
            given = pointer.get()
            if isinstance(given, ObjectSet):
                found += [item.clone() for item in given.iterItems()]
                given.close()
            elif given is not None:
                found.append(given)
        return found

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate() + self._validateMolecules()
        size = self.voxelSize.get()
        if self.resolution.get() and self.resolution.get() < 2 * size:
            errors.append(f"Voxels of {size:g} A can show {2 * size:g} A at best: give a resolution"
                          " of that or more, or 0.")
        depth_nm = 0.1 * self.sizeZ.get() * size
        if self.thickness.get() > depth_nm:
            errors.append(f"The sample is thicker than the volume ({depth_nm:g} nm): give more "
                          "voxels in z, or a thinner sample.")
        low, high = self.radiusMin.get(), self.radiusMax.get()
        if (low or high) and not SMALLEST_RADIUS <= low <= high:
            errors.append("Give the smallest radius of the vesicles first, then the largest, both "
                          f"{SMALLEST_RADIUS} nm or more (or both 0).")
        return errors + structure_errors(self._structureTexts())

    def _structureTexts(self) -> Dict[str, str]:
        fields = {"sheets": self.sheets, "vesicles": self.vesicles, "actin": self.actin,
                  "microtubules": self.microtubules, "crowd": self.crowd}
        return {name: field.get() or "" for name, field in fields.items()}

    def _validateMolecules(self) -> List[str]:
        if self.source.get() == BUILT_IN:
            return self._validatePhantoms()
        if self.source.get() == FILES:
            return [] if self._files() else [f"There is no file {self.filesPath.get() or ''}."]
        items = self._projectMolecules()
        if not items:
            return ["Give at least one map or atomic model."]
        problems = [_problem_of(item) for item in items]
        return [problem for problem in problems if problem]

    def _validatePhantoms(self) -> List[str]:
        names = convert.parse_names(self.phantoms.get())
        if not names:
            return []
        from dual_core.grand_models.molecules.phantoms import (  # takes a while, and seldom needed
            PHANTOMS,
        )

        unknown = [name for name in names if name not in PHANTOMS]
        if not unknown:
            return []
        return [f"There is no built-in molecule {unknown[0]}; there are {', '.join(PHANTOMS)}."]

    def _warnings(self) -> List[str]:
        z, y, x = self.shape()
        gibi = self.count.get() * z * y * x * 7 / 2**30  # float32, int8, uint16
        if gibi < 20:
            return super()._warnings()
        return [*super()._warnings(), f"The grand models will take {gibi:.0f} GiB on the disk."]

    def _summary(self) -> List[str]:
        if not self.doneCount():
            return ["No grand models yet."]
        z, y, x = self.shape()
        summary = [f"{self.doneCount()} grand models of {x} x {y} x {z} voxels of "
                   f"{self.voxelSize.get():g} A (x, y, z)."]
        counts = self._counts()
        if counts:
            listed = ", ".join(f"{name} {number}" for name, number in counts.items())
            summary.append(f"{sum(counts.values())} objects: {listed}.")
        return summary + self.labelSummary()

    def _counts(self) -> Dict[str, int]:
        paths = [label_beside(path, PARTICLES) for path in self.grandModelFiles()]
        try:
            return count_names([read_particles(path, True) for path in paths if path])
        except DualError:
            return {}

    def _methods(self) -> List[str]:
        if not self.doneCount():
            return []
        counts = self._counts()
        amount = f"up to an occupancy of {self.occupancy.get():g}"
        if self.amount.get() == BY_NUMBER:
            amount = f"with {self.number.get()} copies of each molecule"
        return [
            f"{self.doneCount()} noise-free grand models at {self.voxelSize.get():g} A per voxel "
            f"were packed with {sum(counts.values())} objects of {len(counts)} kinds, {amount}, by "
            "DUAL [Zeng2024DUAL]."
        ]


def _file_of(item: Any) -> str:
    """The file of a map or an atomic structure."""
    if isinstance(item, AtomStruct):
        return str(item.getFileName())
    return convert.volume_path(item)


def _problem_of(item: Any) -> Optional[str]:
    try:
        path = _file_of(item)
    except DualError as error:
        return str(error)
    if not os.path.exists(path):
        return f"The file {path} does not exist; import it again."
    if isinstance(item, Volume) and not path.lower().endswith(MAP_ENDS):
        return f"{path} is no MRC file; convert it first."
    return None
