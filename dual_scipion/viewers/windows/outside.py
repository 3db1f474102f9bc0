"""A button that starts another program, and says what came of it."""

from __future__ import annotations

import tkinter as tk
import webbrowser
from pathlib import Path
from tkinter import ttk
from typing import Any, Callable, Iterator, Optional, Tuple

from dual_scipion import beside
from dual_scipion.background import Stale
from dual_scipion.viewers.layers import Layers
from dual_scipion.viewers.windows.base import PluginWindow
from dual_scipion.viewers.windows.controls import NameList


class OutsideButton(ttk.Button):
    """Does what takes its time in a thread; the window tells when it began and how it ended.

    Parameters
    ----------
    master : Tk widget
    window : that it belongs to.
    text : on it.
    work : gives what shall be done, when it is pressed; that is called in the thread.
    done : called with its result, in the window's thread; returns what is said then.
    """

    def __init__(
        self,
        master: tk.Misc,
        window: PluginWindow,
        text: str,
        work: Callable[[], Callable[[Stale], Any]],
        done: Callable[[Any], str],
    ) -> None:
        super().__init__(master, text=text, command=lambda: window.guard(self._start))
        self._window, self._work, self._done = window, work, done
        self._reader = window.new_reader()

    def _start(self) -> None:
        work = self._work()
        self._window.say(f"{self.cget('text')} ...")

        def job(stale: Stale) -> Iterator[Any]:
            yield work(stale)

        self._reader.ask(job, self._end)

    def _end(self, result: Any) -> None:
        self._window.guard(lambda: self._window.say(self._done(result)))


def napari_button(
    master: tk.Misc,
    window: PluginWindow,
    activation: str,
    chosen: Callable[[], Callable[[], Layers]],
) -> OutsideButton:
    """A button that shows in Napari what the window shows.

    Parameters
    ----------
    activation : of Napari's environment.
    chosen : gives, when the button is pressed, what finds the layers; that is called in a thread.
    """

    def work() -> Callable[[Stale], Any]:
        layers = chosen()
        return lambda stale: beside.show_in_napari(layers(), activation, stale)

    return OutsideButton(master, window, "Open in Napari", work, lambda _: "Napari is open.")


def name_column(
    window: PluginWindow,
    show: Callable[[str], None],
    napari: Optional[str],
    chosen: Callable[[], Callable[[], Layers]],
) -> Tuple[NameList, Optional[OutsideButton]]:
    """The names of tomograms at the left of a window, with the button for Napari below them.

    Parameters
    ----------
    show : called with the name that is chosen.
    napari : see `napari_button`; None: there is no button.
    chosen : see `napari_button`.
    """
    column = ttk.Frame(window.body)
    column.pack(side=tk.LEFT, fill=tk.Y, padx=(0, 8))
    names = NameList(column, "Tomograms", show)
    button = None
    if napari:
        button = napari_button(column, window, napari, chosen)
        button.pack(side=tk.BOTTOM, fill=tk.X, pady=(6, 0))
    names.pack(side=tk.TOP, fill=tk.Y, expand=True)
    return names, button


def report_button(master: tk.Misc, window: PluginWindow, run: str) -> OutsideButton:
    """A button that writes the page on a training, and opens it in the browser."""

    def done(page: str) -> str:
        webbrowser.open_new_tab(Path(page).resolve().as_uri())
        return f"The report is open in the browser: {page}"

    return OutsideButton(
        master, window, "Report in the browser", lambda: lambda _: beside.write_report(run), done
    )
