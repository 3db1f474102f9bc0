"""Controls of the windows: stepping through numbers, choosing a slice, grey levels, a tomogram."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Callable, List, Optional, Sequence, Tuple

from dual_scipion.viewers.planes import AXES, PLANES


class Stepper(ttk.Frame):
    """A slider over whole numbers with an arrow at each side and a text behind it.

    Parameters
    ----------
    master : Tk widget
    label : what stands before it.
    changed : called with the number whenever the user changes it.
    text : of a number, for the text behind the slider.
    width : of that text, in characters.
    """

    def __init__(
        self,
        master: tk.Misc,
        label: str,
        changed: Callable[[int], None],
        text: Callable[[int], str],
        width: int,
    ) -> None:
        super().__init__(master)
        self._changed, self._text = changed, text
        self._count = 1
        self.value = 0
        self._waiting: Optional[str] = None
        ttk.Label(self, text=label).pack(side=tk.LEFT, padx=(0, 6))
        ttk.Button(self, text="◀", width=3, command=lambda: self.step(-1)).pack(side=tk.LEFT)
        self._told = ttk.Label(self, width=width)
        self._told.pack(side=tk.RIGHT)
        ttk.Button(self, text="▶", width=3, command=lambda: self.step(1)).pack(
            side=tk.RIGHT, padx=(0, 8)
        )
        self._slider = ttk.Scale(self, from_=0, to=1, command=self._slid)
        self._slider.pack(side=tk.LEFT, fill=tk.X, expand=True, padx=4)

    def set_range(self, count: int, value: int) -> None:
        """Let it go from 0 to ``count - 1`` and stand at a value; nothing is called."""
        self._count = max(count, 1)
        self._slider.configure(to=max(self._count - 1, 1))
        self._slider.state(["!disabled"] if self._count > 1 else ["disabled"])
        self._put(value)

    def step(self, by: int) -> None:
        """Go on by some numbers, as the arrows do."""
        self.go(self.value + by)

    def go(self, value: int) -> None:
        """Go to a number and tell it."""
        before = self.value
        self._put(value)
        if self.value != before:
            self._changed(self.value)

    def _put(self, value: int) -> None:
        self.value = min(max(value, 0), self._count - 1)
        self._slider.set(self.value)
        self._told.configure(text=self._text(self.value))

    def _slid(self, position: str) -> None:
        value = min(max(round(float(position)), 0), self._count - 1)
        if value == self.value:
            return
        self.value = value
        self._told.configure(text=self._text(value))
        # While it is dragged many positions come at once: only the last one is drawn.
        if self._waiting is None:
            self._waiting = self.after_idle(self._tell)

    def _tell(self) -> None:
        self._waiting = None
        self._changed(self.value)


class SliceControls(ttk.Frame):
    """Chooses plane and slice of a volume.

    Parameters
    ----------
    master : Tk widget
    changed : called without arguments when plane or slice are another one.
    """

    def __init__(self, master: tk.Misc, changed: Callable[[], None]) -> None:
        super().__init__(master)
        self._changed = changed
        self._shape: Tuple[int, int, int] = (1, 1, 1)
        self._voxel_size_A = 1.0
        self._plane = tk.StringVar(self, "xy")
        ttk.Label(self, text="Plane").pack(side=tk.LEFT, padx=(0, 6))
        for plane in PLANES:
            ttk.Radiobutton(
                self, text=plane, value=plane, variable=self._plane, command=self._turned
            ).pack(side=tk.LEFT, padx=(0, 6))
        self.stepper = Stepper(self, "Slice", lambda value: changed(), self._text, width=26)
        self.stepper.pack(side=tk.LEFT, fill=tk.X, expand=True, padx=(10, 0))

    @property
    def plane(self) -> str:
        """The plane that is chosen."""
        return self._plane.get()

    @property
    def index(self) -> int:
        """The slice that is chosen, in voxels from 0."""
        return self.stepper.value

    def choose(self, plane: str, index: Optional[int] = None) -> None:
        """Choose plane and slice (the central one by default), as the user would."""
        self._plane.set(plane)
        length = self._shape[PLANES[plane].axis]
        self.stepper.set_range(length, length // 2 if index is None else index)
        self._changed()

    def set_volume(self, shape: Tuple[int, int, int], voxel_size_A: float) -> None:
        """Take another volume; the slice stays where it is if the shape does."""
        changed = shape != self._shape
        self._shape, self._voxel_size_A = shape, voxel_size_A
        length = shape[PLANES[self.plane].axis]
        self.stepper.set_range(length, length // 2 if changed else self.index)

    def _turned(self) -> None:
        self.choose(self.plane)

    def _text(self, index: int) -> str:
        axis = PLANES[self.plane].axis
        place_nm = index * self._voxel_size_A / 10
        return f"{index + 1} of {self._shape[axis]}, {AXES[axis]} = {place_nm:.1f} nm"


class GreyControls(ttk.Frame):
    """Brightness and contrast of pictures; the setting holds for all slices and volumes.

    Parameters
    ----------
    master : Tk widget
    changed : called without arguments when something was changed.
    """

    def __init__(self, master: tk.Misc, changed: Callable[[], None]) -> None:
        super().__init__(master)
        self._changed = changed
        self._waiting: Optional[str] = None
        self._inverted = tk.BooleanVar(self, False)
        self.brightness = self._add_slider("Brightness")
        self.contrast = self._add_slider("Contrast")
        ttk.Button(self, text="Reset", command=self.reset).pack(side=tk.LEFT, padx=(8, 0))
        ttk.Checkbutton(
            self, text="Invert grey", variable=self._inverted, command=changed
        ).pack(side=tk.LEFT, padx=(12, 0))

    def _add_slider(self, label: str) -> ttk.Scale:
        ttk.Label(self, text=label).pack(side=tk.LEFT, padx=(0, 4))
        slider = ttk.Scale(self, from_=-1, to=1, value=0, command=self._slid)
        slider.pack(side=tk.LEFT, fill=tk.X, expand=True, padx=(0, 10))
        return slider

    @property
    def colours(self) -> str:
        """The name of matplotlib's map."""
        return "gray_r" if self._inverted.get() else "gray"

    def limits(self, low: float, high: float) -> Tuple[float, float]:
        """What is shown as black and white of a picture whose own limits are these.

        Brightness 1 moves them by half their distance, contrast 1 divides that by 4.
        """
        half = (high - low) / 2
        sign = -1.0 if self._inverted.get() else 1.0
        middle = (low + high) / 2 - sign * float(self.brightness.get()) * half
        half *= 4.0 ** -float(self.contrast.get())
        return middle - half, middle + half

    def reset(self) -> None:
        """Back to the limits of the pictures."""
        self.brightness.set(0)
        self.contrast.set(0)
        self._changed()

    def _slid(self, _position: str) -> None:
        # While it is dragged many positions come at once: only the last one is drawn.
        if self._waiting is None:
            self._waiting = self.after_idle(self._tell)

    def _tell(self) -> None:
        self._waiting = None
        self._changed()


class NameList(ttk.Frame):
    """A list of names, of which one is chosen; more may come while it is open.

    Parameters
    ----------
    master : Tk widget
    title : str
    chosen : called with the name that is chosen.
    """

    def __init__(self, master: tk.Misc, title: str, chosen: Callable[[str], None]) -> None:
        super().__init__(master)
        self._chosen = chosen
        self.names: List[str] = []
        ttk.Label(self, text=title).pack(side=tk.TOP, anchor=tk.W)
        bar = ttk.Scrollbar(self, orient=tk.VERTICAL)
        self._list = tk.Listbox(
            self, width=18, exportselection=False, yscrollcommand=bar.set, activestyle="none"
        )
        bar.configure(command=self._list.yview)
        bar.pack(side=tk.RIGHT, fill=tk.Y)
        self._list.pack(side=tk.LEFT, fill=tk.BOTH, expand=True)
        self._list.bind("<<ListboxSelect>>", lambda event: self._tell())

    @property
    def name(self) -> Optional[str]:
        """The name that is chosen."""
        found = self._list.curselection()
        return self.names[found[0]] if found else None

    def set_names(self, names: Sequence[str]) -> None:
        """Show these names; the choice stays, and the first is chosen where there was none."""
        if list(names) == self.names:
            return
        before = self.name
        self.names = list(names)
        self._list.delete(0, tk.END)
        self._list.insert(tk.END, *self.names)
        longest = max((len(name) for name in self.names), default=0)
        self._list.configure(width=min(max(longest + 2, 14), 32))
        if before in self.names:
            self._mark(self.names.index(before))
        elif self.names:
            self.choose(self.names[0])

    def choose(self, name: str) -> None:
        """Choose a name, as the user would."""
        self._mark(self.names.index(name))
        self._tell()

    def _mark(self, at: int) -> None:
        self._list.selection_clear(0, tk.END)
        self._list.selection_set(at)
        self._list.see(at)

    def _tell(self) -> None:
        if self.name is not None:
            self._chosen(self.name)
