"""Pieces of the page that several sections use: figures, sliders, traffic lights."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from dual_core.report.page.markup import Child, Markup, element, together
from dual_core.report.page.views import Cut
from dual_core.report.pictures import Picture

LIGHTS = {"green": "good", "amber": "look twice", "red": "bad", "": "not judged"}


def image(picture: Picture, alt: str) -> Markup:
    """Return an ``<img>`` that holds its picture."""
    return element(
        "img", src=picture.data_uri, alt=alt, width=picture.width, height=picture.height
    )


def figure(picture: Picture, alt: str, caption: Child = None, class_: str = "paper") -> Markup:
    """Return a picture on white with a caption below."""
    return element(
        "figure",
        element("div", image(picture, alt), class_=class_),
        None if caption is None else element("figcaption", caption),
    )


def light(verdict: str, word: Optional[str] = None) -> Markup:
    """Return a traffic light; it says in a word what its colour says."""
    return element("span", LIGHTS[verdict] if word is None else word, class_=f"light {verdict}")


def panels(cut: Cut, name: str) -> Markup:
    """Return the pictures of one slice side by side, with a scale bar in the first."""
    figures: List[Markup] = []
    for label, picture in cut.panels:
        alt = f"{label} {cut.plane} slice {cut.index + 1} of {cut.sections}, {name}"
        bar = None
        if not figures:
            style = f"width:{100 * cut.bar_share:.2f}%"
            bar = element("span", f"{cut.bar_nm:g} nm", class_="bar", style=style)
        inside = element("div", image(picture, alt), bar, class_="picture")
        figures.append(element("figure", element("figcaption", label), inside))
    count = {3: "three", 4: "four"}[len(figures)]
    return element("div", figures, class_=f"panels {count}")


def frames(content: Sequence[Tuple[str, Markup]], label: str, start: int) -> Markup:
    """Return pictures under a slider, that of number ``start`` first.

    ``content`` holds a name and the pictures for each place of the slider.
    """
    inside = [
        element("div", element("h4", name), body, class_="frame", data_name=name)
        for name, body in content
    ]
    return element("div", inside, class_="frames", data_label=label, data_start=start)


def section(title: str, anchor: str, *children: Child) -> Markup:
    """Return a section with its heading."""
    return element("section", element("h2", title), *children, id=anchor)


def paragraph(*children: Child) -> Markup:
    """Return a paragraph."""
    return element("p", *children)


def soft(*children: Child) -> Markup:
    """Return a paragraph that stands back."""
    return element("p", *children, class_="soft")


def note(*children: Child) -> Markup:
    """Return a paragraph that must not be overlooked."""
    return element("div", together(*children), class_="note")
