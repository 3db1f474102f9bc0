"""The window of picks: slices of a tomogram with circles where they cut the picked particles."""

from __future__ import annotations

import textwrap
import tkinter as tk
from tkinter import ttk
from typing import Any, Callable, List, Optional, Tuple

import numpy as np
from matplotlib.collections import EllipseCollection

from dual_core.errors import DualError
from dual_scipion.slices import display_range, read_shape
from dual_scipion.viewers import planes
from dual_scipion.viewers.picked import Background, Picks
from dual_scipion.viewers.planes import PLANES
from dual_scipion.viewers.windows.base import FigurePanel, PluginWindow, bare, draw_scale_bar, plain
from dual_scipion.viewers.windows.controls import NameList, SliceControls, Stepper

SIZE = (1120, 760)
CIRCLE_COLOUR = "#ff7f0e"
LEFT_OUT_COLOUR = "#bbbbbb"
CHOSEN_COLOUR = "#0072b2"
_SCORE_STEPS = 200
_BINS = 40


class PicksWindow(PluginWindow):
    """Shows the picks of a protocol in their tomograms, also while it runs.

    Parameters
    ----------
    master : Tk widget
    title : str
    source : gives the tsIds that are picked by now, and how many there are to pick.
    read : gives the picks of one of them.
    """

    def __init__(
        self,
        master: tk.Misc,
        title: str,
        source: Callable[[], Tuple[List[str], int]],
        read: Callable[[str], Picks],
    ) -> None:
        super().__init__(master, title, SIZE)
        self._source, self._read = source, read
        self.picks: Optional[Picks] = None
        self._limits = (0.0, 1.0)
        self._art: Tuple[Any, ...] = ()
        self._layout: Tuple[Any, ...] = ()
        self._make_widgets()
        self.panel.tell("Reading ...")
        self.repeat(self.look)

    def _make_widgets(self) -> None:
        self.names = NameList(self.body, "Tomograms", self.show)
        self.names.pack(side=tk.LEFT, fill=tk.Y, padx=(0, 8))
        page = ttk.Frame(self.body)
        page.pack(side=tk.LEFT, fill=tk.BOTH, expand=True)
        below = ttk.Frame(page)
        below.pack(side=tk.BOTTOM, fill=tk.X)
        self._ground = tk.StringVar(self)
        self._grounds = ttk.Frame(below)
        self._grounds.pack(side=tk.TOP, fill=tk.X, pady=(6, 0))
        self.controls = SliceControls(below, self.redraw)
        self.controls.pack(side=tk.TOP, fill=tk.X, pady=(6, 0))
        self.lowest = Stepper(
            below, "Lowest score", lambda value: self.redraw(), self._score_text, width=26
        )
        self.lowest.pack(side=tk.TOP, fill=tk.X, pady=(6, 0))
        self.panel = FigurePanel(page)
        self.panel.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self.panel.canvas.mpl_connect("scroll_event", self._scrolled)
        self.panel.canvas.mpl_connect("resize_event", lambda event: self.after_idle(self.redraw))
        self.bind("<Prior>", lambda event: self.controls.stepper.step(1))
        self.bind("<Next>", lambda event: self.controls.stepper.step(-1))

    # --------------------------- what there is ---------------------------
    def look(self) -> None:
        """Ask what there is by now."""
        try:
            names, total = self._source()
        except DualError as error:
            if not self.names.names:
                self.panel.tell(textwrap.fill(str(error), 70))
            raise
        if not names:
            self.panel.tell("Nothing picked yet.\n\nThis window shows the picks as they come.")
        self.names.set_names(names)
        if self.picks is None:
            self.say(f"{len(names)} of {total} tomograms picked.")

    def show(self, name: str) -> None:
        """Show the picks of a tomogram."""
        self.guard(lambda: self._show(self._read(name)))

    def _show(self, picks: Picks) -> None:
        self.picks = picks
        titles = [ground.title for ground in picks.backgrounds]
        if self._ground.get() not in titles:
            self._ground.set(titles[0])
        for child in self._grounds.winfo_children():
            child.destroy()
        if len(titles) > 1:
            ttk.Label(self._grounds, text="Tomogram").pack(side=tk.LEFT, padx=(0, 6))
            for title in titles:
                ttk.Radiobutton(
                    self._grounds,
                    text=title,
                    value=title,
                    variable=self._ground,
                    command=lambda: self.guard(self._take_ground),
                ).pack(side=tk.LEFT, padx=(0, 6))
        self.lowest.set_range(_SCORE_STEPS + 1, 0)
        self._take_ground()

    @property
    def ground(self) -> Background:
        """The volume that picks are shown on."""
        assert self.picks is not None
        found = {ground.title: ground for ground in self.picks.backgrounds}
        return found[self._ground.get()]

    def _take_ground(self) -> None:
        self._art = ()
        try:
            shape = read_shape(self.ground.path)
            self._limits = display_range(planes.sample(self.ground.path))
        except DualError as error:
            self.panel.tell(textwrap.fill(str(error), 70))
            raise
        self._make_axes()
        self.controls.set_volume(shape, self.ground.voxel_size_A)
        self._layout = ()
        self.redraw()

    # --------------------------- pictures ---------------------------
    def threshold(self) -> float:
        """The score that picks must have to be shown; that of the worst one at the left end."""
        assert self.picks is not None
        scores = self.picks.scores
        if scores.size == 0:
            return 0.0
        low, high = float(scores.min()), float(scores.max())
        return low + (high - low) * self.lowest.value / _SCORE_STEPS

    def _score_text(self, value: int) -> str:
        if self.picks is None or self.picks.scores.size == 0:
            return ""
        return f"{self.threshold():.2f}"

    def redraw(self) -> None:
        """Draw the slice and the circles that are chosen."""
        if self.picks is not None and self._art:
            self.guard(self._draw)

    def _make_axes(self) -> None:
        assert self.picks is not None
        figure = self.panel.figure
        figure.clear()
        picture, chart = figure.subplots(1, 2, width_ratios=[3.2, 1], squeeze=False)[0]
        bare(picture)
        image = picture.imshow(np.zeros((2, 2)), cmap="gray", origin="lower")
        chart.set_title("Scores of all picks", fontsize=10)
        chart.set_xlabel("score (standard deviations)", fontsize=9)
        chart.set_ylabel("number of picks", fontsize=9)
        scores = self.picks.scores
        bars: Any = []
        if scores.size:
            _, _, bars = chart.hist(scores, bins=min(_BINS, max(scores.size // 3, 5)))
            chart.yaxis.get_major_locator().set_params(integer=True)
        line = chart.axvline(self.threshold(), color="black", linewidth=1.2)
        plain(chart)
        self._art = (picture, image, bars, line)

    def _draw(self) -> None:
        assert self.picks is not None
        picks, ground, plane = self.picks, self.ground, self.controls.plane
        cut = planes.cut(ground.path, plane, self.controls.index)
        picture, image, bars, line = self._art
        for old in [*picture.collections, *picture.lines, *picture.texts]:
            old.remove()
        height, width = cut.shape
        image.set_data(cut)
        image.set_clim(*self._limits)
        image.set_extent((-0.5, width - 0.5, -0.5, height - 0.5))
        draw_scale_bar(picture, width, ground.voxel_size_A)
        threshold = self.threshold()
        good = picks.scores >= threshold
        positions = picks.positions(ground)[good]
        radius = picks.diameter_A / 2 / ground.voxel_size_A
        which, centres, radii = planes.circles(positions, radius, plane, self.controls.index)
        picture.add_collection(_circles(picture, centres, radii))
        axis = PLANES[plane].axis
        middle = np.abs(positions[which][:, 2 - axis] - self.controls.index) <= 0.5
        picture.plot(*centres[middle].T, "+", color=CIRCLE_COLOUR, markersize=6)
        picture.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
        picture.set_title(f"{picks.name}, {ground.title}: {plane} plane", fontsize=11)
        vertical, horizontal = (planes.AXES[at] for at in PLANES[plane][1:])
        picture.set_ylabel(f"{vertical} (up), {horizontal} (right)", fontsize=9)
        for bar in bars:
            right = bar.get_x() + bar.get_width()
            bar.set_color(CHOSEN_COLOUR if right > threshold else LEFT_OUT_COLOUR)
        line.set_xdata([threshold, threshold])
        layout = (plane, *self.panel.size())
        if layout != self._layout:
            self._layout = layout
            self.panel.settle()
        else:
            self.panel.draw()
        self.say(
            f"{np.count_nonzero(good)} of {good.size} picks have a score of {threshold:.2f} or "
            f"more; this slice cuts {which.size}. Circles: diameter {picks.diameter_A:g} Å, a "
            "cross where the centre is in the slice."
        )

    def _scrolled(self, event: Any) -> None:
        self.controls.stepper.step(1 if event.button == "up" else -1)


def _circles(axes: Any, centres: np.ndarray, radii: np.ndarray) -> EllipseCollection:
    return EllipseCollection(
        2 * radii,
        2 * radii,
        np.zeros_like(radii),
        units="xy",
        offsets=centres,
        offset_transform=axes.transData,
        facecolors="none",
        edgecolors=CIRCLE_COLOUR,
        linewidths=1.4,
    )
