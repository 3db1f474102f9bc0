"""The window of results: volumes side by side, slice by slice, and their power spectra."""

from __future__ import annotations

import textwrap
import tkinter as tk
from itertools import cycle
from tkinter import ttk
from typing import Any, Callable, Dict, List, Optional, Tuple

import matplotlib
import numpy as np
from matplotlib.patches import Patch

from dual_core.errors import DualError
from dual_scipion.slices import display_range
from dual_scipion.viewers.planes import AXES, PLANES, arrangement
from dual_scipion.viewers.scene import Picture, Scene
from dual_scipion.viewers.shown import Progress, Shown
from dual_scipion.viewers.windows.base import FigurePanel, PluginWindow, bare, draw_scale_bar, plain
from dual_scipion.viewers.windows.controls import NameList, SliceControls

SIZE = (1180, 700)
# Told apart by readers who see few colours (Okabe and Ito), dark enough on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_LEGEND_COLUMNS = 7
_LETTER_PIXELS, _LEGEND_PIXELS = 7, 60  # about, of one entry
_MOST_TICKS = 3


class VolumesWindow(PluginWindow):
    """Shows what a protocol made of tomograms, also while it runs.

    Parameters
    ----------
    master : Tk widget
    title : str
    source : gives what there is by now, see `dual_scipion.viewers.shown.shown_by`.
    done : what has been done, such as "tomograms denoised".
    """

    def __init__(
        self, master: tk.Misc, title: str, source: Callable[[], Progress], done: str
    ) -> None:
        super().__init__(master, title, SIZE)
        self._source, self._done = source, done
        self._shown: Dict[str, Shown] = {}
        self.scene: Optional[Scene] = None
        self._spectra_of: Optional[str] = None
        self._art: List[Any] = []
        self._layout: Tuple[Any, ...] = ()
        self._make_widgets()
        self.slices.tell("Reading ...")
        self.repeat(self.look)

    def _make_widgets(self) -> None:
        self.names = NameList(self.body, "Tomograms", self.show)
        self.names.pack(side=tk.LEFT, fill=tk.Y, padx=(0, 8))
        self.tabs = ttk.Notebook(self.body)
        self.tabs.pack(side=tk.LEFT, fill=tk.BOTH, expand=True)
        page = ttk.Frame(self.tabs, padding=6)
        self.tabs.add(page, text="Slices")
        row = ttk.Frame(page)
        row.pack(side=tk.BOTTOM, fill=tk.X, pady=(6, 0))
        self.inverted = tk.BooleanVar(self, False)
        ttk.Checkbutton(
            row, text="Invert grey", variable=self.inverted, command=self.redraw
        ).pack(side=tk.RIGHT, padx=(12, 0))
        self.controls = SliceControls(row, self.redraw)
        self.controls.pack(side=tk.LEFT, fill=tk.X, expand=True)
        self.slices = FigurePanel(page)
        self.slices.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self.slices.canvas.mpl_connect("scroll_event", self._scrolled)
        self.slices.canvas.mpl_connect("resize_event", self._resized)
        self.spectra = FigurePanel(self.tabs)
        self.tabs.add(self.spectra, text="Power spectra")
        self.tabs.bind("<<NotebookTabChanged>>", lambda event: self.guard(self._show_spectra))
        self.bind("<Prior>", lambda event: self.controls.stepper.step(1))
        self.bind("<Next>", lambda event: self.controls.stepper.step(-1))

    # --------------------------- what there is ---------------------------
    def look(self) -> None:
        """Ask what there is by now."""
        try:
            found = self._source()
        except DualError as error:
            if not self._shown:
                self.slices.tell(_sentence(str(error)))
            raise
        self._shown = {shown.name: shown for shown in found.items}
        self.say(f"{len(found.items)} of {found.total} {self._done}.{self._facts()}")
        if not self._shown:
            self.slices.tell(f"No {self._done} yet.\n\nThis window shows them as they come.")
        self.names.set_names(list(self._shown))

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
        self.scene = Scene(shown)
        self._spectra_of = None
        self._layout = ()
        if self.scene.shape is not None:
            self.controls.set_volume(self.scene.shape, shown.voxel_size_A)
        self.say(self.said().partition("   ")[0] + self._facts())
        self.redraw()
        self._show_spectra()

    # --------------------------- slices ---------------------------
    def redraw(self) -> None:
        """Draw the slice that is chosen."""
        if self.scene is not None:
            self.guard(self._draw)

    def _draw(self) -> None:
        scene = self.scene
        assert scene is not None
        plane = self.controls.plane
        pictures = scene.pictures(plane, self.controls.index)
        shape = scene.shape or (1, 1, 1)
        _, vertical, horizontal = PLANES[plane]
        aspect = shape[horizontal] / shape[vertical]
        width, height = self.slices.size()
        layout = (scene, plane, width, height)
        new = layout != self._layout
        if new:
            self._layout = layout
            grid = arrangement(len(pictures), aspect, width / height)
            self._make_axes(pictures, grid, aspect)
        for picture, (image, classes) in zip(pictures, self._art):
            if picture.image is None or image is None:
                continue
            image.set_data(picture.image)
            image.set_clim(*picture.limits)
            image.set_cmap("gray_r" if self.inverted.get() else "gray")
            if picture.classes is not None:
                classes.set_data(_coloured(picture.classes))
        if new:
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
            draw_scale_bar(panel, picture.image.shape[1], self.scene.shown.voxel_size_A)
            panel.set(xlim=(-0.5, picture.image.shape[1] - 0.5))
            panel.set(ylim=(-0.5, picture.image.shape[0] - 0.5))
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

    # --------------------------- spectra ---------------------------
    def _show_spectra(self) -> None:
        """Compute the spectra once they are looked at: it takes a moment."""
        visible = self.tabs.index(self.tabs.select()) == 1
        scene = self.scene
        if not visible or scene is None or self._spectra_of == scene.shown.name:
            return
        self.spectra.tell("Computing the spectra ...")
        self.spectra.canvas.draw()
        self.update_idletasks()
        self._spectra_of = scene.shown.name
        try:
            found = scene.spectra()
        except DualError as error:
            self.spectra.tell(_sentence(str(error)))
            return
        draw_spectra(self.spectra.figure, found, scene.shown)
        self.spectra.draw()


def draw_spectra(figure: Any, found: List[Tuple[str, Any]], shown: Shown) -> None:
    """Draw the xz planes of spectra and their radial curves into a figure."""
    figure.clear()
    count = len(found)
    axes = figure.subplots(1, count + 1, squeeze=False)[0]
    nyquist = 1 / (2 * shown.voxel_size_A)
    extent = (-nyquist, nyquist, -nyquist, nyquist)
    ticks = np.linspace(-nyquist, nyquist, _MOST_TICKS)
    low, high = display_range(np.concatenate([one.plane.ravel() for _, one in found]))
    for panel, (title, one) in zip(axes, found):
        image = panel.imshow(
            one.plane, cmap="magma", vmin=low, vmax=high, origin="lower", extent=extent
        )
        panel.set_title(f"{title}, xz plane", fontsize=10)
        panel.set(xticks=ticks, yticks=ticks)
        panel.tick_params(labelsize=8)
        panel.set_xlabel("x frequency (1/Å)", fontsize=9)
    axes[0].set_ylabel("z frequency (1/Å)", fontsize=9)
    bar = figure.colorbar(image, cax=axes[count - 1].inset_axes([1.05, 0.0, 0.05, 1.0]))
    bar.ax.set_title("log₁₀", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    for colour, (title, one) in zip(cycle(COLOURS), found):
        axes[-1].plot(one.frequency, one.radial, color=colour, linewidth=1.8, label=title)
    axes[-1].set_title("Mean over directions", fontsize=10)
    axes[-1].set_xlabel("spatial frequency (1/Å)", fontsize=9)
    unit = "raw variance = 1" if shown.same_units else "each of variance 1"
    axes[-1].set_ylabel(f"log₁₀ power ({unit})", fontsize=9)
    axes[-1].set_xlim(0, nyquist)
    axes[-1].set_box_aspect(1)  # as high as the planes beside it
    plain(axes[-1])
    axes[-1].legend(fontsize=9, frameon=False)


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
