"""The window in which tomograms are chosen from a list (Tk)."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Any, List

from pyworkflow.gui.dialog import Dialog

from dual_core.errors import DualError
from dual_scipion.wizards.ts_id_choice import TomogramRow, chosen_names, field_text, matching

_TICKED, _UNTICKED = "\u2611", "\u2610"
_COLUMNS = (
    ("tick", "Use", 50),
    ("name", "tsId", 240),
    ("size", "Voxels (x, y, z)", 170),
    ("thickness", "Thickness (nm)", 120),
    ("tilts", "Tilts (°)", 110),
)
_MOST_ROWS = 18


class TsIdsWindow(Dialog):
    """A list with a tick for each tomogram, and a field to search it.

    ``text`` is the answer as the field of the form has it, if ``resultYes()``.
    """

    def __init__(self, parent: Any, rows: List[TomogramRow], text: str, empty_is_all: bool) -> None:
        self.text = text
        self._rows = rows
        self._names = [row.name for row in rows]
        self._empty_is_all = empty_is_all
        self.chosen, self._unknown = chosen_names(text, self._names, empty_is_all)
        super().__init__(parent, "Choose tomograms")

    def body(self, master: Any) -> None:
        """Search above, the list, buttons and a count below."""
        master.columnconfigure(0, weight=1)
        master.rowconfigure(1, weight=1)
        self._add_search(master)
        frame = tk.Frame(master)
        frame.grid(row=1, column=0, sticky="nsew")
        frame.columnconfigure(0, weight=1)
        frame.rowconfigure(0, weight=1)
        self.table = ttk.Treeview(
            frame,
            columns=[name for name, _, _ in _COLUMNS],
            show="headings",
            selectmode="browse",
            height=min(max(len(self._rows), 4), _MOST_ROWS),
        )
        for name, heading, width in _COLUMNS:
            side: Any = "w" if name == "name" else "center"
            self.table.heading(name, text=heading, anchor=side)
            self.table.column(name, width=width, anchor=side, stretch=name == "name")
        self.table.grid(row=0, column=0, sticky="nsew")
        bar = ttk.Scrollbar(frame, orient=tk.VERTICAL, command=self.table.yview)
        bar.grid(row=0, column=1, sticky="ns")
        self.table.configure(yscrollcommand=bar.set)
        self.table.bind("<Button-1>", self._click)
        self.table.bind("<space>", self._space)
        self.message = tk.Label(master, anchor="w", justify=tk.LEFT)
        self.message.grid(row=2, column=0, sticky="ew", pady=(6, 0))
        self._fill()

    def _add_search(self, master: Any) -> None:
        frame = tk.Frame(master)
        frame.grid(row=0, column=0, sticky="ew", pady=(0, 6))
        frame.columnconfigure(1, weight=1)
        tk.Label(frame, text="Search").grid(row=0, column=0, padx=(0, 6))
        self.search = tk.Entry(frame)
        self.search.bind("<KeyRelease>", lambda event: self._fill())
        self.search.grid(row=0, column=1, sticky="ew")
        for column, (text, callback) in enumerate(
            (("Tick these", self._tick_listed), ("Untick these", self._untick_listed)), start=2
        ):
            button = tk.Button(frame, text=text, command=callback)
            button.grid(row=0, column=column, padx=(6, 0))

    # --------------------------- what happens ---------------------------
    def _fill(self) -> None:
        self.table.delete(*self.table.get_children())
        for row in matching(self._rows, self.search.get()):
            self.table.insert("", tk.END, iid=row.name, values=(self._tick(row.name), *row))
        self._tell()

    def _tick(self, name: str) -> str:
        return _TICKED if name in self.chosen else _UNTICKED

    def _tell(self) -> None:
        text = f"{len(self.chosen)} of {len(self._names)} chosen."
        if not self.chosen and not self._empty_is_all:
            text = "None chosen: as many as the form says are taken."
        if self._unknown:
            text += f" Not in the set, and left out: {', '.join(self._unknown)}."
        self.message.configure(text=text)

    def _click(self, event: Any) -> None:
        if self.table.identify_region(event.x, event.y) == "cell":
            self.toggle(self.table.identify_row(event.y))

    def _space(self, _event: Any) -> None:
        for name in self.table.selection():
            self.toggle(name)

    def toggle(self, name: str) -> None:
        """Tick a tomogram, or take its tick away."""
        self.chosen ^= {name}
        self.table.set(name, "tick", self._tick(name))
        self._tell()

    def _tick_listed(self) -> None:
        self.chosen |= set(self.table.get_children())
        self._fill()

    def _untick_listed(self) -> None:
        self.chosen -= set(self.table.get_children())
        self._fill()

    def validate(self) -> bool:
        """Whether the choice can be written; the window stays open otherwise."""
        try:
            self.text = field_text(self._names, self.chosen, self._empty_is_all)
        except DualError as error:
            self.message.configure(text=str(error))
            return False
        return True
