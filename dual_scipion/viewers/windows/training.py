"""The window of a training: curves, warnings and preview pictures, renewed while it runs."""

from __future__ import annotations

import tkinter as tk
from itertools import cycle
from tkinter import ttk
from typing import Any, Callable, List, Optional, Sequence, Tuple

from PIL import Image, ImageTk

from dual_scipion.viewers.history import (
    PANELS,
    PREVIEW_KINDS,
    Training,
    curve,
    fingerprint,
    progress_text,
    read_training,
    smooth,
)
from dual_scipion.viewers.windows.base import (
    NEWS_EVERY_S,
    WARNING_COLOUR,
    FigurePanel,
    PluginWindow,
    plain,
    wrap_at_width,
)
from dual_scipion.viewers.windows.controls import Stepper
from dual_scipion.viewers.windows.outside import report_button

SIZE = (1180, 720)
SMALLEST = (1040, 600)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_COLUMNS = 3
_MOST_WARNINGS = 4
_TITLES = {"slices": "Preview slices", "spectra": "Preview spectra"}


class TrainingWindow(PluginWindow):
    """Shows how a training goes.

    Parameters
    ----------
    master : Tk widget
    title : str
    folder : the training directory of the engine; it need not exist yet.
    state : gives the state of the protocol, such as "running", for a run without data.
    """

    def __init__(
        self, master: tk.Misc, title: str, folder: str, state: Callable[[], str]
    ) -> None:
        super().__init__(master, title, SIZE, SMALLEST)
        self._folder, self._state = folder, state
        self._seen: Any = None
        self.training: Optional[Training] = None
        self._warnings = tk.StringVar(self)
        self._warning_label = ttk.Label(
            self.body, textvariable=self._warnings, foreground=WARNING_COLOUR
        )
        wrap_at_width(self._warning_label)
        self.report = report_button(self.body, self, folder)
        self.report.pack(side=tk.BOTTOM, anchor=tk.E, pady=(6, 0))
        self.tabs = ttk.Notebook(self.body)
        self.tabs.pack(side=tk.BOTTOM, fill=tk.BOTH, expand=True)
        self.curves = FigurePanel(self.tabs)
        self.tabs.add(self.curves, text="Curves")
        self.previews = {kind: PreviewPane(self.tabs) for kind in PREVIEW_KINDS}
        for kind, pane in self.previews.items():
            self.tabs.add(pane, text=_TITLES[kind])
        self.repeat(self.look)

    def look(self) -> None:
        """Read what the engine wrote, if it is news."""
        now = fingerprint(self._folder)
        if now == self._seen and self.training is not None and self.training.history:
            return
        self._seen = now
        self.training = read_training(self._folder)
        self.say(self._told(self.training))
        self._show_warnings(self.training.warnings)
        if self.training.history:
            draw_curves(self.curves.figure, self.training)
            self.curves.draw()
        else:
            self.curves.tell(
                f"No training data yet: the protocol is {self._state()}.\n\n"
                "The engine writes its first figures after some iterations: that takes seconds on "
                "a GPU and minutes on a CPU.\nThis window looks for them every "
                f"{NEWS_EVERY_S:g} seconds."
            )
        for kind, pane in self.previews.items():
            pane.set_pictures(self.training.previews[kind])

    def _told(self, training: Training) -> str:
        if not training.history:
            return f"No training data yet; the protocol is {self._state()}."
        return progress_text(training)

    def _show_warnings(self, warnings: Sequence[Tuple[int, str]]) -> None:
        if not warnings:
            self._warning_label.pack_forget()
            return
        lines = [f"⚠ Iteration {at}: {message}." for at, message in warnings[-_MOST_WARNINGS:]]
        self._warnings.set("\n".join(lines))
        self._warning_label.pack(side=tk.TOP, fill=tk.X, pady=(0, 6), before=self.tabs)


class PreviewPane(ttk.Frame):
    """Preview pictures, with a slider over the iterations."""

    def __init__(self, master: tk.Misc) -> None:
        super().__init__(master, padding=6)
        self._pictures: List[Tuple[int, str]] = []
        self._image: Optional[Image.Image] = None
        self._photo: Optional[ImageTk.PhotoImage] = None
        self.stepper = Stepper(
            self, "Iteration", lambda value: self._load(), self._text, width=22
        )
        self.stepper.pack(side=tk.BOTTOM, fill=tk.X, pady=(6, 0))
        self._canvas = tk.Canvas(self, background="white", highlightthickness=0)
        self._canvas.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self._canvas.bind("<Configure>", lambda event: self._draw())

    def set_pictures(self, pictures: Sequence[Tuple[int, str]]) -> None:
        """Take ``(iteration, path)``; the newest is shown, unless an older one was chosen."""
        if list(pictures) == self._pictures and self._pictures:
            return
        at_end = self.stepper.value >= len(self._pictures) - 1
        self._pictures = list(pictures)
        count = len(self._pictures)
        self.stepper.set_range(count, count - 1 if at_end else self.stepper.value)
        self._load()

    def _text(self, value: int) -> str:
        if value >= len(self._pictures):
            return ""
        return f"{self._pictures[value][0]} ({value + 1} of {len(self._pictures)})"

    def _load(self) -> None:
        self._image = None
        if self._pictures:
            try:
                with Image.open(self._pictures[self.stepper.value][1], formats=("PNG",)) as file:
                    self._image = file.convert("RGB")
            except OSError:  # removed since the folder was looked at, for example by a restart
                self._image = None
        self._draw()

    def _draw(self) -> None:
        canvas = self._canvas
        width, height = canvas.winfo_width(), canvas.winfo_height()
        canvas.delete("all")
        if width < 2 or height < 2:
            return
        if self._image is None:
            text = "This picture is gone." if self._pictures else "No preview picture yet."
            canvas.create_text(width // 2, height // 2, text=text)
            return
        scale = min(width / self._image.width, height / self._image.height)
        size = [max(1, int(side * scale)) for side in self._image.size]
        shown = self._image.resize((size[0], size[1]), Image.LANCZOS)
        self._photo = ImageTk.PhotoImage(shown, master=canvas)
        canvas.create_image(width // 2, height // 2, image=self._photo)


def draw_curves(figure: Any, training: Training) -> None:
    """Draw the curves of a training into a figure: the values faint, their running mean on top."""
    figure.clear()
    rows = -(-len(PANELS) // _COLUMNS)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for panel, wanted in zip(axes, PANELS):
        drawn = 0
        for colour, (name, label) in zip(cycle(COLOURS), wanted.curves):
            at, values = curve(training.history, name)
            if values.size == 0:
                continue
            drawn += 1
            many = values.size > 1
            panel.plot(at, values, color=colour, linewidth=0.7, alpha=0.35)
            panel.plot(
                at, smooth(values), "" if many else "o", color=colour, linewidth=1.7, label=label
            )
        panel.set_title(wanted.title, fontsize=11, pad=20)
        reading = panel.text(
            0.5, 1.02, wanted.reading, fontsize=8, color="#555555", ha="center", va="bottom",
            transform=panel.transAxes,
        )
        reading.set_in_layout(False)  # a long one would make the panels narrow
        panel.set_xlabel("iteration", fontsize=9)
        panel.set_ylabel(wanted.unit, fontsize=9)
        plain(panel)
        if drawn > 1:
            panel.legend(fontsize=8, framealpha=0.75, edgecolor="none")
        elif not drawn:
            panel.text(0.5, 0.5, "not part of this training", ha="center", fontsize=9,
                       transform=panel.transAxes)
    for panel in axes[len(PANELS) :]:
        panel.set_axis_off()
