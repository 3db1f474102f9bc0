"""The demo: its steps in order, told as a story; what was done before is skipped."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple

from dual_core import __version__
from dual_core.demo.plan import DemoPlan, DemoScale
from dual_core.demo.record import Record, Row, read_scores
from dual_core.demo.steps import Bar, Demo, Report, Stopped

logger = logging.getLogger(__name__)


class DemoResult(NamedTuple):
    """The scores, a row a method, and how the demo ended: ``finished`` or a signal's name."""

    scores: List[Row]
    reason: str


@contextlib.contextmanager
def _no_bar(label: str, unit: str) -> Iterator[Report]:
    yield lambda done, total: None


def run_demo(
    output: Path,
    minutes: float = 15.0,
    seed: int = 0,
    say: Callable[[str], None] = logger.info,
    bar: Bar = _no_bar,
    scale: DemoScale = DemoScale(),  # noqa: B008 (frozen)
) -> DemoResult:
    """Run the demo, or what is left of it: a step whose result is there is skipped.

    Parameters
    ----------
    output : folder for everything, new or that of an earlier run with the same seed.
    minutes : time for the whole; training gets what the other steps leave, at least a quarter.
    seed : of everything random.
    say : called with each line of the story.
    bar : ``bar(label, unit)``: a context manager that gives ``report(done, total)``.
    scale : how large the demo is.

    Raises
    ------
    DualError
        If the folder holds something else.
    """
    demo = Demo(DemoPlan(Path(output), seed, scale), minutes, say, bar)
    record = Record(
        Path(output), {"version": __version__, "seed": seed, "scale": asdict(scale)}
    )
    steps = demo.steps()
    for number, step in enumerate(steps, start=1):
        say(f"\n{number}/{len(steps)} {step.sentence}")
        if step.command:
            say(f"    $ {step.command}")
        facts = record.facts(step.name, step.outputs)
        # What follows a step that was done anew is stale; training that was cut short may go on.
        if facts and not demo.anew and minutes <= facts.get("enough_for_min", minutes):
            say("    finished before: skipped")
            continue
        begun = time.monotonic()
        try:
            facts = step.work()
        except Stopped as stopped:
            say(f"    stopped by {stopped}; the same command goes on from here")
            return DemoResult([], str(stopped))
        seconds = time.monotonic() - begun
        record.add(step.name, {"seconds": round(seconds, 1), **facts})
        demo.anew = True
        say(f"    done in {seconds:.0f} s")
    return DemoResult(read_scores(demo.plan.scores), "finished")
