"""The picture of benchmarks/faults.py: every kill of every command."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Kill(NamedTuple):
    """When a command was killed, in its length, by what, whether it still ran, and went wrong."""

    command: str
    moment: float
    signal: str
    in_time: bool
    wrong: bool


def draw(kills: Sequence[Kill], signals: Sequence[str], path: Path) -> None:
    """A picture of every kill: when, by which signal, and whether anything went wrong."""
    names = list(dict.fromkeys(kill.command for kill in kills))
    figure = Figure(figsize=(8, 0.8 + 0.3 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, marker), colour in zip(zip(signals, "x^so"), ("C0", "C1", "C2", "C4")):
        own = [kill for kill in kills if kill.signal == name]
        axes.scatter([kill.moment for kill in own], [names.index(kill.command) for kill in own],
                     marker=marker, s=28, color=colour, label=name)
    late = [kill for kill in kills if not kill.in_time]
    axes.scatter([kill.moment for kill in late], [names.index(kill.command) for kill in late],
                 marker="_", s=90, color="0.5", label="had ended")
    wrong = [kill for kill in kills if kill.wrong]
    axes.scatter([kill.moment for kill in wrong], [names.index(kill.command) for kill in wrong],
                 s=140, facecolors="none", edgecolors="red", label=f"went wrong: {len(wrong)}")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("moment of the kill, in the length of an undisturbed run")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=110)
