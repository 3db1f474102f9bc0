"""Translate tomograms from one experimental domain to another."""

from __future__ import annotations

from enum import Enum
from typing import Any, Dict, List

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from tomo.objects import SetOfTomograms

from dual_scipion import convert
from dual_scipion.protocols.forms.parts import add_noise_contrast
from dual_scipion.protocols.parts.engine_record import range_text, read_results
from dual_scipion.protocols.parts.noise_source import NoiseSource
from dual_scipion.protocols.parts.protocol_tomograms import ProtDualTomograms

DIRECTIONS = ("to-clean", "to-noisy")
TO_NOISY = DIRECTIONS.index("to-noisy")
NOISY = f"direction == {TO_NOISY}"
UNITS = ("standardised", "input")
TASK = "translate"


class TranslateOutputs(Enum):
    """What the protocol makes."""

    Tomograms = SetOfTomograms


class ProtDualTranslate(NoiseSource, ProtDualTomograms):
    """Translate tomograms between two experimental domains, for example two microscopes.

    The model must come from *train model* with the task *translate between two domains*: there
    the tomograms of the one domain were given as tomograms (noisy), those of the better one as
    clean volumes. *To the clean domain* makes the first look like the second, with less noise; *to
    the noisy domain* makes the second look like the first, with simulated noise.

    *What it is for*: to use a program that was trained on the tomograms of one microscope (a
    segmentation, a picker) on those of another. The result is made by a network: do not average
    it.

    Each tomogram keeps its size, voxel size and origin, and gets contrast and intensities of the
    other domain. One that fails goes into the output FailedTomograms and the others go on.
    *Continue* treats only what is not done yet. The protocol may be started while its input is
    still being made.

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "translate between domains"
    _possibleOutputs = TranslateOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        self._addInputTomograms(
            form,
            help="Tomograms of the domain to translate from, with a voxel size near that of the "
            "model (within 20 %).",
        )
        self._addInputModel(
            form, help="A model from *train model* with the task *translate between two domains*."
        )
        form.addParam(
            "direction",
            params.EnumParam,
            choices=["to the clean domain", "to the noisy domain"],
            default=DIRECTIONS.index("to-clean"),
            label="Direction",
            help="*To the clean domain*: the tomograms are like those that were given in training "
            "as tomograms (noisy). *To the noisy domain*: they are like the clean volumes.",
        )
        self._defineNoise(form.addGroup("Noise", condition=NOISY))
        group = form.addGroup("Result", expertLevel=LEVEL_ADVANCED)
        group.addParam(
            "units",
            params.EnumParam,
            choices=["of the other domain, standardised", "of the tomogram"],
            default=UNITS.index("standardised"),
            expertLevel=LEVEL_ADVANCED,
            label="Intensities",
            help="*Of the other domain, standardised*: mean 0 and deviation 1, as the network "
            "makes them. *Of the tomogram*: with its mean and deviation, for a program that "
            "expects the grey values of the first domain.",
        )
        self._addContrast(group)
        self._addMachine(form)
        self._addGpu(form)
        self._addStreaming(form)
        self._addBatch(form)
        self._addParallel(form)

    def _defineNoise(self, group: Any) -> None:
        group.addParam(
            "inputNoise",
            params.PointerParam,
            pointerClass="SetOfTomograms",
            allowsNull=True,
            condition=NOISY,
            label="Noise like that of (optional)",
            help="Tomograms of the noisy domain whose noise is imitated: that of the first for "
            "the first tomogram, and so on, from the first again where they run out. Empty: noise "
            "of all kinds that the model has learned.",
        )
        add_noise_contrast(group, condition=NOISY)
        group.addParam(
            "seed",
            params.IntParam,
            default=0,
            validators=[params.GE(0, error="must be 0 or more")],
            condition=NOISY,
            expertLevel=LEVEL_ADVANCED,
            label="Random seed",
            help="The same seed gives the same noise; choose another one for other noise.",
        )

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self.insertTomogramSteps(self.translateStep, self.closeOutputsStep)

    def translateStep(self, ts_ids: List[str], begun: str) -> None:
        """Translate these tomograms, in one run of the engine unless each takes other noise."""
        self.runTomograms("translate", ts_ids, self.engineOptions)

    # --------------------------- the engine's options and files ---------------------------
    def toNoisy(self) -> bool:
        """Whether noise is added, not removed."""
        return bool(self.direction.get() == TO_NOISY)

    def engineOptions(self, tomogram: Any) -> Dict[str, Any]:
        """The options of ``dual translate`` for a tomogram."""
        options = {
            "model": self.inputModel.get().getFileName(),
            "direction": DIRECTIONS[self.direction.get()],
            "units": UNITS[self.units.get()],
            "contrast": self.getEnumText("contrast"),
            "voxel_size": tomogram.getSamplingRate(),
            **self.machineOptions(),
        }
        if self.toNoisy():
            options["seed"] = self.seed.get()
            noise = self.noisePaths(tomogram.getObjId() - 1, number=1)
            if noise:
                options["noise_from"] = noise[0]
                options["noise_contrast"] = self.getEnumText("noiseContrast")
        return options

    def registerTomogram(self, tomogram: Any) -> None:
        super().registerTomogram(tomogram)
        if self.toNoisy() and self.inputNoise.get() is not None and self.doneCount() == 1:
            self._defineSourceRelation(self.inputNoise, getattr(self, self._outputName()))

    def engineFiles(self, tomogram: Any) -> Dict[str, str]:
        names = self.inputFiles(tomogram)
        return {f"{name}_translated.mrc": self._getExtraPath(f"{name}.mrc") for name in names}

    # --------------------------- information ---------------------------
    def _warnings(self) -> List[str]:
        model, tomograms = self.inputModel.get(), self.inputTomograms.get()
        warnings = super()._warnings() + self.modelWarnings(model, [tomograms])
        if model is None:
            return warnings
        if model.getTask() != TASK:
            better = "simulate tomograms" if self.toNoisy() else "denoise tomograms"
            warnings.append(
                f"The model was trained for '{model.getTask()}' and its clean domain are no "
                f"tomograms: the protocol '{better}' is meant for it."
            )
        if self.toNoisy():
            return warnings
        warnings += self.tiltWarnings(model, map(convert.tilt_range, self.iterInput()))
        return warnings + self.contrastWarnings(model)

    def _summary(self) -> List[str]:
        summary = super()._summary()
        summary.append(f"{self.getEnumText('direction').capitalize()}, {self.inputModel.get()}.")
        results = read_results(self.figuresPath(i) for i in sorted(self.registeredTsIds()))
        found = [one["correlation"] for one in results if one.get("correlation") is not None]
        if found:
            summary.append(f"Correlation of tomogram and network output: {range_text(found)}.")
        return summary

    def _methods(self) -> List[str]:
        model = self.inputModel.get()
        if not self.doneCount() or model is None:
            return []
        domain = "noisy" if self.toNoisy() else "clean"
        return [
            f"{self.doneCount()} tomograms were translated to the {domain} domain of a DUAL model "
            f"[Zeng2024DUAL], trained without pairs for {model.getIterations()} iterations at "
            f"{model.getVoxelSize():.2f} A per voxel."
        ]
