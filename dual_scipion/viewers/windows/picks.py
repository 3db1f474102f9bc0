"""The window of picks: slices of a tomogram with circles where they cut the picked particles."""

from __future__ import annotations

import textwrap
import tkinter as tk
from tkinter import ttk
from typing import Any, Callable, Iterator, List, Optional, Tuple

import numpy as np
from matplotlib.collections import EllipseCollection

from dual_core.errors import DualError
from dual_scipion.background import Stale
from dual_scipion.viewers import planes
from dual_scipion.viewers.layers import Layers, layers_of
from dual_scipion.viewers.picked import Background, Picks
from dual_scipion.viewers.planes import PLANES
from dual_scipion.viewers.scene import Picture, Scene
from dual_scipion.viewers.shown import Shown
from dual_scipion.viewers.windows.base import FigurePanel, PluginWindow, bare, draw_scale_bar, plain
from dual_scipion.viewers.windows.controls import GreyControls, SliceControls, Stepper
from dual_scipion.viewers.windows.outside import name_column

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
    napari : shell command that activates Napari's environment; without one there is no button.
    """

    def __init__(
        self,
        master: tk.Misc,
        title: str,
        source: Callable[[], Tuple[List[str], int]],
        read: Callable[[str], Picks],
        napari: Optional[str] = None,
    ) -> None:
        super().__init__(master, title, SIZE)
        self._source, self._read = source, read
        self.picks: Optional[Picks] = None
        self.scene: Optional[Scene] = None
        self.drawn: Optional[Tuple[str, int]] = None
        self._picture = Picture("", None)
        self._wanted: Optional[Shown] = None
        self._reader = self.new_reader()
        self._art: Tuple[Any, ...] = ()
        self._layout: Tuple[Any, ...] = ()
        self._make_widgets(napari)
        self.panel.tell("Reading ...")
        self.repeat(self.look)

    def _make_widgets(self, napari: Optional[str]) -> None:
        self.names, self.napari = name_column(self, self.show, napari, self._layers)
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
            below, "Lowest score", lambda value: self._mark_again(), self._score_text, width=26
        )
        self.lowest.pack(side=tk.TOP, fill=tk.X, pady=(6, 0))
        self.grey = GreyControls(below, self._mark_again)
        self.grey.pack(side=tk.TOP, fill=tk.X, pady=(6, 0))
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
        ground = self.ground
        shown = Shown(ground.title, ground.voxel_size_A, ((ground.title, ground.path),))
        self.scene, self._wanted, self._art = None, shown, ()

        def open_scene(_stale: Stale) -> Iterator[Scene]:
            yield Scene(shown)

        self._reader.ask(open_scene, lambda scene: self.guard(lambda: self._take(scene)))

    def _take(self, scene: Scene) -> None:
        if scene.shown is not self._wanted:
            return
        if scene.shape is None:
            problem = scene.pictures("xy", 0)[0].problem
            self.panel.tell(textwrap.fill(problem, 70))
            self.say(problem)
            return
        self.scene, self.drawn = scene, None
        self._make_axes()
        self.controls.set_volume(scene.shape, scene.shown.voxel_size_A)
        self._layout = ()
        self.redraw()

    def _layers(self) -> Callable[[], Layers]:
        scene, picks = self.scene, self.picks
        if scene is None or picks is None:
            raise DualError("there is nothing to show yet")
        good = picks.chosen(self.threshold())
        return lambda: layers_of(scene, good)

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
        """Ask for the slice that is chosen; it is drawn, with its circles, when it was read."""
        scene = self.scene
        if scene is None:
            return
        plane, index = self.controls.plane, self.controls.index

        def read(stale: Stale) -> Iterator[Any]:
            for (picture,) in scene.views(plane, index, stale=stale):
                yield scene, plane, index, picture

        self._reader.ask(read, lambda found: self.guard(lambda: self._draw(*found)))

    def _mark_again(self) -> None:
        """Draw the slice that is shown with other circles or grey levels."""
        if self.scene is not None and self.drawn is not None:
            scene, drawn = self.scene, self.drawn
            self.guard(lambda: self._draw(scene, *drawn, self._picture))

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

    def _draw(self, scene: Scene, plane: str, index: int, found: Picture) -> None:
        if scene is not self.scene or plane != self.controls.plane or self.picks is None:
            return  # of what was looked at before
        if found.image is None:
            raise DualError(found.problem)
        picks, ground = self.picks, self.ground
        self.drawn, self._picture = (plane, index), found
        picture, image, bars, line = self._art
        for old in [*picture.collections, *picture.lines, *picture.texts]:
            old.remove()
        shape = scene.shape or (1, 1, 1)
        height, width = (shape[axis] for axis in PLANES[plane][1:])
        image.set_data(found.image)
        image.set_clim(*self.grey.limits(*found.limits))
        image.set_cmap(self.grey.colours)
        image.set_extent(found.extent)
        draw_scale_bar(picture, width, ground.voxel_size_A)
        threshold = self.threshold()
        good = picks.scores >= threshold
        positions = picks.positions(ground)[good]
        radius = picks.diameter_A / 2 / ground.voxel_size_A
        which, centres, radii = planes.circles(positions, radius, plane, index)
        picture.add_collection(_circles(picture, centres, radii))
        axis = PLANES[plane].axis
        middle = np.abs(positions[which][:, 2 - axis] - index) <= 0.5
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
