"""Denoise tomograms with a trained model."""

from __future__ import annotations

import logging
import os
from enum import Enum
from typing import Any, Dict, List

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from pyworkflow.utils.retry_streaming import retry_on_sqlite_lock
from tomo.objects import SetOfTomograms

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.objects import DualModel
from dual_scipion.protocols.forms.parts import TILT_AXES
from dual_scipion.protocols.parts.engine_batch import EngineBatch, Member
from dual_scipion.protocols.parts.engine_record import range_text, read_results
from dual_scipion.protocols.parts.input_warnings import foreign_halves, halves_warnings
from dual_scipion.protocols.parts.protocol_tomograms import ProtDualTomograms

logger = logging.getLogger(__name__)

ADAPTED = "adapted.safetensors"  # as the engine calls it
ADAPTED_ON = 12  # tomograms; of more the engine takes so many, evenly
KEEP_MEASURED = ("auto", "yes", "no")  # as the engine has them


class DenoiseOutputs(Enum):
    """What the protocol makes."""

    Tomograms = SetOfTomograms
    AdaptedModel = DualModel  # with "Adapt for (minutes)"


class ProtDualDenoise(ProtDualTomograms):
    """Denoise tomograms with a model that was trained by *train model* or imported.

    Each tomogram keeps its size, voxel size, origin, contrast and intensities. No half maps are
    needed.

    *What to do with the result*: look at it, pick particles and segment on it. Extract and
    average particles from the *raw* tomograms, at the positions found here: a network may blur or
    invent detail, and an average of its results would show that with confidence.

    *How to choose*: begin with strength 1. Where the result looks too smooth, or small things are
    gone, choose 0.7.

    A tomogram that fails (a broken file, for example) goes into the output FailedTomograms and
    the others go on. *Continue* treats only what is not done yet; after changing parameters
    choose *Restart*. The protocol may be started while its input is still being made.

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "denoise tomograms"
    _possibleOutputs = DenoiseOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        self._addInputTomograms(
            form,
            help="The raw tomograms. Their voxel size should be near that of the model (within "
            "20 %), and they should come from the same kind of microscope and sample as those it "
            "was trained on; best of all, they are the same.",
        )
        self._addInputModel(
            form,
            help="A model from *train model* or *import model*. No model yet? The built-in general "
            "model of *import model* needs no training.",
        )
        self._addResult(form)
        self._addMachine(form)
        self._addGpu(form)
        self._addStreaming(form)
        self._addBatch(form)
        self._addParallel(form)

    def _addResult(self, form: Any) -> None:
        group = form.addGroup("Result")
        group.addParam(
            "strength",
            params.FloatParam,
            default=1.0,
            validators=[params.Range(0, 1, error="must be from 0 to 1")],
            label="Strength (0 to 1)",
            help="How much of the noise to remove: 1 all, 0 none (the tomogram itself). 1 is best "
            "for picking and segmentation. 0.5 to 0.8 leaves some grain, and with it faint "
            "structure that the network takes for noise.",
        )
        group.addParam(
            "keepMeasured",
            params.EnumParam,
            choices=list(KEEP_MEASURED),
            default=KEEP_MEASURED.index("auto"),
            display=params.EnumParam.DISPLAY_HLIST,
            label="Keep what was measured?",
            help="*yes*: the network's output is combined with the tomogram, so that at no "
            "resolution the result is worse than a filtered tomogram. It brings back coarse "
            "structure that the clean volumes lack, and some grain with it; choose it where "
            "something that you see in the raw tomogram is gone. *auto*: yes where the training "
            "found that the clean volumes lack much of what the tomograms show, as is usual with "
            "cells, and with the general and adapted models. Models of DUAL 0.1 cannot do it.",
        )
        group.addParam(
            "adaptMinutes",
            params.FloatParam,
            default=0.0,
            validators=[params.GE(0, error="must be 0 or more minutes")],
            label="Adapt for (minutes)",
            help="First train the model further on these tomograms for so long; no clean "
            "volumes are needed. 0: take it as it is. For the built-in general model, or one from "
            "other tomograms: 2 on a GPU, 10 on a CPU. It is done once, on up to twelve tomograms "
            "spread evenly over the set, and all are denoised with the same adapted model, which "
            "is the output AdaptedModel. Of a set that still grows, those that are there at the "
            "start are taken.",
        )
        self._addFiles(group)
        self._addContrast(group)
        self._addTiltAxis(group)

    @staticmethod
    def _addFiles(group: Any) -> None:
        group.addParam(
            "denoiseHalves",
            params.BooleanParam,
            default=False,
            label="Denoise half maps too?",
            help="Yes: the two half maps of a tomogram, where it has them, are denoised with the "
            "same model and kept as the half maps of the result, for a Fourier shell correlation "
            "for example. It takes three times as long. No: the result has no half maps.",
        )
        group.addParam(
            "writeExplained",
            params.BooleanParam,
            default=True,
            expertLevel=LEVEL_ADVANCED,
            label="Keep the explained part too?",
            help="Yes: the part of the tomogram that the result explains (the result with the "
            "tomogram's own contrast transfer and missing wedge) is kept as well, as "
            "<tsId>_explained.mrc in the folder of the run. *Analyze Results* subtracts it from "
            "the tomogram: what was removed should then look like noise. It takes some seconds "
            "and the disk space of a second result. Models of DUAL 0.1 cannot do it.",
        )
        group.addParam(
            "outputContrast",
            params.EnumParam,
            choices=["as in the tomogram", "as in the model"],
            default=0,
            expertLevel=LEVEL_ADVANCED,
            label="Contrast of the result",
            help="*As in the tomogram* lets the result take the tomogram's place everywhere. *As "
            "in the model* gives the sign of density of the grand models, for programs that want "
            "it.",
        )

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        first = self.adaptStep if self.adaptMinutes.get() else None
        self.insertTomogramSteps(self.denoiseStep, self.closeOutputsStep, first)

    def adaptStep(self, begun: str) -> None:
        """Adapt the model to the tomograms that there are by now, unless that has been done.

        A run that was killed goes on where the engine last saved.
        """
        if not os.path.exists(self.adaptedPath()):
            with self._lock:
                tomograms = list(self._tomograms.values())
            folder = self._getExtraPath("adaptation")
            self.cleanFolder(os.path.join(folder, "in"))
            members = {}
            for tomogram in tomograms:
                name, path = next(iter(self.inputFiles(tomogram).items()))  # without its half maps
                members[convert.ts_id(tomogram)] = Member({name: path}, {})
            batch = EngineBatch(folder, members)
            made = batch.path(ADAPTED)
            options = {
                **self.engineOptions(tomograms[0]),
                "model": self.inputModel.get().getFileName(),
                "explained": False,
                "adapt": self.adaptMinutes.get() or None,
                "adapt_only": True,
                "resume": True,
                "tomograms": batch.link(),
                "output": batch.output,
            }
            try:
                self.runEngine("denoise", options, [made], "adapt")
            except DualError as error:
                raise DualError(f"adapting the model: {batch.named(str(error))}") from error
            os.replace(made, self.adaptedPath())
        self._defineAdapted()

    @retry_on_sqlite_lock(log=logger)
    def _defineAdapted(self) -> None:
        with self._lock:
            if getattr(self, "AdaptedModel", None) is None:
                model = DualModel.fromFile(self.adaptedPath())
                self._defineOutputs(AdaptedModel=model)
                for pointer in (self.inputTomograms, self.inputModel):
                    self._defineSourceRelation(pointer, model)

    def adaptedPath(self) -> str:
        """Where the adapted model is kept; it is there when the adaptation is complete."""
        return str(self._getExtraPath(ADAPTED))

    def denoiseStep(self, ts_ids: List[str], begun: str) -> None:
        """Denoise these tomograms in one run of the engine; register each when it is finished."""
        self.runTomograms("denoise", ts_ids, self.engineOptions)

    # --------------------------- the engine's options and files ---------------------------
    def engineOptions(self, tomogram: Any) -> Dict[str, Any]:
        """The options of ``dual denoise`` for a tomogram."""
        adapted = self.adaptMinutes.get() > 0
        return {
            "model": self.adaptedPath() if adapted else self.inputModel.get().getFileName(),
            "strength": self.strength.get(),
            "explained": self.writeExplained.get(),
            "keep_measured": KEEP_MEASURED[self.keepMeasured.get()],
            "contrast": self.getEnumText("contrast"),
            "tilt_axis": TILT_AXES[self.getEnumText("tiltAxis")],
            "output_contrast": ("as-input", "as-model")[self.outputContrast.get()],
            "voxel_size": tomogram.getSamplingRate(),
            **self.machineOptions(),
        }

    def inputFiles(self, tomogram: Any) -> Dict[str, str]:
        """The tomogram and, if they are wanted and there, its half maps."""
        inputs = super().inputFiles(tomogram)
        name = next(iter(inputs))
        halves = convert.half_paths(tomogram) if self.denoiseHalves.get() else []
        inputs.update({f"{name}_half{n}": path for n, path in enumerate(halves, start=1)})
        return inputs

    def engineFiles(self, tomogram: Any) -> Dict[str, str]:
        names = self.inputFiles(tomogram)
        return {f"{name}_denoised.mrc": self._getExtraPath(f"{name}.mrc") for name in names}

    def extraFiles(self, tomogram: Any) -> Dict[str, str]:
        if not self.writeExplained.get():
            return {}
        name = next(iter(self.inputFiles(tomogram)))
        return {f"{name}_explained.mrc": self.explainedPath(tomogram)}

    def explainedPath(self, tomogram: Any) -> str:
        """Where the part of a tomogram that its result explains is, if the model can tell it."""
        name = convert.safe_name(convert.ts_id(tomogram))
        return str(self._getExtraPath(f"{name}_explained.mrc"))

    def resultHalves(self, tomogram: Any) -> List[str]:
        return self.resultFiles(tomogram)[1:]

    # --------------------------- information ---------------------------
    def _warnings(self) -> List[str]:
        model, tomograms = self.inputModel.get(), self.inputTomograms.get()
        warnings = super()._warnings() + self.modelWarnings(model, [tomograms])
        if self.denoiseHalves.get() and tomograms is not None and not tomograms.hasOddEven():
            warnings.append("The half maps shall be denoised, but the tomograms have none.")
        elif self.denoiseHalves.get():
            items = list(self.iterInput())
            warnings += halves_warnings(items, "their results will have none")
            warnings += foreign_halves(items)
        grows = tomograms is not None and tomograms.isStreamOpen()
        if grows and self.adaptMinutes.get() and tomograms.getSize() < ADAPTED_ON:
            warnings.append(
                f"The input set still grows, and the model will be adapted to the "
                f"{tomograms.getSize()} tomograms that there are by now. Where the tomograms "
                f"differ, begin when there are {ADAPTED_ON}."
            )
        warnings += self.tiltWarnings(model, map(convert.tilt_range, self.iterInput()))
        return warnings + self.contrastWarnings(model)

    def _summary(self) -> List[str]:
        summary = super()._summary()
        summary.append(f"Strength {self.strength.get():g}, with {self.inputModel.get()}.")
        if self.adaptMinutes.get():
            minutes = self.adaptMinutes.get()
            summary.append(f"Model adapted once to these tomograms, for {minutes:g} minutes.")
        results = read_results(self.figuresPath(i) for i in sorted(self.registeredTsIds()))
        found = [one["correlation"] for one in results if one.get("correlation") is not None]
        if found:
            summary.append(f"Correlation of tomogram and network output: {range_text(found)}.")
        return summary

    def _methods(self) -> List[str]:
        model = self.inputModel.get()
        if not self.doneCount() or model is None:
            return []
        minutes = self.adaptMinutes.get()
        adapted = f" and adapted to these tomograms for {minutes:g} minutes" if minutes else ""
        return [
            f"{self.doneCount()} tomograms were denoised with DUAL [Zeng2024DUAL] (strength "
            f"{self.strength.get():g}), with a model trained without labels or half maps for "
            f"{model.getIterations()} iterations at {model.getVoxelSize():.2f} A per voxel"
            f"{adapted}."
        ]
