"""The window in which a diameter is chosen (Tk)."""

from __future__ import annotations

import tkinter as tk
from typing import Any, List, Optional, Tuple

import numpy as np
from pyworkflow.gui.dialog import Dialog

from dual_core.errors import DualError
from dual_scipion.wizards.diameters import advice, diameter_limits, parse_diameter
from dual_scipion.wizards.windows.slice_panel import SliceCanvas, SliceChooser
from dual_scipion.wizards.wizard_base import ShownVolume

USUAL_A = 280.0
_PIXELS = 600
_MOVING, _FIXED = "#ffd23f", "#4fd1ff"


class DiameterWindow(Dialog):
    """A slice, a circle on the mouse, circles where one clicked, a slider and a field.

    ``diameter_A`` is the answer, if ``resultYes()``.
    """

    def __init__(self, parent: Any, volumes: List[ShownVolume], diameter_A: float) -> None:
        self.diameter_A = diameter_A if diameter_A > 0 else USUAL_A
        self._volumes = volumes
        self._shown: Optional[ShownVolume] = None
        self._slider_at = 0.0
        self._fixed: List[Tuple[float, float]] = []
        super().__init__(parent, "Diameter of the particles")

    def body(self, master: Any) -> None:
        """The slice above, slider and field below."""
        master.columnconfigure(0, weight=1)
        tk.Label(
            master,
            text="Move the circle over a particle and fit its size. Click: a circle stays there; "
            "wheel: zoom; drag: move.",
            justify=tk.LEFT,
        ).grid(row=0, column=0, sticky="w", pady=(0, 6))
        self.chooser = SliceChooser(master, self._volumes, self._show, self._tell)
        self.chooser.grid(row=1, column=0, sticky="ew")
        self.canvas = SliceCanvas(master, _PIXELS)
        self.canvas.overlay = self._draw_circles
        self.canvas.on_click = self._fix
        self.canvas.grid(row=2, column=0, pady=6)
        self._add_diameter(master)
        self.chooser.open()

    def _add_diameter(self, master: Any) -> None:
        frame = tk.Frame(master)
        frame.grid(row=3, column=0, sticky="ew")
        frame.columnconfigure(1, weight=1)
        tk.Label(frame, text="Diameter (Å)").grid(row=0, column=0, padx=(0, 6))
        self.slider = tk.Scale(
            frame, orient=tk.HORIZONTAL, showvalue=False, resolution=1, command=self._slide
        )
        self.slider.grid(row=0, column=1, sticky="ew")
        self.entry = tk.Entry(frame, width=8, justify=tk.RIGHT)
        self.entry.insert(0, f"{self.diameter_A:g}")
        self.entry.bind("<KeyRelease>", self._type)
        self.entry.bind("<Up>", lambda event: self._set(round(self.diameter_A) + 5))
        self.entry.bind("<Down>", lambda event: self._set(round(self.diameter_A) - 5))
        self.entry.grid(row=0, column=2, padx=6)
        clear = tk.Button(frame, text="Remove circles", command=self._clear)
        clear.grid(row=0, column=3)
        self.message = tk.Label(master, anchor="w", justify=tk.LEFT)
        self.message.grid(row=4, column=0, sticky="ew", pady=(6, 0))

    # --------------------------- what happens ---------------------------
    def _show(self, array: np.ndarray, volume: ShownVolume) -> None:
        rows, columns = array.shape
        if volume != self._shown:
            self._fixed.clear()
            self.canvas.pointer = columns / 2, rows / 2
        self._shown = volume
        low, high = diameter_limits((rows, columns), volume.voxel_size_A)
        self.slider.configure(from_=low, to=high)
        self._move_slider()
        self.canvas.show(array, volume.voxel_size_A)
        self._tell_size()

    def _tell(self, text: str) -> None:
        self.message.configure(text=text)

    def _tell_size(self) -> None:
        if self._shown is not None:
            self._tell(advice(self.diameter_A, self._shown.voxel_size_A))

    def _slide(self, value: str) -> None:
        # Tk also calls this, later, when the slider was set by the program.
        if float(value) != self._slider_at:
            self._set(float(value))

    def _move_slider(self) -> None:
        self.slider.set(self.diameter_A)
        self._slider_at = float(self.slider.get())

    def _set(self, diameter_A: float) -> None:
        self.diameter_A = max(diameter_A, 1.0)
        self.entry.delete(0, tk.END)
        self.entry.insert(0, f"{self.diameter_A:g}")
        self._changed()

    def _type(self, _event: Any) -> None:
        try:
            self.diameter_A = parse_diameter(self.entry.get())
        except DualError as error:
            self._tell(str(error))
            return
        self._changed()

    def _changed(self) -> None:
        self._move_slider()
        self._draw_circles()
        self._tell_size()

    def _fix(self, x: float, y: float) -> None:
        self._fixed.append((x, y))
        self._draw_circles()

    def _clear(self) -> None:
        self._fixed.clear()
        self._draw_circles()

    def _draw_circles(self) -> None:
        self.canvas.delete("circle")
        for x, y in self._fixed:
            self.canvas.draw_circle(x, y, self.diameter_A, _FIXED, "circle")
        if self.canvas.pointer is not None:
            self.canvas.draw_circle(*self.canvas.pointer, self.diameter_A, _MOVING, "circle")

    def validate(self) -> bool:
        """Whether the field holds a diameter; the window stays open otherwise."""
        try:
            self.diameter_A = parse_diameter(self.entry.get())
        except DualError as error:
            self._tell(str(error))
            return False
        return True
