"""A visit to a project's window, run by `test_gui` in a process and on a screen of its own.

``python -m dual_scipion.tests.gui_visit PROJECT MODEL PICTURES RESULT``: what was seen goes into
the file RESULT as JSON, pictures into the folder PICTURES; MODEL is a file to import.
"""

from __future__ import annotations

import json
import sys
import tkinter.font
from pathlib import Path
from typing import Any, Dict, List

from dual_scipion.protocols import ProtDualImportModel, ProtDualPickDog, ProtDualTrain
from dual_scipion.tests.gui import Desk, descendants, parameters_shown, texts
from dual_scipion.tests.test_forms import own_protocols
from dual_scipion.viewers.windows.outside import OutsideButton

MENU = "Tomography"


def main(project: str, model: str, pictures: str, result: str) -> None:
    """Look at everything and write down what was seen."""
    desk = Desk(project, Path(pictures))
    desk.choose_view(MENU)
    seen: Dict[str, Any] = {"tree": desk.tree(), "forms": visit_forms(desk)}
    font = tkinter.font.nametofont("TkDefaultFont")
    seen["widths"] = {name: font.measure(text) for name, text in seen["tree"].items()}
    seen["executed"] = execute(desk, model)
    seen["viewers"] = visit_viewers(desk)
    seen["pages"] = desk.pages
    seen["wizards"] = visit_wizards(desk)
    desk.unfold("ProtDualTrain")
    desk.photograph("project", desk.window.root)
    seen.update({"errors": desk.errors, "dialogs": desk.dialogs})
    Path(result).write_text(json.dumps(seen), encoding="utf-8")


def visit_forms(desk: Desk) -> Dict[str, Any]:
    """Open each form and note what it shows."""
    forms: Dict[str, Any] = {}
    for name, kind in sorted(own_protocols().items()):
        form = desk.open_form(desk.project.newProtocol(kind))
        desk.photograph(f"form_{name}", form.root)
        forms[name] = {"texts": texts(form.root), "parameters": parameters_shown(form)}
        desk.close_windows()
    return forms


def visit_viewers(desk: Desk) -> Dict[str, List[Dict[str, List[str]]]]:
    """Analyze the results of each run; note tabs and texts of the windows that open."""
    viewers: Dict[str, List[Dict[str, List[str]]]] = {}
    for protocol in desk.project.getRuns():
        name = protocol.getClassName()
        if name in own_protocols():
            viewers[name] = []
            for window in desk.analyze(protocol):
                tabs = desk.photograph_tabs(f"viewer_{name}", window)
                shown = {"tabs": tabs, "texts": texts(window)}
                viewers[name].append({**shown, "buttons": press_buttons(desk, window)})
            desk.close_windows()
    return viewers


def press_buttons(desk: Desk, window: Any) -> List[str]:
    """Press what starts another program, in a window; note what is said then."""
    said = []
    for button in descendants(window):
        if isinstance(button, OutsideButton):
            button.invoke()
            desk.wait_for(window)
            said.append(window.said())
    return said


def visit_wizards(desk: Desk) -> Dict[str, Dict[str, Any]]:
    """Press the wands of two forms that have their input; note what the windows show and write."""
    runs = {run.getClassName(): run for run in desk.project.getRuns()}
    pick = desk.project.newProtocol(ProtDualPickDog, diameter=75.0)
    pick.inputTomograms.set(runs["ProtDualDenoise"])
    pick.inputTomograms.setExtended("Tomograms")
    train = desk.project.newProtocol(ProtDualTrain)
    for name in ("inputTomograms", "inputClean"):
        before = getattr(runs["ProtDualTrain"], name)
        getattr(train, name).set(before.getObjValue())
        getattr(train, name).setExtended(before.getExtended())
    wizards: Dict[str, Dict[str, Any]] = {}
    for protocol, names in ((pick, ["diameter", "contrast"]), (train, ["tsIds", "patchSize"])):
        form = desk.open_form(protocol)
        for name in names:
            shown = desk.use_wizard(form, name, f"wizard_{name}")
            wizards[name] = {"texts": shown, "value": str(form.widgetDict[name].get())}
        desk.close_windows()
    return wizards


def execute(desk: Desk, model: str) -> Dict[str, Any]:
    """Fill in the form of *import model* and press Execute."""
    protocol = desk.project.newProtocol(ProtDualImportModel)
    form = desk.open_form(protocol)
    form.setVar("modelFile", model)
    form.btnExecute.invoke()

    def ended() -> bool:
        desk.project._updateProtocol(protocol)
        return bool(protocol.isFinished() or protocol.isFailed())

    desk.look_until(ended)
    desk.view.refreshRuns()
    desk.look()
    return {
        "status": protocol.getStatus(),
        "summary": protocol.summary(),
        "formIsClosed": not form.root.winfo_exists(),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
