"""A window of text lines: the card of a model, a message."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Callable, List, Tuple

from dual_scipion.viewers.windows.base import PluginWindow

SIZE = (700, 520)
SMALL = (600, 240)
_TAB_PIXELS = 190

Lines = List[Tuple[str, str]]


class TextWindow(PluginWindow):
    """Shows lines of text that can be copied.

    Parameters
    ----------
    master : Tk widget
    title : str
    source : gives pairs of a name, shown bold, and a text; either may be empty.
    size : width and height in pixels.
    """

    def __init__(
        self,
        master: tk.Misc,
        title: str,
        source: Callable[[], Lines],
        size: Tuple[int, int] = SIZE,
    ) -> None:
        super().__init__(master, title, size)
        ttk.Button(self.body, text="Close", command=self.destroy).pack(
            side=tk.BOTTOM, anchor=tk.E, pady=(8, 0)
        )
        bar = ttk.Scrollbar(self.body, orient=tk.VERTICAL)
        self._text = tk.Text(
            self.body,
            wrap=tk.WORD,
            background="white",
            relief=tk.FLAT,
            padx=12,
            pady=10,
            spacing1=3,
            font="TkDefaultFont",
            tabs=(_TAB_PIXELS,),
            yscrollcommand=bar.set,
        )
        bar.configure(command=self._text.yview)
        bar.pack(side=tk.RIGHT, fill=tk.Y)
        self._text.pack(side=tk.LEFT, fill=tk.BOTH, expand=True)
        self._text.tag_configure("line", lmargin2=_TAB_PIXELS)
        self._text.tag_configure("name", foreground="#333333", font="TkHeadingFont")
        self.guard(lambda: self._fill(source()))

    def _fill(self, lines: Lines) -> None:
        for name, text in lines:
            if name:
                self._text.insert(tk.END, f"{name}\t", ("name", "line"))
            self._text.insert(tk.END, f"{text}\n", ("line",) if name else ())
        self._text.configure(state=tk.DISABLED)

    def text(self) -> str:
        """All that is shown."""
        return self._text.get("1.0", "end-1c")
