"""A user in front of Scipion's windows, who looks, clicks and takes pictures.

To be used in a process of its own, since `Desk` changes how Tk waits, on the screen of `screen`.
No window manager is needed: windows have no frame and lie over each other.
"""

from __future__ import annotations

import os
import time
import tkinter as tk
import webbrowser
from pathlib import Path
from tkinter import ttk
from typing import Any, Callable, Collection, Dict, Iterator, List, Optional

import pyworkflow.gui.project as project_gui  # before the form, which would import it half
from PIL import Image, ImageGrab
from pyworkflow.gui.dialog import RESULT_YES
from pyworkflow.gui.form import FormWindow, ParamWidget
from pyworkflow.gui.widgets import ComboBox
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from pyworkflow.protocol.params import BooleanParam, EnumParam
from pyworkflow.utils import Message

from dual_scipion.tests.screen import HEIGHT, WIDTH

COLOURS = 128  # of a picture: windows have few, and the files are half the size


class Desk:
    """The window of a project, and the hands and eyes of a user.

    Attributes
    ----------
    dialogs : texts of the messages and questions that came up; each is closed at once.
    pages : what was opened in the browser.
    errors : exceptions in what was called by Tk, which Tk itself only prints.
    """

    def __init__(self, project: str, pictures: Path) -> None:
        self.dialogs: List[str] = []
        self.pages: List[str] = []
        self.errors: List[str] = []
        self._on_dialog: Optional[Callable[[Any], None]] = None
        self.pictures = pictures
        pictures.mkdir(parents=True, exist_ok=True)
        # Windows of Scipion stay in Tk's loop until they are closed: here it is run by `look`.
        setattr(tk.Misc, "mainloop", lambda *_: None)  # noqa: B010
        setattr(tk.Misc, "wait_window", lambda _, window: self._answer(window))  # noqa: B010
        setattr(tk.Tk, "report_callback_exception", self._remember)  # noqa: B010
        setattr(webbrowser, "open_new_tab", self.pages.append)  # noqa: B010
        self.window = project_gui.ProjectWindow(project)
        self.view = self.window.getViewWidget()
        self.window.root.geometry(f"{WIDTH}x{HEIGHT}+0+0")
        self.window.root.deiconify()
        self.look()

    @property
    def project(self) -> Any:
        """The open project."""
        return self.window.project

    def _remember(self, kind: type, error: BaseException, trace: Any) -> None:
        self.errors.append(f"{kind.__name__}: {error}")

    def _answer(self, dialog: Any) -> None:
        act, self._on_dialog = self._on_dialog, None
        if act is None:
            self.dialogs.append(" ".join([dialog.title(), *texts(dialog)]))
        else:
            act(dialog)
        if dialog.winfo_exists():
            dialog.destroy()

    def look(self, seconds: float = 0.2) -> None:
        """Let Tk work for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.window.root.update()
            time.sleep(0.01)

    def look_until(self, what: Callable[[], bool], seconds: float = 120.0) -> bool:
        """Let Tk work until something holds; return whether it does."""
        end = time.monotonic() + seconds
        while not what() and time.monotonic() < end:
            self.look()
        return what()

    def windows(self) -> List[Any]:
        """All windows that can be seen, but that of the project."""
        root = self.window.root
        found = [w for w in descendants(root.nametowidget(".")) if isinstance(w, tk.Toplevel)]
        return [w for w in found if w is not root and w.winfo_viewable()]

    def close_windows(self) -> None:
        """Close all windows but that of the project, as by their cross."""
        for window in reversed(self.windows()):
            if window.winfo_exists():
                cross = window.protocol("WM_DELETE_WINDOW")
                window.tk.call(cross) if cross else window.destroy()
        self.look()

    def photograph(self, name: str, window: Optional[Any] = None) -> Path:
        """Save a picture of a window, or of the whole screen; return its path."""
        box = None
        if window is not None:
            window.lift()
            window.geometry("+0+0")
            self.look()
            box = (0, 0, min(window.winfo_width(), WIDTH), min(window.winfo_height(), HEIGHT))
        picture = ImageGrab.grab(bbox=box, xdisplay=os.environ["DISPLAY"])
        path = self.pictures / f"{name}.png"
        fewer_colours(picture, COLOURS).save(str(path), optimize=True)
        return path

    def photograph_tabs(
        self, name: str, window: Any, wanted: Optional[Collection[str]] = None
    ) -> List[str]:
        """Save pictures of the tabs of a window, or of one without; return the titles of all."""
        titles = []
        books = [widget for widget in descendants(window) if isinstance(widget, ttk.Notebook)]
        for book in books[:1]:
            for tab in book.tabs():
                book.select(tab)
                titles.append(book.tab(tab, "text"))
                if wanted is not None and titles[-1] not in wanted:
                    continue
                self.look()
                self.wait_for(window)
                self.photograph(f"{name}_{titles[-1].lower().replace(' ', '_')}", window)
        if not titles:
            self.photograph(name, window)
        return titles

    def choose_view(self, name: str) -> None:
        """Choose which tree of protocols is shown, in the box above it."""
        boxes = [w for w in descendants(self.view) if isinstance(w, ComboBox)]
        (box,) = [box for box in boxes if name in box["values"]]
        box.set(name)
        self.look()

    def tree(self) -> Dict[str, str]:
        """What the tree of protocols shows: class name to text."""
        tree = self.view.protTree
        found: Dict[str, str] = {}
        waiting = list(tree.get_children())
        while waiting:
            item = waiting.pop()
            waiting += tree.get_children(item)
            found[item.rpartition(".")[2]] = tree.item(item)["text"]
        return found

    def unfold(self, name: str) -> None:
        """Open the tree of protocols so that one can be seen."""
        tree = self.view.protTree
        waiting = list(tree.get_children())
        while waiting:
            item = waiting.pop()
            waiting += tree.get_children(item)
            if item.endswith(f".{name}"):
                tree.see(item)
        self.look()

    def open_form(self, protocol: Any) -> FormWindow:
        """Open the form of a protocol as the tree does."""
        form = FormWindow(
            f"Protocol Run: {protocol.getClassName()}",
            protocol,
            self.view._executeSaveProtocol,
            self.window,
            updateProtocolCallback=self.view._updateProtocol,
        )
        form.adjustSize()
        form.root.deiconify()
        self.look()
        return form

    def analyze(self, protocol: Any) -> List[Any]:
        """Press *Analyze Results* for a protocol; return the windows that it opens."""
        before = self.windows()
        self.view._analyzeResults(protocol, None)
        self.look(0.5)
        opened = [window for window in self.windows() if window not in before]
        for window in opened:
            self.wait_for(window)
        return opened

    def wait_for(self, window: Any) -> None:
        """Until nothing in a window is being read any more."""
        parts = [part for part in (window, *descendants(window)) if hasattr(part, "busy")]
        self.look_until(lambda: not any(part.busy() for part in parts), 30.0)
        self.look()

    def use_wizard(self, form: FormWindow, name: str, picture: str) -> List[str]:
        """Press the wand behind a parameter, and OK in its window; return the window's texts."""
        seen: List[str] = []

        def act(dialog: Any) -> None:
            # What takes its time is announced by dots.
            self.look()
            self.look_until(lambda: not any(text.endswith("...") for text in texts(dialog)), 30.0)
            self.wait_for(dialog)
            seen.extend([dialog.title(), *texts(dialog)])
            self.photograph(picture, dialog)
            dialog._handleResult(RESULT_YES)

        self._on_dialog = act
        (wand,) = [
            button
            for button in descendants(form.widgetDict[name].btnFrame)
            if str(button.cget("text")) == Message.LABEL_BUTTON_WIZ
        ]
        wand.invoke()
        self._on_dialog = None
        self.look()
        return seen


def fewer_colours(picture: Image.Image, colours: int) -> Image.Image:
    """A picture with a palette that keeps rare colours, such as those of a legend."""
    method = Image.Quantize.MAXCOVERAGE
    # k-means after it: grey stays grey.
    return picture.convert("RGB").quantize(colours, method, 5, dither=Image.Dither.NONE)


def parameters_shown(form: FormWindow) -> Dict[str, Dict[str, Any]]:
    """Label and help of all parameters that a form can show, by every switch and choice in it.

    ``help`` says whether the button with the question mark is there; fields in one line share it.
    """
    found: Dict[str, Dict[str, Any]] = {}
    if "expertLevel" in form.widgetDict:  # not where nothing is for experts
        form.setVar("expertLevel", LEVEL_ADVANCED)
    _note_shown(form, found)
    for name, widget in list(form.widgetDict.items()):
        param = getattr(widget, "param", None)
        if isinstance(param, EnumParam):
            values = list(range(len(param.choices)))
        elif isinstance(param, BooleanParam):
            values = [False, True]
        else:
            continue
        before = getattr(form.protocol, name).get()
        for value in values:
            form.setVar(name, value)
            _note_shown(form, found)
        form.setVar(name, before)
    return found


def _note_shown(form: FormWindow, found: Dict[str, Dict[str, Any]]) -> None:
    for name, widget in form.widgetDict.items():
        label = getattr(widget, "label", None)  # a group has none
        if isinstance(widget, ParamWidget) and name not in found and label and _is_placed(label):
            found[name] = {
                "kind": type(widget).__name__,
                "label": str(label["text"]),
                "help": len(widget.param.help.get() or ""),
            }


def _is_placed(widget: Any) -> bool:
    """Whether a widget and all around it are laid out, even if scrolled away."""
    while not isinstance(widget, tk.Toplevel):
        if not widget.winfo_manager():
            return False
        widget = widget.master
    return True


def descendants(widget: Any) -> Iterator[Any]:
    """All widgets inside a widget."""
    for child in widget.winfo_children():
        yield child
        yield from descendants(child)


def texts(widget: Any) -> List[str]:
    """All texts that can be read inside a widget."""
    found = []
    for child in descendants(widget):
        if isinstance(child, tk.Text):
            found.append(child.get("1.0", "end").strip())
            continue
        keys = child.keys()
        if "textvariable" in keys and str(child["textvariable"]):
            found.append(str(child.getvar(str(child["textvariable"]))))
        elif "text" in keys:
            found.append(str(child["text"]))
    return [text for text in found if text]
