"""Parts of the wizards' windows that show slices (Tk)."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Any, Callable, Iterator, List, Optional, Tuple

import numpy as np
from PIL import ImageTk

from dual_core.errors import DualError
from dual_scipion.background import Latest, Stale
from dual_scipion.slices import display_range, read_mean_slice, read_shape, scale_bar, smoothed
from dual_scipion.wizards.slice_view import SliceView, cut_image, grey_image
from dual_scipion.wizards.wizard_base import ShownVolume

THICKNESSES = (1, 3, 5, 9, 15)
USUAL_THICKNESS = 5  # slices of 10 A: the noise is halved and a ribosome is still sharp
BLURS = (0, 1, 2, 4)  # voxels
USUAL_BLUR = 1
_CLICK_PIXELS = 4  # a mouse that moved less has clicked, not dragged
_WHEEL = 1.25
_OTHER_PIXELS = 330  # of a screen's height, for the rest of the window and the desktop's bars
_SHADOW, _BAR = "#000000", "#ffffff"


class SliceCanvas(tk.Canvas):
    """A slice with a scale bar; the wheel zooms, dragging moves.

    Parameters
    ----------
    pixels : longest side of the canvas; less on a small screen.
    inverted : whether black and white are exchanged.
    on_view : called after the view was zoomed or moved.
    """

    def __init__(
        self,
        master: Any,
        pixels: int,
        inverted: bool = False,
        on_view: Optional[Callable[[SliceView], None]] = None,
    ) -> None:
        super().__init__(master, highlightthickness=0, background="#202020", cursor="crosshair")
        self.view: Optional[SliceView] = None
        self.pointer: Optional[Tuple[float, float]] = None
        self.overlay: Callable[[], None] = lambda: None
        self.on_click: Callable[[float, float], None] = lambda x, y: None
        room = max(self.winfo_screenheight() - _OTHER_PIXELS, 200)
        self._most_pixels = pixels, min(pixels, room)
        self._inverted = inverted
        self._on_view = on_view
        self._image: Any = None
        self._photo: Any = None
        self._voxel_size_A = 1.0
        self._pressed: Optional[Tuple[int, int]] = None
        self._dragged = False
        self.configure(width=pixels, height=self._most_pixels[1])
        self.bind("<Motion>", self._move)
        self.bind("<ButtonPress-1>", self._press)
        self.bind("<B1-Motion>", self._drag)
        self.bind("<ButtonRelease-1>", self._release)
        # X11 has wheel buttons, other systems an event of its own.
        self.bind("<Button-4>", lambda event: self._zoom(event, _WHEEL))
        self.bind("<Button-5>", lambda event: self._zoom(event, 1 / _WHEEL))
        self.bind("<MouseWheel>", self._wheel)

    def show(self, array: np.ndarray, voxel_size_A: float) -> None:
        """Show a slice ``(y, x)``; the view stays if the shape is the same."""
        rows, columns = array.shape
        if self.view is None or self.view.shape != (rows, columns):
            self.view = SliceView.of_whole((rows, columns), self._most_pixels)
            self.configure(width=self.view.canvas[0], height=self.view.canvas[1])
        self._voxel_size_A = voxel_size_A
        self._image = grey_image(array, *display_range(array), inverted=self._inverted)
        self.redraw()

    def look_at(self, view: SliceView) -> None:
        """Show the same part as another canvas."""
        if self.view is not None and self.view.shape == view.shape:
            self.view = view
            self.redraw()

    def redraw(self) -> None:
        """Draw the slice, the scale bar, and what lies over them."""
        if self.view is None:
            return
        self._photo = ImageTk.PhotoImage(cut_image(self._image, self.view), master=self)
        self.delete("all")
        self.create_image(0, 0, anchor="nw", image=self._photo)
        self._draw_bar(self.view)
        self.overlay()

    def draw_circle(
        self, x: float, y: float, diameter_A: float, colour: str, tag: str, width: int = 2
    ) -> None:
        """A circle about a position of the slice, ``(x, y)`` in voxels."""
        if self.view is None:
            return
        column, row = self.view.to_canvas(x, y)
        across, down = (diameter_A / self._voxel_size_A / 2 * scale for scale in self.view.scale)
        corners = column - across, row - down, column + across, row + down
        # Dark below bright: seen on any grey.
        self.create_oval(*corners, outline=_SHADOW, width=width + 2, tags=tag)
        self.create_oval(*corners, outline=colour, width=width, tags=tag)

    def _draw_bar(self, view: SliceView) -> None:
        bar = scale_bar(max(1, round(view.shape[1] / view.zoom)), self._voxel_size_A)
        length = bar.voxels * view.scale[0]
        left, bottom = 16, view.canvas[1] - 16
        text = self.create_text(left + length / 2, bottom - 14, text=bar.label, fill=_BAR)
        ends = self.bbox(text)
        self.create_rectangle(
            min(left, ends[0]) - 6,
            ends[1] - 3,
            max(left + length, ends[2]) + 6,
            bottom + 6,
            fill=_SHADOW,
            outline="",
        )
        self.create_rectangle(left, bottom - 4, left + length, bottom, fill=_BAR, outline="")
        self.tag_raise(text)

    # --------------------------- mouse ---------------------------
    def _move(self, event: Any) -> None:
        if self.view is not None:
            self.pointer = self.view.to_slice(event.x, event.y)
            self.overlay()

    def _press(self, event: Any) -> None:
        self._pressed, self._dragged = (event.x, event.y), False

    def _drag(self, event: Any) -> None:
        if self.view is None or self._pressed is None:
            return
        columns, rows = event.x - self._pressed[0], event.y - self._pressed[1]
        if self._dragged or max(abs(columns), abs(rows)) >= _CLICK_PIXELS:
            self._dragged = True
            self._pressed = event.x, event.y
            self._changed(self.view.moved(columns, rows))

    def _release(self, event: Any) -> None:
        if self.view is not None and self._pressed is not None and not self._dragged:
            self.on_click(*self.view.to_slice(event.x, event.y))
        self._pressed = None

    def _wheel(self, event: Any) -> None:
        self._zoom(event, _WHEEL if event.delta > 0 else 1 / _WHEEL)

    def _zoom(self, event: Any, factor: float) -> None:
        if self.view is not None:
            self._changed(self.view.zoomed(factor, event.x, event.y))

    def _changed(self, view: SliceView) -> None:
        self.view = view
        self.redraw()
        if self._on_view is not None:
            self._on_view(view)


class SliceChooser(tk.Frame):
    """Which tomogram, which slice, how many averaged, how smooth.

    Parameters
    ----------
    volumes : to choose from; the first is shown at the beginning.
    on_slice : called with the slice ``(y, x)`` and its volume.
    on_error : called with one line if a volume cannot be read.
    """

    def __init__(
        self,
        master: Any,
        volumes: List[ShownVolume],
        on_slice: Callable[[np.ndarray, ShownVolume], None],
        on_error: Callable[[str], None],
    ) -> None:
        super().__init__(master)
        self.volume = volumes[0]
        self._volumes = volumes
        self._on_slice, self._on_error = on_slice, on_error
        self._shape: Tuple[int, int, int] = (1, 1, 1)
        self._waiting: Optional[str] = None
        self._reader = Latest(self, lambda error: on_error(str(error)))
        self.columnconfigure(8, weight=1)
        tk.Label(self, text="Tomogram").grid(row=0, column=0, sticky="w", padx=(0, 4))
        self.names = ttk.Combobox(
            self, values=[entry.name for entry in volumes], state="readonly", width=18
        )
        self.names.current(0)
        self.names.grid(row=0, column=1, sticky="w")
        self.names.bind("<<ComboboxSelected>>", lambda event: self.open())
        self.thickness = self._add_number(2, "mean of", THICKNESSES, USUAL_THICKNESS, "slices")
        self.blur = self._add_number(5, "smoothed by", BLURS, USUAL_BLUR, "voxels")
        self.position = tk.Label(self, anchor="w", width=13)
        self.position.grid(row=1, column=0, sticky="w", pady=(4, 0))
        self.slider = tk.Scale(
            self, orient=tk.HORIZONTAL, showvalue=False, from_=0, to=0, command=self._slide
        )
        self.slider.grid(row=1, column=1, columnspan=8, sticky="ew", pady=(4, 0))

    def _add_number(
        self, column: int, before: str, numbers: Tuple[int, ...], usual: int, after: str
    ) -> Any:
        tk.Label(self, text=before).grid(row=0, column=column, padx=(12, 4))
        values = [str(number) for number in numbers]
        box = ttk.Combobox(self, values=values, state="readonly", width=3)
        box.set(str(usual))
        box.grid(row=0, column=column + 1)
        box.bind("<<ComboboxSelected>>", lambda event: self.read())
        tk.Label(self, text=after).grid(row=0, column=column + 2, padx=(4, 0))
        return box

    def open(self) -> None:
        """Go to the middle of the chosen tomogram."""
        self.volume = self._volumes[self.names.current()]
        try:
            self._shape = read_shape(self.volume.path)
        except DualError as error:
            self._on_error(str(error))
            return
        self.slider.configure(to=self._shape[0] - 1)
        self.slider.set(self._shape[0] // 2)
        self.read()

    def read(self) -> None:
        """Ask for the chosen slice; it is handed on when it has been read."""
        self._waiting = None
        index, volume = int(self.slider.get()), self.volume
        thickness, blur = int(self.thickness.get()), float(self.blur.get())
        self.position.configure(text=f"z {index} of {self._shape[0] - 1}")

        def job(_stale: Stale) -> Iterator[np.ndarray]:
            yield smoothed(read_mean_slice(volume.path, index, thickness), blur)

        self._reader.ask(job, lambda array: self._on_slice(array, volume))

    def busy(self) -> bool:
        """Whether a slice is being read that will be shown."""
        return self._reader.busy()

    def destroy(self) -> None:
        """End the reading with the widget."""
        self._reader.close()
        super().destroy()

    def _slide(self, _value: str) -> None:
        # Not at every step: a slice of a large tomogram takes a while from a slow disk.
        if self._waiting is not None:
            self.after_cancel(self._waiting)
        self._waiting = self.after(40, self.read)
