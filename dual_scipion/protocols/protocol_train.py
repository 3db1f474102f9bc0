"""Train a model on the tomograms of the project."""

from __future__ import annotations

import os
import shutil
from enum import Enum
from typing import Any, Dict, List, Optional, Tuple

from pyworkflow.utils import Environ
from tomo.objects import SetOfTomoMasks

from dual_core.errors import DualError
from dual_scipion import convert, engine
from dual_scipion.objects import DualModel
from dual_scipion.protocols.forms.train import (
    GPUS_HELP,
    MODE_CONTINUE,
    MODE_NEW,
    PRESETS,
    TASKS,
    define_training_params,
)
from dual_scipion.protocols.parts.input_warnings import geometry_warnings, training_halves
from dual_scipion.protocols.parts.protocol_base import ProtDualBase
from dual_scipion.protocols.protocol_import_model import model_summary

PARAMETERS = "train"
RUN_FOLDER = "training"  # in extra; the engine's training directory
MODEL = "model.safetensors"
CHECKPOINT = "checkpoint"


class TrainOutputs(Enum):
    """What the protocol makes."""

    Model = DualModel


class ProtDualTrain(ProtDualBase):
    """Train a model that denoises the tomograms of this project, and simulates ones like them.

    It learns from *your tomograms* and from *clean volumes* that show the same kind of sample
    without noise: grand models (density maps of a crowded cell, from *generate grand models*), or
    tomograms of very good quality. They need not show the same particles at the same places; there
    are no labels, pairs or half maps.

    *For a first run three fields are enough*: the tomograms, the clean volumes, and the preset
    "quick". It takes some minutes, on a CPU too. For use take "standard" (up to half an hour), or
    "thorough" on a GPU.

    *Which tomograms*: 3 to 10 typical ones are better than all of them. Bin them so that the
    voxel size is 8 to 15 A. Do not train on tomograms that were filtered or denoised before.

    A run that was stopped goes on where it was with *Continue*. To train a finished model further
    make a new protocol with *Continue from a model*. Curves and preview pictures can be looked at
    while it runs (Analyze Results).

    Method: [[https://doi.org/10.1101/2024.03.02.583135][Zeng et al. 2024]]
    """

    _label = "train model"
    _possibleOutputs = TrainOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        define_training_params(self, form)
        self._addGpu(form, GPUS_HELP)
        self._addParallel(form)

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.trainStep, needsGPU=self.usesGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def trainStep(self) -> None:
        """Train; goes on from the checkpoint if this step was interrupted."""
        if self.isContinuation() and not os.path.isdir(self.runFolder(CHECKPOINT)):
            self._copyPreviousRun()
        options = self.engineOptions()
        # Between two renames of a killed run only the checkpoint before has its name.
        checkpoints = (CHECKPOINT, f"{CHECKPOINT}.previous")
        options["resume"] = any(os.path.isdir(self.runFolder(name)) for name in checkpoints)
        if not options["resume"]:
            self.cleanFolder(self.runFolder())
        self.runEngine("train", options, [self.runFolder(MODEL)], PARAMETERS)

    def _copyPreviousRun(self) -> None:
        """Copy what the training of the given model left; the folder is renamed when complete."""
        temporary = self.runFolder() + ".tmp"
        self.cleanFolder(temporary)
        shutil.copytree(os.path.dirname(self.inputModel.get().getFileName()), temporary)
        self.cleanFolder(self.runFolder())
        os.replace(temporary, self.runFolder())

    def createOutputStep(self) -> None:
        """Make the output from the card of the model."""
        model = DualModel.fromFile(self.runFolder(MODEL))
        self._defineOutputs(**{self._outputName(): model})
        if self.isContinuation():
            self._defineSourceRelation(self.inputModel, model)
        else:
            self._defineSourceRelation(self.inputTomograms, model)
            if self.needsClean():
                self._defineSourceRelation(self.inputClean, model)

    def _engineEnviron(self) -> Environ:
        """The engine's environment; its processes, one for each GPU, share the CPU threads."""
        environ = super()._engineEnviron()
        if self.gpuCount() > 1 and "OMP_NUM_THREADS" in environ:
            threads = int(environ["OMP_NUM_THREADS"]) // self.gpuCount()
            environ["OMP_NUM_THREADS"] = str(max(1, threads))
        return environ

    # --------------------------- the engine's options ---------------------------
    def engineOptions(self) -> Dict[str, Any]:
        """The options of ``dual train``."""
        if self.isContinuation():
            options = self._previousOptions()
            done = self.inputModel.get().getIterations()
            options["iterations"] = done + self.moreIterations.get()
        else:
            options = self._newOptions()
        options["output"] = self.runFolder()
        options["time_limit"] = self.timeLimit.get() or None
        options["precision"] = self.getEnumText("precision")
        options["memory"] = self.memory.get()
        options["checkpoint_every"] = self.checkpointEvery.get()
        return options

    def _newOptions(self) -> Dict[str, Any]:
        options = {
            "task": TASKS[self.task.get()],
            "noisy": [convert.volume_path(item) for item in self.selectedTomograms()],
            "noisy_voxel_size": self.inputTomograms.get().getSamplingRate(),
            "voxel_size": self.voxelSize.get() or None,
            "preset": PRESETS[self.preset.get()],
            "method": self.getEnumText("method"),
            "iterations": self.iterations.get() or None,
            "patch": self.patchSize.get() or None,
            "batch": self.batchSize.get() or None,
            "contrast": self.getEnumText("contrast"),
            "tilt_range": self.tiltRange(),
            "tilt_axis": self.getEnumText("tiltAxis"),
            "seed": self.seed.get(),
        }
        if self.needsClean():
            clean = self.inputClean.get()
            options["clean"] = [convert.volume_path(item) for item in self._items(clean)]
            options["clean_voxel_size"] = clean.getSamplingRate()
            options["clean_contrast"] = self.getEnumText("cleanContrast")
        halves = self.halfMaps()
        if halves:
            options["even"], options["odd"] = (list(paths) for paths in zip(*halves))
        return options

    def halfMaps(self) -> List[List[str]]:
        """The half maps of every chosen tomogram; none unless all have them and they are wanted."""
        if not self.wantsHalves():
            return []
        found = [convert.half_paths(item) for item in self.selectedTomograms()]
        return found if found and all(found) else []

    def _previousOptions(self) -> Dict[str, Any]:
        """The options with which the given model was trained, for the same data."""
        return engine.read_options(self._previousParameters())

    def _previousParameters(self) -> str:
        run = os.path.dirname(self.inputModel.get().getFileName())
        return os.path.join(os.path.dirname(run), "parameters", f"{PARAMETERS}.json")

    # --------------------------- values ---------------------------
    def isContinuation(self) -> bool:
        """Whether a model is trained further, not a new one."""
        return bool(self.trainingMode.get() == MODE_CONTINUE)

    def needsClean(self) -> bool:
        """Whether the task takes clean volumes."""
        return TASKS[self.task.get()] != "missing-wedge"

    def wantsHalves(self) -> bool:
        """Whether the noise is to be measured on half maps, where tomograms have them."""
        return bool(self.useHalves.get()) and TASKS[self.task.get()] == TASKS[0]

    def runFolder(self, *names: str) -> str:
        """The engine's training directory (history, previews, checkpoint, model), for viewers."""
        return str(self._getExtraPath(RUN_FOLDER, *names))

    @staticmethod
    def _items(volumes: Any) -> List[Any]:
        items = [item.clone() for item in volumes.iterItems()]
        volumes.close()
        return items

    def selectedTomograms(self) -> List[Any]:
        """The tomograms that are trained on: all, or those of the tsIds in the form."""
        items = self._items(self.inputTomograms.get())
        wanted = set(convert.parse_names(self.tsIds.get()))
        return [item for item in items if not wanted or convert.ts_id(item) in wanted]

    def tiltRange(self) -> Optional[Tuple[float, float]]:
        """In degrees: as given, or that which all chosen tomograms share, or unknown."""
        if self.tiltMin.get() or self.tiltMax.get():
            return float(self.tiltMin.get()), float(self.tiltMax.get())
        return convert.common_tilt_range(self.selectedTomograms())

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = super()._validate()
        if self.isContinuation():
            return errors + self._validateContinuation()
        tomograms = self.inputTomograms.get()
        if tomograms is None:
            return errors
        if tomograms.isStreamOpen():
            errors.append("The input set is still open; wait until it is complete.")
        known = {convert.ts_id(item) for item in self._items(tomograms)}
        unknown = sorted(set(convert.parse_names(self.tsIds.get())) - known)
        if unknown:
            errors.append(f"There is no tomogram {', '.join(unknown)} in the input set.")
        low, high = self.tiltMin.get(), self.tiltMax.get()
        if (low or high) and not -90 <= low < high <= 90:
            errors.append("The tilt range must be two angles from -90 to 90, the lower one first.")
        elif not self.needsClean() and not unknown and self.tiltRange() is None:
            errors.append(
                "The tilt range is needed for the missing wedge, and the acquisition of the "
                "tomograms does not tell it: give it in the form."
            )
        return errors

    def _validateContinuation(self) -> List[str]:
        model = self.inputModel.get()
        if model is None:
            return []
        folder = os.path.join(os.path.dirname(model.getFileName()), CHECKPOINT)
        if os.path.isdir(folder) and os.path.exists(self._previousParameters()):
            return []
        return [
            "This model cannot be trained further: only one from *train model* in this project "
            "can, as long as its folder is there. An imported model has no checkpoint."
        ]

    def _warnings(self) -> List[str]:
        warnings = super()._warnings()
        tomograms, clean = self.inputTomograms.get(), self.inputClean.get()
        if self.isContinuation() or tomograms is None:
            return warnings
        warnings += geometry_warnings(tomograms)
        if self.wantsHalves():
            warnings += training_halves(self.selectedTomograms())
        if not self.needsClean() or clean is None:
            return warnings
        if isinstance(clean, SetOfTomoMasks):
            warnings.append(
                "The clean volumes are masks. A mask of labels is no density, and a model learns "
                "nothing useful from it: give the volumes that the masks belong to."
            )
        one, other = tomograms.getSamplingRate(), clean.getSamplingRate()
        if one and other and not 0.8 <= one / other <= 1.25:
            warnings.append(
                f"The voxel size of the tomograms is {one:.2f} A and that of the clean volumes "
                f"{other:.2f} A. The engine rescales, but a domain that is sharper or more blurred "
                "than the other misleads the training: bring them to one voxel size."
            )
        return warnings

    def _summary(self) -> List[str]:
        model = getattr(self, self._outputName(), None)
        summary = ["No model yet. Analyze Results shows how the training goes."]
        if model is not None:
            summary = model_summary(model)
        summary += self._halvesSummary()
        if self.gpuCount() > 1:
            summary.append(
                f"On {self.gpuCount()} GPUs: an iteration has {self.gpuCount()} times the patches."
            )
        return summary

    def _halvesSummary(self) -> List[str]:
        """Where the noise is measured, and why not on halves."""
        if self.isContinuation() or not self.wantsHalves() or self.inputTomograms.get() is None:
            return []
        if self.halfMaps():
            return ["The noise is measured on the half maps of the tomograms."]
        return training_halves(self.selectedTomograms())

    def _methods(self) -> List[str]:
        model = getattr(self, self._outputName(), None)
        if model is None:
            return []
        try:
            card = model.getCard()
        except DualError:
            return []
        clean = f" and {len(card.clean_domain)} clean volumes, unpaired," * bool(card.clean_domain)
        return [
            f"A DUAL model [Zeng2024DUAL] was trained for {card.iterations} iterations on "
            f"{len(card.noisy_domain)} tomograms{clean} at {card.voxel_size_A:.2f} A per voxel "
            f"(DUAL {card.software_version}, seed {card.seed})."
        ]


__all__ = ["MODE_CONTINUE", "MODE_NEW", "ProtDualTrain", "TrainOutputs"]
