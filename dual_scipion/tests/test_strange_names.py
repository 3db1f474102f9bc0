"""Names and messages of anybody's making in the windows of the viewers: text, and no formulas."""

from __future__ import annotations

import tkinter as tk
from unittest import TestCase

from dual_scipion.tests.screen import virtual_screen
from dual_scipion.viewers.windows.base import FigurePanel

STRANGE = ("a$\\bad{$b", "x$^2", "\x1b[31mred", "\u202eexe.crm", "tab\there", "é" * 255, "$" * 40)


class TestStrangeNames(TestCase):
    """Each name as the title of a picture and in the message of an error."""

    def test_any_name_is_drawn_as_text(self) -> None:
        with virtual_screen() as display:
            root = tk.Tk(screenName=display)
            try:
                panel = FigurePanel(root)
                panel.pack()
                for name in STRANGE:
                    # No subTest: Scipion's runner does not count what fails in one.
                    title = panel.figure.add_subplot().set_title(name)
                    panel.settle()
                    self.assertTrue(title.get_text().isprintable(), name)
                    panel.tell(f"{name}.mrc: no such file")
                    root.update()
                    panel.canvas.draw()
                    (text,) = panel.figure.texts
                    self.assertTrue(text.get_text().replace("\n", "").isprintable(), name)
                    panel.figure.clear()
            finally:
                root.destroy()
