"""What the windows of the viewers share: a Tk window that looks for news, figures inside it."""

from __future__ import annotations

import logging
import textwrap
import tkinter as tk
import warnings
from pathlib import Path
from tkinter import ttk
from typing import Any, Callable, List, Optional, Tuple

from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg
from matplotlib.figure import Figure

import dual_scipion
from dual_core.errors import DualError
from dual_core.safety.shown import plain_labels
from dual_scipion.background import Latest
from dual_scipion.slices import scale_bar

logger = logging.getLogger(__name__)

NEWS_EVERY_S = 3.0
SMALLEST = (940, 540)
WARNING_COLOUR = "#8a5a00"
_MARGIN = 8  # pixels
_WRAP_MARGIN = 40
_MESSAGE_WIDTH = 76  # characters


class PluginWindow(tk.Toplevel):
    """A window beside Scipion's, with a line of text at its lower edge.

    Parameters
    ----------
    master : Tk widget
        The window belongs to its application and closes with it.
    title : str
    size : width and height in pixels; less on a small screen.
    smallest : width and height below which labels would overlap.
    """

    def __init__(
        self,
        master: tk.Misc,
        title: str,
        size: Tuple[int, int],
        smallest: Tuple[int, int] = SMALLEST,
    ) -> None:
        super().__init__(master)
        self.title(title)
        width = min(size[0], self.winfo_screenwidth() - 40)
        height = min(size[1], self.winfo_screenheight() - 80)
        self.geometry(f"{width}x{height}")
        self.minsize(min(width, smallest[0]), min(height, smallest[1]))
        self._set_icon()
        self._timer: Optional[str] = None
        self._readers: List[Latest] = []
        self._status = tk.StringVar(self)
        self.body = ttk.Frame(self, padding=_MARGIN)
        self.body.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self._line = ttk.Label(
            self, textvariable=self._status, padding=(_MARGIN, 0, _MARGIN, _MARGIN)
        )
        wrap_at_width(self._line)
        self.bind("<Escape>", lambda event: self.destroy())

    def _set_icon(self) -> None:
        icon = Path(dual_scipion.__file__).resolve().parent / dual_scipion._logo
        try:
            self._icon = tk.PhotoImage(master=self, file=str(icon))
            self.iconphoto(False, self._icon)
        except tk.TclError as error:
            logger.debug("no icon: %s", error)

    def say(self, text: str) -> None:
        """Write into the line at the lower edge."""
        self._status.set(text)
        # Before the body, which takes all there is: so a small window keeps the line.
        self._line.pack(side=tk.BOTTOM, fill=tk.X, before=self.body)

    def said(self) -> str:
        """What stands in the line at the lower edge."""
        return self._status.get()

    def guard(self, action: Callable[[], None]) -> None:
        """Do something; whatever goes wrong is told in the window and does not end anything."""
        try:
            action()
        except Exception as error:  # of Scipion's databases, for example, while they are written
            self.tell_failure(error)

    def tell_failure(self, error: Exception) -> None:
        """Say in the window what went wrong."""
        if isinstance(error, DualError):
            self.say(str(error))
            return
        told = f"This cannot be shown now ({error})."
        if told != self.said():  # once, not every few seconds
            logger.warning("%s: %s", self.title(), error, exc_info=error)
        self.say(told)

    def new_reader(self) -> Latest:
        """A thread that reads for this window, and ends with it."""
        self._readers.append(Latest(self, self.tell_failure))
        return self._readers[-1]

    def busy(self) -> bool:
        """Whether something is being read that will be shown."""
        return any(reader.busy() for reader in self._readers)

    def repeat(self, action: Callable[[], None]) -> None:
        """Do something now and every few seconds, as long as the window is open."""
        self.guard(action)
        self._timer = self.after(int(1000 * NEWS_EVERY_S), self.repeat, action)

    def destroy(self) -> None:
        """Close the window."""
        if self._timer is not None:
            self.after_cancel(self._timer)
            self._timer = None
        for reader in self._readers:
            reader.close()
        super().destroy()


class _Canvas(FigureCanvasTkAgg):
    """A figure drawn to the last pixel, without a warning while its window is too small for it.

    Names and messages are drawn as they are written: a dollar sign begins no formula.
    """

    def resize(self, event: Any) -> None:
        # A hair more: rounding down would leave the last row as it was in the former size.
        event.width, event.height = event.width + 1e-3, event.height + 1e-3
        super().resize(event)

    def draw(self) -> None:
        plain_labels(self.figure)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            super().draw()


class FigurePanel(ttk.Frame):
    """A figure of matplotlib that fills its frame; pyplot and its global state are not used."""

    def __init__(self, master: tk.Misc) -> None:
        super().__init__(master)
        self.figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
        self.canvas = _Canvas(self.figure, self)
        widget = self.canvas.get_tk_widget()
        widget.configure(highlightthickness=0, width=300, height=200)
        widget.pack(fill=tk.BOTH, expand=True)

    def size(self) -> Tuple[int, int]:
        """Width and height of the room for the figure in pixels."""
        widget = self.canvas.get_tk_widget()
        return max(widget.winfo_width(), 1), max(widget.winfo_height(), 1)

    def draw(self) -> None:
        """Show what was drawn, as soon as the window has time."""
        self.canvas.draw_idle()

    def settle(self) -> None:
        """Find the places of everything now; later pictures are drawn there, which is faster."""
        self.figure.set_layout_engine("constrained")
        self.canvas.draw()
        self.figure.set_layout_engine("none")

    def tell(self, text: str) -> None:
        """Show a text in place of everything else."""
        self.figure.clear()
        # Not matplotlib's own wrapping, which takes a dollar sign for a formula whatever is set.
        lines = "\n".join(textwrap.fill(line, _MESSAGE_WIDTH) for line in text.splitlines())
        self.figure.text(0.5, 0.5, lines, ha="center", va="center", fontsize=11)
        self.draw()


def wrap_at_width(label: ttk.Label) -> None:
    """Let the lines of a label be as long as it is wide."""
    label.bind("<Configure>", lambda event: label.configure(wraplength=event.width - _WRAP_MARGIN))


def draw_scale_bar(axes: Any, width: int, voxel_size_A: float) -> Any:
    """Draw a bar with its length at the lower left of a picture in voxels; return the artists."""
    bar = scale_bar(width, voxel_size_A)
    (line,) = axes.plot(
        [0.04 * width, 0.04 * width + bar.voxels],
        [0.04, 0.04],
        color="white",
        linewidth=4,
        solid_capstyle="butt",
        transform=axes.get_xaxis_transform(),
    )
    text = axes.text(
        0.04 * width + bar.voxels / 2,
        0.065,
        bar.label,
        color="white",
        fontsize=9,
        ha="center",
        va="bottom",
        transform=axes.get_xaxis_transform(),
    )
    dark = {"facecolor": "black", "alpha": 0.55, "pad": 1.5, "edgecolor": "none"}
    text.set_bbox(dark)
    return line, text


def bare(axes: Any) -> None:
    """No ticks around a picture."""
    axes.set(xticks=[], yticks=[])


def plain(axes: Any) -> None:
    """A light grid and no frame above and to the right, for curves."""
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
