"""The viewers that Scipion finds: for which protocol or object which window opens.

Windows are imported when one is opened: discovery happens at every start of Scipion.
"""

from __future__ import annotations

import os
import tkinter as tk
import webbrowser
from pathlib import Path
from typing import Any, Callable, List, Optional

from pyworkflow.viewer import DESKTOP_TKINTER, View, Viewer

from dual_scipion.objects import DualModel
from dual_scipion.protocols import (
    ProtDualAverage,
    ProtDualCompensateWedge,
    ProtDualDenoise,
    ProtDualEvaluate,
    ProtDualGrandModels,
    ProtDualImportModel,
    ProtDualPickDog,
    ProtDualSimulate,
    ProtDualTrain,
    ProtDualTranslate,
)
from dual_scipion.viewers.card_text import model_lines

# What the protocols do, for "3 of 5 ...".
_DONE = {
    ProtDualDenoise: "tomograms denoised",
    ProtDualCompensateWedge: "tomograms compensated",
    ProtDualTranslate: "tomograms translated",
    ProtDualSimulate: "tomograms simulated",
    ProtDualGrandModels: "grand models made",
}


class WindowView(View):
    """A window that stays open beside Scipion's.

    Parameters
    ----------
    build : makes the window, given a Tk widget that it belongs to.
    master : of Scipion's window; without one the view waits until the window is closed.

    Attributes
    ----------
    window : what was built by `show`.
    """

    def __init__(
        self, build: Callable[[tk.Misc], tk.Toplevel], master: Optional[tk.Misc] = None
    ) -> None:
        super().__init__()
        self._build, self._master = build, master
        self.window: Optional[tk.Toplevel] = None

    def show(self) -> None:
        """Open the window."""
        if self._master is not None:
            self.window = self._build(self._master)
            return
        root = tk.Tk()
        root.withdraw()
        self.window = self._build(root)
        root.wait_window(self.window)
        root.destroy()


class PageView(View):
    """An HTML page in the user's browser."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.url = Path(path).resolve().as_uri()

    def show(self) -> None:
        """Open the page in a new tab."""
        webbrowser.open_new_tab(self.url)


class DualViewer(Viewer):
    """Base of the viewers here."""

    _environments = [DESKTOP_TKINTER]

    def _window(self, build: Callable[[tk.Misc], tk.Toplevel]) -> List[View]:
        return [WindowView(build, self.getTkRoot())]

    def _message(self, title: str, text: str) -> List[View]:
        from dual_scipion.viewers.windows.text import SMALL, TextWindow

        return self._window(lambda master: TextWindow(master, title, lambda: [("", text)], SMALL))


class DualTrainingViewer(DualViewer):
    """Curves, warnings and preview pictures of a training, also while it runs."""

    _name = "DUAL training"
    _targets = [ProtDualTrain]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        from dual_scipion.viewers.windows.training import TrainingWindow

        # The window may outlive a change of the current folder.
        folder = os.path.abspath(obj.runFolder())
        title = f"Training: {obj.getRunName()}"
        return self._window(
            lambda master: TrainingWindow(master, title, folder, lambda: str(obj.getStatus()))
        )


class DualResultViewer(DualViewer):
    """Volumes side by side, slice by slice, and their power spectra, also while a protocol runs."""

    _name = "DUAL result"
    _targets = list(_DONE)

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        from dual_scipion.beside import napari_activation
        from dual_scipion.viewers.picked import Picks, picks_on
        from dual_scipion.viewers.shown import shown_by
        from dual_scipion.viewers.windows.volumes import VolumesWindow

        def picks(name: str) -> Optional[Picks]:
            """None for grand models, which are no tomograms to pick on."""
            project = self.getProject()
            if project is None or not hasattr(obj, "inputTomograms"):
                return None
            return picks_on(obj, project.getRuns(), name)

        done = next(text for kind, text in _DONE.items() if isinstance(obj, kind))
        title = f"Result: {obj.getRunName()}"
        return self._window(
            lambda master: VolumesWindow(
                master, title, lambda: shown_by(obj), done, napari_activation(), picks
            )
        )


class DualPicksViewer(DualViewer):
    """Picks as circles in slices of their tomogram, with their scores."""

    _name = "DUAL picks"
    _targets = [ProtDualPickDog]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        from dual_scipion.beside import napari_activation
        from dual_scipion.viewers.picked import picked_names, read_picks_of
        from dual_scipion.viewers.windows.picks import PicksWindow

        title = f"Picks: {obj.getRunName()}"
        return self._window(
            lambda master: PicksWindow(
                master,
                title,
                lambda: picked_names(obj),
                lambda name: read_picks_of(obj, name),
                napari_activation(),
            )
        )


class DualAverageViewer(DualViewer):
    """The average at picks: central slices, radial profile, verdict."""

    _name = "DUAL average"
    _targets = [ProtDualAverage]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        from dual_scipion.viewers.windows.average import AverageWindow

        if not os.path.exists(obj.averagePath()):
            return self._message("Average", f"No average yet: the protocol is {obj.getStatus()}.")
        title = f"Average: {obj.getRunName()}"
        paths = os.path.abspath(obj.averagePath()), os.path.abspath(obj.profilePath())
        return self._window(
            lambda master: AverageWindow(
                master, title, *paths, obj.voxelSize(), obj.particleDiameter(), obj.verdictLines()
            )
        )


class DualReportViewer(DualViewer):
    """The report of an evaluation, in the browser."""

    _name = "DUAL report"
    _targets = [ProtDualEvaluate]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        path = obj.reportPath()
        if os.path.exists(path):
            return [PageView(path)]
        return self._message(
            "Report",
            f"There is no report yet: the protocol is {obj.getStatus()}.\n\nOpen this again when "
            f"it is finished. If it failed, its log says why. The page will be:\n{path}",
        )


class DualModelViewer(DualViewer):
    """The card of a model: what it was trained on and for."""

    _name = "DUAL model"
    _targets = [DualModel, ProtDualImportModel]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        from dual_scipion.viewers.windows.text import TextWindow

        model = obj if isinstance(obj, DualModel) else getattr(obj, obj._outputName(), None)
        if model is None:
            text = f"There is no model yet: the protocol is {obj.getStatus()}."
            return self._message("Model", text)
        return self._window(
            lambda master: TextWindow(master, "Model", lambda: model_lines(model))
        )
