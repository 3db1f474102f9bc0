"""Power spectra of the volumes of a window, with the plane in which the missing wedge is seen."""

from __future__ import annotations

import textwrap
import tkinter as tk
from itertools import cycle
from tkinter import ttk
from typing import Any, Iterator, List, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_scipion.background import Latest, Stale
from dual_scipion.slices import display_range
from dual_scipion.viewers.scene import Scene
from dual_scipion.viewers.shown import Shown
from dual_scipion.viewers.spectra import Spectrum
from dual_scipion.viewers.windows.base import FigurePanel, plain

# Told apart by readers who see few colours (Okabe and Ito), dark enough on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
ACROSS = {"y": "x", "x": "y"}  # tilt axis to the axis that is with z in the plane of the wedge
_MOST_TICKS = 3

Found = List[Tuple[str, Spectrum]]


class SpectraPane(ttk.Frame):
    """Shows the spectra of one scene at a time.

    Parameters
    ----------
    master : Tk widget
    reader : computes them, which takes a moment.
    """

    def __init__(self, master: tk.Misc, reader: Latest) -> None:
        super().__init__(master, padding=6)
        self._reader = reader
        self._scene: Optional[Scene] = None
        self._found: Found = []
        self._axis = tk.StringVar(self, "y")
        row = ttk.Frame(self)
        row.pack(side=tk.BOTTOM, fill=tk.X, pady=(6, 0))
        ttk.Label(row, text="Tilt axis").pack(side=tk.LEFT, padx=(0, 6))
        for axis, other in ACROSS.items():
            text = f"{axis} (wedge in the {other}z plane)"
            ttk.Radiobutton(
                row, text=text, value=axis, variable=self._axis, command=self._draw
            ).pack(side=tk.LEFT, padx=(0, 10))
        self.panel = FigurePanel(self)
        self.panel.pack(side=tk.TOP, fill=tk.BOTH, expand=True)

    def show(self, scene: Scene) -> None:
        """Show the spectra of a scene, along the tilt axis that it has."""
        if scene is self._scene:
            return
        self._scene, self._found = scene, []
        self._axis.set(scene.shown.tilt_axis)
        self.panel.tell("Computing the spectra ...")

        def compute(_stale: Stale) -> Iterator[Any]:
            try:
                yield scene, scene.spectra(), ""
            except DualError as error:
                yield scene, [], str(error)

        self._reader.ask(compute, lambda found: self._take(*found))

    def _take(self, scene: Scene, found: Found, problem: str) -> None:
        if scene is not self._scene:
            return
        self._found = found
        if problem:
            self.panel.tell(textwrap.fill(problem, 70))
        self._draw()

    def _draw(self) -> None:
        if self._found and self._scene is not None:
            draw_spectra(self.panel.figure, self._found, self._scene.shown, self._axis.get())
            self.panel.draw()


def draw_spectra(
    figure: Any, found: List[Tuple[str, Spectrum]], shown: Shown, tilt_axis: str
) -> None:
    """Draw the planes of spectra across the tilt axis and their radial curves into a figure."""
    figure.clear()
    across = ACROSS[tilt_axis]
    count = len(found)
    axes = figure.subplots(1, count + 1, squeeze=False)[0]
    nyquist = 1 / (2 * shown.voxel_size_A)
    extent = (-nyquist, nyquist, -nyquist, nyquist)
    ticks = np.linspace(-nyquist, nyquist, _MOST_TICKS)
    low, high = display_range(np.concatenate([one.planes[tilt_axis].ravel() for _, one in found]))
    for panel, (title, one) in zip(axes, found):
        image = panel.imshow(
            one.planes[tilt_axis], cmap="magma", vmin=low, vmax=high, origin="lower", extent=extent
        )
        panel.set_title(f"{title}, {across}z plane", fontsize=10)
        panel.set(xticks=ticks, yticks=ticks)
        panel.tick_params(labelsize=8)
        panel.set_xlabel(f"{across} frequency (1/Å)", fontsize=9)
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
