"""Values and names as text for people: short, on one line, without what acts on a terminal.

Standard library only: the model card uses it, and the Scipion plugin reads that.
"""
from __future__ import annotations

import os
import reprlib
import unicodedata
from typing import Any, List, Union

LONGEST = 80  # characters of a value in a message
LONGEST_NAME = 300  # a path is there to be copied, so more of it is shown
MOST_BITS = 256  # of a whole number that is written out
# Cc and Cf act on a terminal (escapes, marks of the writing direction), Cs cannot be encoded at
# all, Zl and Zp begin a line.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


class _Short(reprlib.Repr):
    """`repr` that looks at few parts of a value only, however large it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 4
        self.maxstring = self.maxother = LONGEST

    def repr_int(self, value: int, level: int) -> str:
        """Python refuses to write out, or takes long for, thousands of digits."""
        if value.bit_length() > MOST_BITS:
            return f"a whole number of {value.bit_length() // 10 * 3} digits"
        return repr(value)


def shown(value: Any) -> str:
    """A value for a message, as Python writes it, at most `LONGEST` characters."""
    return printable(_Short().repr(value), LONGEST)


def printable(text: Union[str, bytes, os.PathLike[str]], longest: int = LONGEST_NAME) -> str:
    """A text of anybody's making on one line; what is not to be seen is written as its code.

    What is longer than ``longest`` characters loses its middle.
    """
    whole = text if isinstance(text, str) else os.fsdecode(text)
    if len(whole) > longest:
        whole = f"{whole[: longest // 2]}...{whole[-(longest // 2 - 3) :]}"
    if whole.isprintable() and whole.isascii():
        return whole
    return "".join(_visible(character) for character in whole)


def safe_lines(text: str) -> str:
    """A whole message that may have lines of its own; only what acts on a terminal is replaced."""
    if text.isascii() and text.isprintable():
        return text
    kept: List[str] = [c if c in "\n\t" else _visible(c) for c in text]
    return "".join(kept)


def plain_labels(figure: Any) -> None:
    """Draw titles, labels and legends of a matplotlib figure as they are written.

    Otherwise dollar signs in a file's name begin a formula, which may be none.
    """
    texts = [*figure.texts, getattr(figure, "_suptitle", None)]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        legend = axes.get_legend()
        texts += [] if legend is None else legend.get_texts()
    for text in texts:
        if text is not None:
            text.set_parse_math(False)
            written = text.get_text()
            lines = [printable(line.replace("\t", " "), LONGEST) for line in written.split("\n")]
            if lines != written.split("\n") and not written.isprintable() or len(written) > LONGEST:
                text.set_text("\n".join(lines))
            text.set_text(safe_lines(text.get_text()))


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
