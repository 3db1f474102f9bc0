"""The window in which the side of the patches is chosen (Tk)."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Any, List, Optional

from pyworkflow.gui.dialog import Dialog

from dual_core.errors import DualError
from dual_scipion.wizards.diameters import parse_diameter
from dual_scipion.wizards.patch_sizes import (
    DEFAULT,
    TYPICAL_DIAMETER_A,
    PatchChoice,
    TrainingGrid,
    judgement,
    recommended,
)

_COLUMNS = (
    ("voxels", "Side (voxels)", 110),
    ("edge", "Side (Å)", 90),
    ("particles", "Suits particles of (Å)", 170),
    ("work", "Time", 90),
    ("judgement", "For this particle", 310),
)
_NONE_FITS = "No patch fits: train at a smaller voxel size, or leave out the thin tomograms."
_CHOOSE = "Choose a side that fits into the thinnest volume."


class PatchWindow(Dialog):
    """A table of sides; the recommended one, or that of the form, is chosen at the beginning.

    ``voxels`` is the answer, if ``resultYes()``.
    """

    def __init__(
        self, parent: Any, grid: TrainingGrid, choices: List[PatchChoice], voxels: int
    ) -> None:
        self.voxels = voxels
        self._grid_facts = grid
        self._choices = choices
        self._picked = voxels  # 0 as long as the recommended one is taken
        super().__init__(parent, "Side of the training patches")

    def body(self, master: Any) -> None:
        """Facts and particle above, the table below."""
        master.columnconfigure(0, weight=1)
        facts = self._grid_facts
        z, y, x = facts.smallest
        tk.Label(
            master,
            justify=tk.LEFT,
            anchor="w",
            text=f"The voxel size trained at is {facts.voxel_size_A:g} Å ({facts.source}).\n"
            f"The thinnest volume is {facts.name}: {x} x {y} x {z} voxels of that size.\n"
            "A patch should be 1.5 to 3 times as wide as the largest particles that matter.",
        ).grid(row=0, column=0, sticky="ew", pady=(0, 8))
        self._add_particle(master)
        self.table = ttk.Treeview(
            master,
            columns=[name for name, _, _ in _COLUMNS],
            show="headings",
            selectmode="browse",
            height=len(self._choices),
        )
        for name, heading, width in _COLUMNS:
            side: Any = "w" if name == "judgement" else "center"
            self.table.heading(name, text=heading, anchor=side)
            self.table.column(name, width=width, anchor=side, stretch=name == "judgement")
        self.table.tag_configure("useless", foreground="#a0a0a0")
        self.table.tag_configure("recommended", background="#d9f2d9")
        self.table.grid(row=2, column=0, sticky="nsew")
        self.table.bind("<Double-1>", self._double_click)
        self.table.bind("<ButtonRelease-1>", self._pick)
        self.table.bind("<KeyRelease>", self._pick)
        self.message = tk.Label(master, anchor="w", justify=tk.LEFT, foreground="#a02020")
        self.message.grid(row=3, column=0, sticky="ew", pady=(6, 0))
        self._fill()

    def _add_particle(self, master: Any) -> None:
        frame = tk.Frame(master)
        frame.grid(row=1, column=0, sticky="w", pady=(0, 6))
        tk.Label(frame, text="Largest particle that matters: diameter (Å)").grid(row=0, column=0)
        self.entry = tk.Entry(frame, width=8, justify=tk.RIGHT)
        self.entry.insert(0, f"{TYPICAL_DIAMETER_A:g}")
        self.entry.bind("<KeyRelease>", self._type)
        self.entry.grid(row=0, column=1, padx=6)
        tk.Label(frame, text="(ribosome 250 to 280, proteasome 150 to 200)").grid(row=0, column=2)

    # --------------------------- what happens ---------------------------
    def _fill(self) -> None:
        """Write the table anew for the diameter; a choice of the user's stays."""
        diameter_A = parse_diameter(self.entry.get())
        best = recommended(self._choices, diameter_A)
        self.table.delete(*self.table.get_children())
        for choice in self._choices:
            text = judgement(choice, diameter_A, self._grid_facts.shortest_side)
            text += ", recommended" if choice is best else ""
            tags = ["useless"] if not choice.fits else ["recommended"] if choice is best else []
            self.table.insert(
                "",
                tk.END,
                iid=str(choice.voxels),
                tags=tags,
                values=(
                    f"{choice.voxels} (default)" if choice.voxels == DEFAULT else choice.voxels,
                    f"{choice.edge_A:.0f}",
                    f"{choice.smallest_particle_A:.0f} to {choice.largest_particle_A:.0f}",
                    f"{choice.work:.1f} x" if choice.work < 10 else f"{choice.work:.0f} x",
                    text,
                ),
            )
        self._select(best)
        self.message.configure(text="" if best is not None else _NONE_FITS)

    def _select(self, best: Optional[PatchChoice]) -> None:
        """What the user chose, here or in the form, or else what is recommended."""
        wanted = str(self._picked or (best.voxels if best else ""))
        if self.table.exists(wanted):
            self.table.selection_set(wanted)
            self.table.focus(wanted)

    def _type(self, _event: Any) -> None:
        try:
            self._fill()
        except DualError as error:
            self.message.configure(text=str(error))

    def _pick(self, _event: Any) -> None:
        chosen = self.table.selection()
        self._picked = int(chosen[0]) if chosen else 0

    def _double_click(self, event: Any) -> None:
        if self.table.identify_row(event.y):
            self._handleReturn()

    def validate(self) -> bool:
        """Whether a side that fits is chosen; the window stays open otherwise."""
        chosen = self.table.selection()
        fits = {str(choice.voxels): choice.fits for choice in self._choices}
        if not chosen or not fits[chosen[0]]:
            any_fits = any(choice.fits for choice in self._choices)
            self.message.configure(text=_CHOOSE if any_fits else _NONE_FITS)
            return False
        self.voxels = int(chosen[0])
        return True
