"""Bring the file of a trained model into the project."""

from __future__ import annotations

import os
import shutil
from enum import Enum
from typing import Any, List

import pyworkflow.protocol.params as params

from dual_core.errors import DualError
from dual_core.networks.card import read_card
from dual_scipion.objects import DualModel
from dual_scipion.protocols.parts.protocol_base import ProtDualBase


class ImportModelOutputs(Enum):
    """What the protocol makes."""

    Model = DualModel


class ProtDualImportModel(ProtDualBase):
    """Import a model of DUAL that was trained on the command line or in another project.

    The file (model.safetensors of a training run) is copied into the project, so that the project
    can be moved. What the model is for is in the file itself: voxel size, contrast, what it was
    trained on. Look at the summary before you use it.
    """

    _label = "import model"
    _possibleOutputs = ImportModelOutputs

    def _defineParams(self, form: Any) -> None:
        self._addInputSection(form)
        form.addParam(
            "modelFile",
            params.FileParam,
            important=True,
            label="Model file",
            help="The file *model.safetensors* of a training run. It holds plain numbers and no "
            "code, so that opening one from somebody else is safe.",
        )

    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.importStep, self.modelFile.get(), needsGPU=False)

    def importStep(self, source: str) -> None:
        """Copy the file and make the output."""
        target = self._getExtraPath("model.safetensors")
        temporary = f"{target}.{os.getpid()}.tmp"
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
        self._defineOutputs(**{self._outputName(): DualModel.fromFile(target)})

    def _validate(self) -> List[str]:
        """The file only: the engine is not needed."""
        if not self.modelFile.get():
            return ["Give the file of a model, model.safetensors of a training."]
        try:
            read_card(self.modelFile.get())
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
