"""Choose the diameter of the particles by a circle over a slice."""

from __future__ import annotations

from typing import Any

from dual_scipion.protocols import ProtDualAverage, ProtDualEvaluate, ProtDualPickDog
from dual_scipion.wizards.wizard_base import DualWizard, shown_volumes


class DualDiameterWizard(DualWizard):
    """A circle of the diameter follows the mouse over a slice of the input."""

    _targets = [
        (kind, ["diameter"]) for kind in (ProtDualPickDog, ProtDualEvaluate, ProtDualAverage)
    ]

    def ask(self, form: Any) -> None:
        """Show the window; OK writes the diameter in angstrom."""
        # Particles are seen best, and picked, in denoised tomograms.
        evaluation = isinstance(form.protocol, ProtDualEvaluate)
        volumes = shown_volumes(form.protocol, "inputDenoised" if evaluation else "inputTomograms")
        from dual_scipion.wizards.windows.diameter import DiameterWindow

        window = DiameterWindow(form.root, volumes, float(form.protocol.diameter.get() or 0))
        if window.resultYes():
            form.setVar("diameter", window.diameter_A)
