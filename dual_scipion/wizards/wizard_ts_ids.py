"""Choose some tomograms of a set from a list."""

from __future__ import annotations

from typing import Any

from dual_scipion.protocols import ProtDualEvaluate, ProtDualTrain
from dual_scipion.wizards.ts_id_choice import tomogram_rows
from dual_scipion.wizards.wizard_base import DualWizard, input_items


class DualTsIdsWizard(DualWizard):
    """A list of the tomograms with their sizes, to tick."""

    _targets = [(ProtDualTrain, ["tsIds"]), (ProtDualEvaluate, ["tsIds"])]

    def ask(self, form: Any) -> None:
        """Show the window; OK writes the tsIds that are ticked."""
        rows = tomogram_rows(input_items(form.protocol, "inputTomograms"))
        from dual_scipion.wizards.windows.ts_ids import TsIdsWindow

        # In the evaluation an empty field leaves the choice to the number of tomograms.
        empty_is_all = isinstance(form.protocol, ProtDualTrain)
        text = form.protocol.tsIds.get() or ""
        window = TsIdsWindow(form.root, rows, text, empty_is_all)
        if window.resultYes():
            form.setVar("tsIds", window.text)
