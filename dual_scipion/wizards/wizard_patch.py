"""Choose the side of the training patches, seen in voxels and in angstrom."""

from __future__ import annotations

from typing import Any

from dual_scipion.protocols import ProtDualTrain
from dual_scipion.wizards.patch_sizes import method_of, patch_choices, training_grid
from dual_scipion.wizards.wizard_base import DualWizard


class DualPatchWizard(DualWizard):
    """The sides that the networks take, what they are in angstrom, and which ones fit."""

    _targets = [(ProtDualTrain, ["patchSize"])]

    def ask(self, form: Any) -> None:
        """Show the window; OK writes the side in voxels."""
        grid = training_grid(form.protocol)
        choices = patch_choices(grid, method_of(form.protocol))
        from dual_scipion.wizards.windows.patch import PatchWindow

        window = PatchWindow(form.root, grid, choices, int(form.protocol.patchSize.get() or 0))
        if window.resultYes():
            form.setVar("patchSize", window.voxels)
