"""Simulate tomograms from grand models, with masks and positions: a labelled training set."""

from __future__ import annotations

import csv
import os
from enum import Enum
from typing import Any, Dict, List, Optional
from typing import Set as SetOf

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from tomo.objects import SetOfCoordinates3D, SetOfTomograms, SetOfTomoMasks, TomoAcquisition

from dual_scipion import convert
from dual_scipion.protocols.forms.labels import define_labels_param
from dual_scipion.protocols.forms.simulate import (
    OUTPUT_CONTRASTS,
    STANDARDISE,
    define_noise,
    define_result,
)
from dual_scipion.protocols.parts.labelled_sets import (
    COORDINATES,
    MASKS,
    TOMOGRAMS,
    Labelled,
    LabelledSets,
    chosen_mask,
    generated_ts_id,
    label_beside,
    labelled_path,
    read_particles,
)
from dual_scipion.protocols.parts.noise_source import NoiseSource
from dual_scipion.protocols.parts.protocol_tomograms import ProtDualTomograms

TABLE = "training_set.csv"  # the engine's, of what belongs together
# Column of the table, and the end of the name of the file that is kept.
LABELS = {
    "class_mask": "class_mask.mrc",
    "instance_mask": "instance_mask.mrc",
    "particles": "particles.csv",
}


class SimulateOutputs(Enum):
    """What the protocol makes."""

    Tomograms = SetOfTomograms
    TomoMasks = SetOfTomoMasks
    Coordinates = SetOfCoordinates3D


class ProtDualSimulate(LabelledSets, NoiseSource, ProtDualTomograms):
    """Simulate tomograms like yours from grand models, with masks and positions.

    The model has learned from your tomograms what noise, missing wedge and contrast look like, and
    puts them onto grand models. What is in a grand model is known, and so a training set for
    segmentation and picking is made without any annotation by hand.

    *Inputs*: grand models from *generate grand models* (best others than those the model was
    trained on: choose another seed), with the voxel size of the model; and a model from *train
    model*, task *denoise and simulate*.

    *Outputs*: tomograms, the masks of their classes (each voxel has the number of its class), and
    the positions of the molecules, the class as the group. Masks and positions go as they are into
    *DeepFinder - train*, for example. Masks of single molecules (instance_mask) and lists with
    orientations (particles) are in the folder of the run. Volumes that are not from *generate
    grand models* give tomograms only.

    *How to choose*: 5 grand models with 2 copies each are a training set to begin with. More grand
    models teach more than more copies.

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "simulate tomograms"
    _possibleOutputs = SimulateOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        # Under the name that the base knows.
        form.addParam(
            "inputTomograms",
            params.PointerParam,
            pointerClass="SetOfTomograms,SetOfVolumes",
            important=True,
            label="Grand models",
            help="The output Tomograms of *generate grand models*. Other noise-free volumes can be "
            "given too, but then there are no masks and positions.",
        )
        self._addInputModel(
            form, help="A model from *train model*, task *denoise and simulate*, or imported."
        )
        form.addParam(
            "copies",
            params.IntParam,
            default=1,
            validators=[params.Range(1, 99, error="must be from 1 to 99")],
            label="Tomograms from each grand model",
            help="Each copy has other noise. 1 to 3; rather make more grand models.",
        )
        define_labels_param(form)
        define_noise(form.addGroup("Noise"))
        define_result(form.addGroup("Result", expertLevel=LEVEL_ADVANCED))
        self._addMachine(form)
        self._addGpu(form)
        self._addStreaming(form)
        self._addParallel(form)

    # --------------------------- names ---------------------------
    def simulatedNames(self, grand: Any) -> List[str]:
        """The tsIds of the tomograms from one grand model."""
        parts = (f"sim{self.getObjId()}", convert.ts_id(grand))
        return [generated_ts_id(*parts, f"{n:02d}") for n in range(1, self.copies.get() + 1)]

    def resultFiles(self, tomogram: Any) -> List[str]:
        return [self._getExtraPath(f"{name}.mrc") for name in self.simulatedNames(tomogram)]

    def labelPath(self, grand: Any, column: str) -> str:
        """Where a label of a grand model is kept; all its copies share it."""
        name = f"{convert.safe_name(convert.ts_id(grand))}_{LABELS[column]}"
        return str(self._getExtraPath(name))

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self.insertTomogramSteps(self.simulateStep, self.closeOutputsStep)

    def batchSize(self, count: int) -> int:
        """One: each grand model takes the noise of other tomograms."""
        return 1

    def simulateStep(self, ts_ids: List[str], begun: str) -> None:
        """Simulate from these grand models and register what comes out with its labels."""
        for grand in self.waiting(ts_ids):
            with self.oneMayFail(grand):
                self.simulate(grand)
                self._register(grand)

    def engineOptions(self, tomogram: Any) -> Dict[str, Any]:
        """The options of ``dual simulate`` for a grand model."""
        copies = self.copies.get()
        noise = self.noisePaths((tomogram.getObjId() - 1) * copies, copies)
        return {
            "model": self.inputModel.get().getFileName(),
            "copies": copies,
            "seed": self.seed.get(),
            "noise_from": noise or None,
            "noise_contrast": self.getEnumText("noiseContrast") if noise else None,
            "output_contrast": OUTPUT_CONTRASTS[self.outputContrast.get()],
            "contrast": self.getEnumText("contrast"),
            "standardise": STANDARDISE[self.standardise.get()],
            "voxel_size": tomogram.getSamplingRate(),
            **self.machineOptions(),
        }

    def simulate(self, tomogram: Any) -> None:
        """Run the engine on one grand model; keep its tomograms and labels."""
        name = convert.safe_name(convert.ts_id(tomogram))
        folder = self.workFolder(name)
        # No link as elsewhere: the engine looks for the labels beside the file.
        source = labelled_path(convert.volume_path(tomogram))
        stem = os.path.splitext(os.path.basename(source))[0]
        made = [
            os.path.join(folder, f"{stem}_simulated_{copy:02d}.mrc")
            for copy in range(1, self.copies.get() + 1)
        ]
        options = {**self.engineOptions(tomogram), "grand_models": [source], "output": folder}
        self.runEngine("simulate", options, made, name)
        for column, label in _labels(os.path.join(folder, TABLE)).items():
            if label.endswith(".mrc"):
                convert.set_header_voxel_size(label, tomogram.getSamplingRate())
            os.replace(label, self.labelPath(tomogram, column))
        # The first one last: that it is there means that all is.
        for path, result in reversed(list(zip(made, self.resultFiles(tomogram)))):
            convert.set_header_voxel_size(path, tomogram.getSamplingRate())
            os.replace(path, result)
        self.cleanFolder(folder)

    def registerTomogram(self, tomogram: Any) -> None:
        mask, particles = (self._kept(tomogram, name) for name in ("class_mask", "particles"))
        mask = chosen_mask(mask, particles, self.everything.get())
        items = []
        for name, path in zip(self.simulatedNames(tomogram), self.resultFiles(tomogram)):
            item = convert.derived_tomogram(tomogram, path)
            item.setTsId(name)
            item.setAcquisition(self._acquisition())
            items.append(Labelled(item, mask, particles))
        pointers = [self.inputTomograms]
        pointers += [self.inputNoise] * (self.inputNoise.get() is not None)
        self.registerLabelled(
            items, pointers, self.copyInputInfo, self.everything.get(), self.boxSize.get()
        )

    def copyInputInfo(self, output: Any) -> None:
        output.setSamplingRate(self.inputTomograms.get().getSamplingRate())
        output.setAcquisition(self._acquisition())

    def _acquisition(self) -> TomoAcquisition:
        """Of what is simulated: the tilt range of the tomograms that the model was trained on."""
        tilt_range = self.inputModel.get().getTiltRange()
        low, high = tilt_range if tilt_range is not None else (None, None)
        return TomoAcquisition(angleMin=low, angleMax=high)

    def _kept(self, grand: Any, column: str) -> Optional[str]:
        path = self.labelPath(grand, column)
        return path if os.path.exists(path) else None

    def registeredTsIds(self, name: Optional[str] = None) -> SetOf[str]:
        """The tsIds in an output; without its name the grand models that are completely done."""
        if name is not None:
            return super().registeredTsIds(name)
        there = {output: super(ProtDualSimulate, self).registeredTsIds(output)
                 for output in (TOMOGRAMS, MASKS, COORDINATES)}
        return {ts_id for ts_id, grand in self._tomograms.items() if self._isDone(grand, there)}

    def _isDone(self, grand: Any, there: Dict[str, SetOf[str]]) -> bool:
        names = set(self.simulatedNames(grand))
        if not names <= there[TOMOGRAMS]:
            return False
        if self._kept(grand, "class_mask") and not names <= there[MASKS]:
            return False
        particles = self._kept(grand, "particles")
        if particles is None or names <= there[COORDINATES]:
            return True
        return not read_particles(particles, self.everything.get()).picks

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate()
        items = list(self.iterInput())
        names = {name for item in items for name in self.simulatedNames(item)}
        if not errors and len(names) < len(items) * self.copies.get():
            errors.append("Some tsIds differ only in signs that Scipion does not take; rename.")
        return errors

    def _warnings(self) -> List[str]:
        model, grand_models = self.inputModel.get(), self.inputTomograms.get()
        warnings = super()._warnings() + self.modelWarnings(model, [grand_models])
        if model is not None and "simulate" not in model.getTask():
            warnings.append(
                f"The model was trained for '{model.getTask()}', not to simulate from grand models."
            )
        bare = [convert.ts_id(item) for item in self.iterInput() if not _has_labels(item)]
        if bare:
            warnings.append(
                f"{len(bare)} of the grand models have no masks and positions beside their files "
                f"({', '.join(bare[:3])}): they give tomograms only. Take the output of *generate "
                "grand models* itself."
            )
        return warnings

    def _summary(self) -> List[str]:
        grand_models = self.inputTomograms.get()
        total = grand_models.getSize() if grand_models is not None else 0
        summary = [
            f"{self.doneCount()} of {total * self.copies.get()} tomograms simulated, "
            f"{self.copies.get()} from each of {total} grand models."
        ]
        summary += super()._summary()[1:]  # failures
        noise = self.inputNoise.get()
        summary.append(
            "Noise of all kinds that the model has learned."
            if noise is None
            else f"Noise like that of {noise.getSize()} tomograms."
        )
        return summary + self.labelSummary()

    def _methods(self) -> List[str]:
        model = self.inputModel.get()
        if not self.doneCount() or model is None:
            return []
        return [
            f"{self.doneCount()} tomograms with {self.doneCount(COORDINATES)} labelled particles "
            f"were simulated with DUAL [Zeng2024DUAL] from noise-free grand models (seed "
            f"{self.seed.get()}), with a model trained for {model.getIterations()} iterations at "
            f"{model.getVoxelSize():.2f} A per voxel."
        ]


def _labels(table: str) -> Dict[str, str]:
    """The files of the labels, by column, that the engine copied beside the tomograms."""
    if not os.path.exists(table):
        return {}
    with open(table, encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file), {})
    folder = os.path.dirname(table)
    return {column: os.path.join(folder, row[column]) for column in LABELS if row.get(column)}


def _has_labels(grand: Any) -> bool:
    source = labelled_path(convert.volume_path(grand, must_exist=False))
    return label_beside(source, "class_mask_{}.mrc") is not None
