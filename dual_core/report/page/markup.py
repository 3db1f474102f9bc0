"""HTML from nested function calls: no text can break a page or turn its writing."""

from __future__ import annotations

import html
from typing import Any, Dict, Iterable, Sequence, Union

from dual_core.safety.shown import safe_lines

VOID = ("img", "meta", "br", "input", "link")


class Markup(str):
    """Text that is HTML already; any other text is escaped when it comes into an element."""


# Lists may be nested, which mypy cannot say of an alias that names itself.
Child = Union[str, int, float, None, Markup, Iterable[Any]]




def element(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return ``<name attributes>children</name>``.

    Parameters
    ----------
    name : str
    children : text, numbers, markup, or lists of them
        None is left out. Text is escaped.
    attributes : object
        ``class_`` stands for ``class`` and ``data_start`` for ``data-start``. None and False are
        left out, True gives an attribute without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{together(*children)}</{name}>")


def together(*children: Child) -> Markup:
    """Return children one after the other, without an element around them."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(str(child))
        elif isinstance(child, (str, int, float)):
            parts.append(html.escape(safe_lines(str(child))))
        else:
            parts.append(str(together(*child)))
    return Markup("".join(parts))


def table(head: Sequence[Child], rows: Iterable[Sequence[Child]], **attributes: object) -> Markup:
    """Return a table that scrolls in itself where the screen is narrower; first cells are heads."""
    body = [
        element("tr", element("th", row[0], scope="row"), [element("td", c) for c in row[1:]])
        for row in rows
    ]
    titles = element("thead", element("tr", [element("th", c, scope="col") for c in head]))
    inner = element("table", titles if head else None, element("tbody", body), **attributes)
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label="table")


def fold(summary: Child, *children: Child, open_: bool = False) -> Markup:
    """Return ``<details>``: hidden until the reader asks for it."""
    inside = element("div", *children, class_="folded")
    return element("details", element("summary", summary), inside, open=open_)


def facts(pairs: Dict[str, Child]) -> Markup:
    """Return a description list, without the pairs whose value is None."""
    rows = [
        element("div", element("dt", name), element("dd", value))
        for name, value in pairs.items()
        if value is not None
    ]
    return element("dl", rows)


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(safe_lines(str(value)))}"'
