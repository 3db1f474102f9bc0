"""Bring the file of a trained model into the project."""

from __future__ import annotations

import os
import shutil
from enum import Enum
from typing import Any, List

import pyworkflow.protocol.params as params

from dual_core.errors import DualError
from dual_core.networks.card import GENERAL, model_file, read_card
from dual_scipion.objects import DualModel
from dual_scipion.protocols.parts.protocol_base import ProtDualBase

FROM_FILE, BUILT_IN = range(2)


class ImportModelOutputs(Enum):
    """What the protocol makes."""

    Model = DualModel


class ProtDualImportModel(ProtDualBase):
    """Import a model of DUAL: the built-in general one, or one that was trained elsewhere.

    The *general model* comes with DUAL and needs no training: import it, and *denoise tomograms*
    gives a first look. A model trained on your own tomograms shows more.

    The file (model.safetensors of a training run) is copied into the project, so that the project
    can be moved. What the model is for is in the file itself: voxel size, contrast, what it was
    trained on. Look at the summary before you use it.
    """

    _label = "import model"
    _possibleOutputs = ImportModelOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        form.addParam(
            "modelSource",
            params.EnumParam,
            choices=["a file", "built-in general model"],
            default=FROM_FILE,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Model from",
            help="*a file*: a training on the command line or in another project. *built-in "
            "general model*: it was trained on simulated cells and comes with DUAL. It gives a "
            "first look without training; *Adapt* in *denoise tomograms* fits it to yours.",
        )
        form.addParam(
            "modelFile",
            params.FileParam,
            important=True,
            condition=f"modelSource == {FROM_FILE}",
            label="Model file",
            help="The file *model.safetensors* of a training run. It holds plain numbers and no "
            "code, so that opening one from somebody else is safe.",
        )

    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.importStep, self.source(), needsGPU=False)

    def source(self) -> str:
        """The path of the file, or the engine's name for the model that comes with it."""
        if self.modelSource.get() == BUILT_IN:
            return GENERAL
        # A file of that very name is a file here.
        return os.path.abspath(self.modelFile.get()) if self.modelFile.get() else ""

    def importStep(self, source: str) -> None:
        """Copy the file and make the output."""
        target = self._getExtraPath("model.safetensors")
        temporary = f"{target}.{os.getpid()}.tmp"
        shutil.copyfile(model_file(source), temporary)
        os.replace(temporary, target)
        self._defineOutputs(**{self._outputName(): DualModel.fromFile(target)})

    def _validate(self) -> List[str]:
        """The file only: the engine is not needed."""
        if not self.source():
            return ["Give the file of a model, model.safetensors of a training."]
        try:
            read_card(self.source())
        except DualError as error:
            return [str(error)]
        return []

    def _summary(self) -> List[str]:
        model = getattr(self, self._outputName(), None)
        return ["No model yet."] if model is None else model_summary(model)

    def _methods(self) -> List[str]:
        return []


def model_summary(model: DualModel) -> List[str]:
    """What a user should know of a model, line by line."""
    try:
        card = model.getCard()
    except DualError as error:
        return [str(error)]
    summary = [
        f"*Voxel size*: {card.voxel_size_A:.2f} A",
        f"*Density*: {card.contrast}, in the tomograms {card.noisy_contrast}",
        f"*Iterations*: {card.iterations} (method {card.method}, task {card.task})",
    ]
    for title, volumes in (("Tomograms", card.noisy_domain), ("Clean domain", card.clean_domain)):
        if not volumes:
            continue
        names = ", ".join(str(volume.get("name", "?")) for volume in volumes[:5])
        more = f" and {len(volumes) - 5} more" if len(volumes) > 5 else ""
        summary.append(f"*{title}*: {names}{more}")
    if card.tilt_range_deg is not None:
        low, high = card.tilt_range_deg
        summary.append(f"*Tilt range*: {low:g} to {high:g} degrees")
    summary.append(f"*Made* by DUAL {card.software_version}, {card.date}")
    return summary
