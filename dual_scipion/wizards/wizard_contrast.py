"""Choose dark or bright density by pictures and by what the engine measures."""

from __future__ import annotations

from typing import Any

from dual_scipion.constants import CONTRASTS
from dual_scipion.protocols import (
    ProtDualAverage,
    ProtDualCompensateWedge,
    ProtDualDenoise,
    ProtDualEvaluate,
    ProtDualPickDog,
    ProtDualSimulate,
    ProtDualTrain,
    ProtDualTranslate,
)
from dual_scipion.wizards.wizard_base import DualWizard, shown_volumes

# Which set a parameter is about.
INPUT_OF = {
    "contrast": "inputTomograms",
    "cleanContrast": "inputClean",
    "noiseContrast": "inputNoise",
}


class DualContrastWizard(DualWizard):
    """A slice as it is and inverted, side by side, with the engine's verdict."""

    _targets = [
        (ProtDualTrain, ["contrast", "cleanContrast"]),
        (ProtDualDenoise, ["contrast"]),
        (ProtDualCompensateWedge, ["contrast"]),
        (ProtDualTranslate, ["contrast", "noiseContrast"]),
        (ProtDualSimulate, ["contrast", "noiseContrast"]),
        (ProtDualPickDog, ["contrast"]),
        (ProtDualEvaluate, ["contrast"]),
        (ProtDualAverage, ["contrast"]),
    ]

    def ask(self, form: Any) -> None:
        """Show the window; OK writes the choice."""
        param = form.wizParamName
        volumes = shown_volumes(form.protocol, INPUT_OF[param])
        from dual_scipion.wizards.windows.contrast import ContrastWindow

        title = str(form.protocol.getParam(param).label.get())
        window = ContrastWindow(form.root, title, volumes, form.protocol.getEnumText(param))
        if window.resultYes():
            form.setVar(param, CONTRASTS.index(window.contrast))
