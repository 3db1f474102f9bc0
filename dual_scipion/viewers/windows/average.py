"""The window of an average at picks: central slices, radial profile, verdict."""

from __future__ import annotations

import csv
import tkinter as tk
from tkinter import ttk
from typing import Any, List, Sequence, Tuple

from dual_core.errors import DualError
from dual_scipion.slices import display_range, read_shape, read_slice
from dual_scipion.viewers.planes import AXES, PLANES
from dual_scipion.viewers.windows.base import (
    FigurePanel,
    PluginWindow,
    bare,
    draw_scale_bar,
    plain,
    wrap_at_width,
)

SIZE = (1120, 460)
COLOUR, MARK = "#0072b2", "#d55e00"


class AverageWindow(PluginWindow):
    """Shows an average.

    Parameters
    ----------
    master : Tk widget
    title : str
    average, profile : files of the engine, MRC and CSV.
    voxel_size_A, diameter_A : of the average and the particle, in angstrom.
    lines : the verdict and the figures.
    """

    def __init__(
        self,
        master: tk.Misc,
        title: str,
        average: str,
        profile: str,
        voxel_size_A: float,
        diameter_A: float,
        lines: Sequence[str],
    ) -> None:
        super().__init__(master, title, SIZE)
        text = "\n".join(line.replace("*", "") for line in lines)
        label = ttk.Label(self.body, text=text)
        wrap_at_width(label)
        label.pack(side=tk.BOTTOM, fill=tk.X, pady=(8, 0))
        self.pictures = FigurePanel(self.body)
        self.pictures.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self.guard(
            lambda: draw_average(
                self.pictures.figure, average, read_profile(profile), voxel_size_A, diameter_A
            )
        )
        self.pictures.draw()


def read_profile(path: str) -> Tuple[List[float], List[float]]:
    """Radius in angstrom and density, from the engine's table.

    Raises
    ------
    DualError
        If it is none.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [float(row["radius_A"]) for row in rows], [float(row["density"]) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DualError(f"{path} cannot be read ({error}); run the protocol anew") from error


def draw_average(
    figure: Any,
    path: str,
    profile: Tuple[List[float], List[float]],
    voxel_size_A: float,
    diameter_A: float,
) -> None:
    """Draw the three central slices and the profile into a figure."""
    figure.clear()
    axes = figure.subplots(1, len(PLANES) + 1, squeeze=False)[0]
    shape = read_shape(path)
    for panel, (name, (across, vertical, horizontal)) in zip(axes, PLANES.items()):
        image = read_slice(path, across, shape[across] // 2)
        low, high = display_range(image)
        panel.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
        panel.set_title(f"{name} through the centre", fontsize=10)
        panel.set_ylabel(f"{AXES[vertical]} (up), {AXES[horizontal]} (right)", fontsize=9)
        bare(panel)
        draw_scale_bar(panel, shape[horizontal], voxel_size_A)
    curve = axes[-1]
    curve.plot(*profile, color=COLOUR, linewidth=1.8, label="mean of the shell")
    curve.axvline(diameter_A / 2, color=MARK, linestyle="--", label="radius given")
    curve.set_title("Radial profile", fontsize=10)
    curve.set_xlabel("radius (Å)", fontsize=9)
    curve.set_ylabel("density (deviations of the tomograms)", fontsize=9)
    curve.set_box_aspect(1)
    plain(curve)
    curve.legend(fontsize=8, frameon=False)
