"""The pictures of ``docs/scipion.md``, from the finished project of ``scipion_demo.py``.

    python benchmarks/scipion_screenshots.py PROJECT FOLDER

Needs a screen and Scipion's variables: ``scipion_demo.py --screenshots`` sees to both.
"""

from __future__ import annotations

import sys
import tkinter as tk
from pathlib import Path
from typing import Any, Dict

from PIL import Image

from dual_scipion.protocols import ProtDualPickDog, ProtDualTrain
from dual_scipion.tests.gui import COLOURS, Desk, fewer_colours

# Label of a protocol in the demo to the name of its pictures, and the tabs that are wanted.
VIEWERS = {
    "train model": ("scipion_training", {"Curves", "Preview slices"}),
    "denoise tomograms": ("scipion_denoised", {"Slices", "Power spectra"}),
    "DoG picking": ("scipion_picks", set()),
    "average at picks": ("scipion_average", set()),
    "simulate tomograms": ("scipion_simulated", {"Slices"}),
}
LARGEST_BYTES = 200_000


def runs(desk: Desk) -> Dict[str, Any]:
    """The protocols of the project by their labels."""
    return {run.getObjLabel(): run for run in desk.project.getRuns()}


def point(pointer: Any, source: Any, output: str) -> None:
    """Fill in a pointer of a form."""
    pointer.set(source)
    pointer.setExtended(output)


def photograph_project(desk: Desk) -> None:
    """The tree of protocols, the runs, and the summary of the evaluation."""
    desk.choose_view("Tomography")
    desk.unfold("ProtDualTrain")
    (panes,) = [w for w in desk.view.winfo_children() if isinstance(w, tk.PanedWindow)]
    panes.sash_place(0, 340, 0)
    evaluation = desk.project.getRunsGraph().getNode(
        str(runs(desk)["evaluate denoising"].getObjId())
    )
    desk.view._selectNode(evaluation)
    desk.look(1.0)
    desk.photograph("scipion_project", desk.window.root)


def photograph_viewers(desk: Desk) -> None:
    """The windows of *Analyze Results*."""
    for label, (name, tabs) in VIEWERS.items():
        for window in desk.analyze(runs(desk)[label]):
            desk.look(1.0)
            desk.photograph_tabs(name, window, tabs)
        desk.close_windows()
    model = runs(desk)["train model"].Model
    desk.view._viewObject(model.getObjId())
    desk.look(0.5)
    (window,) = desk.windows()
    desk.photograph("scipion_model", window)
    desk.close_windows()


def photograph_forms(desk: Desk) -> None:
    """The form of a first run, filled in, and the wizards."""
    made = runs(desk)
    train = desk.project.newProtocol(ProtDualTrain, preset=0)
    point(train.inputTomograms, made["import tomograms"], "Tomograms")
    point(train.inputClean, made["generate grand models"], "Tomograms")
    form = desk.open_form(train)
    desk.photograph("scipion_form_train", form.root)
    for name in ("tsIds", "patchSize"):
        desk.use_wizard(form, name, f"scipion_wizard_{name}")
    desk.close_windows()
    pick = desk.project.newProtocol(ProtDualPickDog, diameter=260.0)
    point(pick.inputTomograms, made["denoise tomograms"], "Tomograms")
    point(pick.inputExtract, made["import tomograms"], "Tomograms")
    form = desk.open_form(pick)
    desk.photograph("scipion_form_pick", form.root)
    for name in ("diameter", "contrast"):
        desk.use_wizard(form, name, f"scipion_wizard_{name}")
    desk.close_windows()


def shrink(path: Path) -> None:
    """Fewer colours until a picture is small enough for a repository."""
    colours = COLOURS
    while path.stat().st_size > LARGEST_BYTES and colours > 8:
        colours //= 2
        with Image.open(path) as picture:
            smaller = fewer_colours(picture, colours)
        smaller.save(path, optimize=True)


def main(project: str, folder: str) -> int:
    """Take all pictures; 1 if a window reported an error."""
    desk = Desk(project, Path(folder))
    photograph_project(desk)
    photograph_viewers(desk)
    photograph_forms(desk)
    for path in sorted(desk.pictures.glob("scipion_*.png")):
        shrink(path)
        print(f"{path} {path.stat().st_size // 1000} kB")
    for problem in desk.errors + desk.dialogs:
        print(problem, file=sys.stderr)
    return 1 if desk.errors or desk.dialogs else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
