"""The window in which dark or bright density is chosen (Tk)."""

from __future__ import annotations

import tkinter as tk
from typing import Any, List, Optional

import numpy as np
from pyworkflow.gui.dialog import Dialog

from dual_core.errors import DualError
from dual_scipion.wizards.contrast_evidence import Evidence, Measurement, sentence
from dual_scipion.wizards.windows.slice_panel import SliceCanvas, SliceChooser
from dual_scipion.wizards.wizard_base import ShownVolume

_PIXELS = 440
_POLL_MS = 200
_CHOICES = (("dark", "As it is"), ("bright", "Inverted"))


class ContrastWindow(Dialog):
    """The same slice twice; the user says in which one the particles are dark.

    ``contrast`` (auto, dark or bright) is the answer, if ``resultYes()``.
    """

    def __init__(self, parent: Any, title: str, volumes: List[ShownVolume], contrast: str) -> None:
        self.contrast = contrast
        self.evidence: Optional[Evidence] = None
        self._volumes = volumes
        self._shown: Optional[ShownVolume] = None
        self._measurement: Optional[Measurement] = None
        super().__init__(parent, title)

    def body(self, master: Any) -> None:
        """Evidence and slice above, the two pictures with their choices below."""
        self.choice = tk.StringVar(master, self.contrast)
        width = 2 * _PIXELS
        self.verdict = tk.Label(master, anchor="w", justify=tk.LEFT, wraplength=width, height=2)
        self.verdict.grid(row=0, column=0, columnspan=2, sticky="ew", pady=(0, 6))
        self.chooser = SliceChooser(master, self._volumes, self._show, self._tell)
        self.chooser.grid(row=1, column=0, columnspan=2, sticky="ew")
        question = "In which picture are particles, membranes and gold dark?"
        tk.Label(master, text=question).grid(row=2, column=0, columnspan=2, pady=(8, 0))
        self.canvases = []
        for column, (contrast, title) in enumerate(_CHOICES):
            tk.Label(master, text=title).grid(row=3, column=column, pady=(2, 2))
            canvas = SliceCanvas(master, _PIXELS, inverted=column == 1, on_view=self._follow_view)
            canvas.grid(row=4, column=column, padx=4)
            self.canvases.append(canvas)
            tk.Radiobutton(
                master,
                variable=self.choice,
                value=contrast,
                text=f"Particles look dark here: density is {contrast}",
            ).grid(row=5, column=column, pady=(4, 0))
        tk.Radiobutton(
            master,
            variable=self.choice,
            value="auto",
            text="Leave it to the engine, which measures every volume: auto",
        ).grid(row=6, column=0, columnspan=2, pady=(8, 4))
        self.bind("<Destroy>", self._stop)
        self.chooser.open()

    # --------------------------- what happens ---------------------------
    def _show(self, array: np.ndarray, volume: ShownVolume) -> None:
        for canvas in self.canvases:
            canvas.show(array, volume.voxel_size_A)
        if volume != self._shown:
            self._shown = volume
            self._measure(volume)

    def _follow_view(self, view: Any) -> None:
        for canvas in self.canvases:
            if canvas.view != view:
                canvas.look_at(view)

    def _tell(self, text: str) -> None:
        self.verdict.configure(text=text)

    def _measure(self, volume: ShownVolume) -> None:
        self._stop()
        try:
            self._measurement = Measurement(volume.path, volume.voxel_size_A)
        except DualError as error:
            self._tell(f"Choose by the pictures. {error}")
            return
        self._tell("The engine is measuring ...")
        self.after(_POLL_MS, self._poll, self._measurement)

    def _poll(self, measurement: Measurement) -> None:
        if measurement is not self._measurement:
            return  # another tomogram was chosen since
        try:
            self.evidence = measurement.result()
        except DualError as error:
            self._tell(f"Choose by the pictures: the engine cannot tell ({error}).")
            return
        if self.evidence is None:
            self.after(_POLL_MS, self._poll, measurement)
        else:
            self._tell(sentence(self.evidence))

    def _stop(self, _event: Any = None) -> None:
        if self._measurement is not None:
            self._measurement.stop()
            self._measurement = None

    def apply(self) -> None:
        """Keep the answer: the widgets are gone afterwards."""
        self.contrast = self.choice.get()
