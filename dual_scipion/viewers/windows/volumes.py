"""The window of results: volumes side by side, slice by slice, and their power spectra."""

from __future__ import annotations

import textwrap
import tkinter as tk
from tkinter import ttk
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import matplotlib
import numpy as np
from matplotlib.patches import Patch

from dual_core.errors import DualError
from dual_scipion.background import Stale
from dual_scipion.viewers.layers import Layers, layers_of
from dual_scipion.viewers.picked import Picks
from dual_scipion.viewers.planes import AXES, PLANES, arrangement
from dual_scipion.viewers.scene import Picture, Scene
from dual_scipion.viewers.shown import Progress, Shown
from dual_scipion.viewers.windows.base import FigurePanel, PluginWindow, bare, draw_scale_bar
from dual_scipion.viewers.windows.controls import GreyControls, SliceControls
from dual_scipion.viewers.windows.outside import name_column
from dual_scipion.viewers.windows.spectra import SpectraPane

SIZE = (1180, 700)
_LEGEND_COLUMNS = 7
_LETTER_PIXELS, _LEGEND_PIXELS = 7, 60  # about, of one entry


class VolumesWindow(PluginWindow):
    """Shows what a protocol made of tomograms, also while it runs.

    Parameters
    ----------
    master : Tk widget
    title : str
    source : gives what there is by now, see `dual_scipion.viewers.shown.shown_by`.
    done : what has been done, such as "tomograms denoised".
    napari : shell command that activates Napari's environment; without one there is no button.
    picks : gives the picks on a tomogram, for Napari.
    """

    def __init__(
        self,
        master: tk.Misc,
        title: str,
        source: Callable[[], Progress],
        done: str,
        napari: Optional[str] = None,
        picks: Callable[[str], Optional[Picks]] = lambda name: None,
    ) -> None:
        super().__init__(master, title, SIZE)
        self._source, self._done, self._picks = source, done, picks
        self._shown: Dict[str, Shown] = {}
        self.scene: Optional[Scene] = None
        self.drawn: Optional[Tuple[str, int]] = None
        self._wanted: Optional[Shown] = None
        self._art: List[Any] = []
        self._limits: List[Tuple[float, float]] = []
        self._layout: Tuple[Any, ...] = ()
        self._progress = self._told = ""
        self._reader, self._computer = self.new_reader(), self.new_reader()
        self._make_widgets(napari)
        self.slices.tell("Reading ...")
        self.repeat(self.look)

    def _make_widgets(self, napari: Optional[str]) -> None:
        self.names, self.napari = name_column(self, self.show, napari, self._layers)
        self.tabs = ttk.Notebook(self.body)
        self.tabs.pack(side=tk.LEFT, fill=tk.BOTH, expand=True)
        page = ttk.Frame(self.tabs, padding=6)
        self.tabs.add(page, text="Slices")
        self.grey = GreyControls(page, self._shade)
        self.grey.pack(side=tk.BOTTOM, fill=tk.X, pady=(6, 0))
        self.controls = SliceControls(page, self.redraw)
        self.controls.pack(side=tk.BOTTOM, fill=tk.X, pady=(6, 0))
        self.slices = FigurePanel(page)
        self.slices.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self.slices.canvas.mpl_connect("scroll_event", self._scrolled)
        self.slices.canvas.mpl_connect("resize_event", self._resized)
        self.spectra = SpectraPane(self.tabs, self._computer)
        self.tabs.add(self.spectra, text="Power spectra")
        self.tabs.bind("<<NotebookTabChanged>>", lambda event: self.guard(self._show_spectra))
        self.bind("<Prior>", lambda event: self.controls.stepper.step(1))
        self.bind("<Next>", lambda event: self.controls.stepper.step(-1))

    # --------------------------- what there is ---------------------------
    def look(self) -> None:
        """Ask what there is by now."""
        try:
            found = self._source()
        except Exception as error:
            self._told = ""  # what is told of the error gives way as soon as all is well again
            if isinstance(error, DualError) and not self._shown:
                self.slices.tell(_sentence(str(error)))
            raise
        self._shown = {shown.name: shown for shown in found.items}
        self._progress = f"{len(found.items)} of {found.total} {self._done}."
        self._tell()
        if not self._shown:
            self.slices.tell(f"No {self._done} yet.\n\nThis window shows them as they come.")
        self.names.set_names(list(self._shown))

    def _tell(self) -> None:
        """Say what there is, if it is news: what a button has told shall stay."""
        text = self._progress + self._facts()
        if text != self._told:
            self._told = text
            self.say(text)

    def _facts(self) -> str:
        if self.scene is None or self.scene.shape is None:
            return ""
        sides = " x ".join(str(side) for side in reversed(self.scene.shape))
        size = self.scene.shown.voxel_size_A
        return f"   {self.scene.shown.name}: {sides} voxels (x, y, z) of {size:.2f} Å"

    def show(self, name: str) -> None:
        """Show a tomogram."""
        self.guard(lambda: self._show(self._shown[name]))

    def _show(self, shown: Shown) -> None:
        # Until the new one is open, what is scrolled through is neither of the two.
        self.scene, self._wanted = None, shown

        def open_scene(_stale: Stale) -> Iterator[Scene]:
            yield Scene(shown)

        self._reader.ask(open_scene, lambda scene: self.guard(lambda: self._take(scene)))

    def _take(self, scene: Scene) -> None:
        if scene.shown is not self._wanted:
            return
        self.scene, self.drawn = scene, None
        self._layout = ()
        if scene.shape is not None:
            self.controls.set_volume(scene.shape, scene.shown.voxel_size_A)
        self._tell()
        self.redraw()
        self._show_spectra()

    def _layers(self) -> Callable[[], Layers]:
        scene = self.scene
        if scene is None:
            raise DualError("there is nothing to show yet")
        picks = self._picks(scene.shown.name)
        return lambda: layers_of(scene, picks)

    # --------------------------- slices ---------------------------
    def redraw(self) -> None:
        """Ask for the slice that is chosen; it is drawn when it has been read."""
        scene = self.scene
        if scene is None:
            return
        plane, index, factor = self.controls.plane, self.controls.index, self._factor()
        ahead = index + (1 if self.drawn is None or index >= self.drawn[1] else -1)

        def read(stale: Stale) -> Iterator[Any]:
            for pictures in scene.views(plane, index, factor, stale):
                yield scene, plane, index, pictures
            # The one that is probably wanted next; it is kept by the scene.
            if not stale() and 0 <= ahead < (scene.shape or (1, 1, 1))[PLANES[plane].axis]:
                for _ in scene.views(plane, ahead, factor, stale):
                    pass

        self._reader.ask(read, lambda found: self.guard(lambda: self._draw(*found)))

    def _aspect(self, plane: str) -> float:
        shape = (self.scene.shape if self.scene else None) or (1, 1, 1)
        _, vertical, horizontal = PLANES[plane]
        return shape[horizontal] / shape[vertical]

    def _factor(self) -> int:
        """How many voxels of a side go into one pixel of a panel, at least 1."""
        assert self.scene is not None
        plane = self.controls.plane
        width, height = self.slices.size()
        rows, columns = arrangement(self.scene.count, self._aspect(plane), width / height)
        shape = self.scene.shape or (1, 1, 1)
        _, vertical, horizontal = PLANES[plane]
        across, down = shape[horizontal] * columns / width, shape[vertical] * rows / height
        return max(1, int(max(across, down)))

    def _draw(self, scene: Scene, plane: str, index: int, pictures: List[Picture]) -> None:
        if scene is not self.scene or plane != self.controls.plane:
            return  # of what was looked at before
        width, height = self.slices.size()
        problems = tuple(picture.problem for picture in pictures)
        layout = (scene, plane, width, height, problems)
        new = layout != self._layout
        if new:
            self._layout = layout
            aspect = self._aspect(plane)
            grid = arrangement(len(pictures), aspect, width / height)
            self._make_axes(pictures, grid, aspect)
        for picture, (image, classes) in zip(pictures, self._art):
            if image is None:
                continue
            image.set_data(picture.image)
            image.set_extent(picture.extent)
            image.axes.set(xlim=picture.extent[:2], ylim=picture.extent[2:])
            if picture.classes is not None:
                classes.set_data(_coloured(picture.classes))
                classes.set_extent(picture.extent)
        self._limits = [picture.limits for picture in pictures]
        self.drawn = plane, index
        self._shade(settle=new)

    def _shade(self, settle: bool = False) -> None:
        """Give the pictures their grey levels, and show them."""
        for limits, (image, _) in zip(self._limits, self._art):
            if image is not None:
                image.set_clim(*self.grey.limits(*limits))
                image.set_cmap(self.grey.colours)
        if settle:
            self.slices.settle()
        else:
            self.slices.draw()

    def _make_axes(self, pictures: List[Picture], grid: Tuple[int, int], aspect: float) -> None:
        assert self.scene is not None
        figure = self.slices.figure
        figure.clear()
        axes = figure.subplots(*grid, squeeze=False).ravel()
        self._art = []
        for panel, picture in zip(axes, pictures):
            panel.set_title(picture.title, fontsize=10)
            bare(panel)
            if picture.image is None:
                panel.set_box_aspect(1 / aspect)
                text = textwrap.fill(picture.problem, 30)
                panel.text(0.5, 0.5, text, ha="center", va="center", fontsize=9)
                self._art.append((None, None))
                continue
            image = panel.imshow(picture.image, cmap="gray", origin="lower")
            classes = None
            if picture.classes is not None:
                classes = panel.imshow(_coloured(picture.classes), origin="lower")
            left, right, _, _ = picture.extent
            draw_scale_bar(panel, round(right - left), self.scene.shown.voxel_size_A)
            self._art.append((image, classes))
        for panel in axes[len(pictures) :]:
            panel.set_axis_off()
        vertical, horizontal = (AXES[axis] for axis in PLANES[self.controls.plane][1:])
        axes[0].set_ylabel(f"{vertical} (up), {horizontal} (right)", fontsize=9)
        self._make_legend()

    def _make_legend(self) -> None:
        assert self.scene is not None
        if not self.scene.classes:
            return
        handles = [
            Patch(color=_colour_of(number), label=self.scene.class_name(number))
            for number in self.scene.classes
        ]
        figure = self.slices.figure
        longest = max(len(str(handle.get_label())) for handle in handles)
        room = int(figure.bbox.width / (longest * _LETTER_PIXELS + _LEGEND_PIXELS))
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(max(room, 1), _LEGEND_COLUMNS, len(handles)),
            fontsize=8,
            frameon=False,
        )

    def _scrolled(self, event: Any) -> None:
        self.controls.stepper.step(1 if event.button == "up" else -1)

    def _resized(self, event: Any) -> None:
        if self.scene is not None:
            self.after_idle(self.redraw)

    def _show_spectra(self) -> None:
        """Ask for the spectra once they are looked at: it takes a moment."""
        if self.scene is not None and self.tabs.index(self.tabs.select()) == 1:
            self.spectra.show(self.scene)


def _colour_of(number: int) -> Any:
    # The map has pairs of a strong and a pale colour: the strong ones first.
    place = (2 * (number - 1)) % 20 + ((number - 1) // 10) % 2
    return matplotlib.colormaps["tab20"](place % 20)


def _coloured(classes: np.ndarray) -> np.ndarray:
    """RGBA of a mask of classes; what is no class is transparent."""
    colours = np.array([(0, 0, 0, 0)] + [_colour_of(n) for n in range(1, 21)], dtype=np.float32)
    colours[1:, 3] = 0.65
    found = np.where(classes > 0, (np.maximum(classes, 1) - 1) % 20 + 1, 0)
    return np.asarray(colours[found])


def _sentence(text: str) -> str:
    return textwrap.fill(text[:1].upper() + text[1:] + ("" if text.endswith(".") else "."), 70)
