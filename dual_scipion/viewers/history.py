"""What a training wrote so far: curves, warnings, preview pictures. Files only, no window."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

HISTORY, PREVIEWS, CONFIG = "history.jsonl", "previews", "config.yaml"
PREVIEW_KINDS = ("slices", "spectra")
_WINDOW = 25  # lines of the history that a smooth curve averages


class CurvePanel(NamedTuple):
    """Curves that are drawn together.

    Attributes
    ----------
    title : str
    reading : str
        What a healthy run looks like.
    unit : str
        Of the vertical axis.
    curves : pairs of name in the history and label.
    """

    title: str
    reading: str
    unit: str
    curves: Tuple[Tuple[str, str], ...]


PANELS: Tuple[CurvePanel, ...] = (
    CurvePanel(
        "Correlation",
        "clean: rises to 0.85 to 0.95; noisy: stays below 0.9",
        "correlation",
        (
            ("cc_density", "clean, there and back"),
            ("cc_tomogram", "noisy, there and back"),
            ("cc_denoised", "tomogram with denoised"),
            ("cc_simulated", "grand model with simulated"),
        ),
    ),
    CurvePanel(
        "Reconstruction",
        "there and back: falls and levels off",
        "loss (logarithm)",
        (("loss_density", "clean volumes"), ("loss_tomogram", "tomograms")),
    ),
    CurvePanel(
        "Spread of the results",
        "around 1; near 0 the network draws nothing",
        "standard deviation",
        (("deviation_denoised", "denoised"), ("deviation_simulated", "simulated")),
    ),
    CurvePanel(
        "Adversarial",
        "goes up and down; discriminators are not near 0 for long",
        "loss",
        (
            ("loss_adversarial_t", "simulated tomograms"),
            ("loss_adversarial_v", "denoised volumes"),
            ("loss_discriminators", "discriminators"),
        ),
    ),
    CurvePanel(
        "Linear model and noise code",
        "linear model and rehearsals fall or stay low",
        "loss",
        (
            ("loss_calibration", "linear model"),
            ("loss_rehearsal", "denoiser, rehearsal"),
            ("loss_generator_rehearsal", "generator, rehearsal"),
            ("loss_noise_code", "noise code"),
        ),
    ),
    CurvePanel(
        "Total", "all terms of the generators; it need not fall", "loss", (("loss", "total"),)
    ),
)


class Training(NamedTuple):
    """A run as far as it got.

    Attributes
    ----------
    history : the lines of ``history.jsonl`` that are whole.
    total : how many iterations it is to have, where that is known.
    warnings : ``(iteration, message)`` of what the engine warned of.
    previews : kind of picture to ``(iteration, path)``, in order.
    """

    history: List[Dict[str, Any]]
    total: Optional[int]
    warnings: List[Tuple[int, str]]
    previews: Dict[str, List[Tuple[int, str]]]

    @property
    def iterations(self) -> int:
        """How far the training got."""
        return int(self.history[-1]["iteration"]) if self.history else 0

    @property
    def finished(self) -> bool:
        """Whether the last iteration has been done."""
        return self.total is not None and self.iterations >= self.total


def read_training(folder: str) -> Training:
    """Read a training directory; what is not there yet is empty, never an error."""
    history = read_history(os.path.join(folder, HISTORY))
    warnings = [
        (int(line["iteration"]), str(message))
        for line in history
        for message in _list(line.get("warnings"))
    ]
    previews = {kind: find_previews(os.path.join(folder, PREVIEWS), kind) for kind in PREVIEW_KINDS}
    return Training(history, _total(os.path.join(folder, CONFIG)), warnings, previews)


def fingerprint(folder: str) -> Tuple[Any, ...]:
    """Something that is another one as soon as there is news in a training directory."""
    found: List[Any] = []
    for name in (HISTORY, PREVIEWS, CONFIG):
        try:
            state = os.stat(os.path.join(folder, name))
        except OSError:
            found.append(None)
        else:
            found.append((state.st_mtime_ns, state.st_size))
    return tuple(found)


def read_history(path: str) -> List[Dict[str, Any]]:
    """The lines of a history that are whole; the engine may be writing the last one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and is_number(entry.get("iteration")):
            found.append(entry)
    return found


def is_number(value: Any) -> bool:
    """Whether a value of the history can be drawn: a finite number."""
    kind = isinstance(value, (int, float)) and not isinstance(value, bool)
    return kind and math.isfinite(value)


def _list(value: Any) -> List[Any]:
    return value if isinstance(value, list) else []


def _total(path: str) -> Optional[int]:
    """The number of iterations in ``config.yaml``, without a library for YAML."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = re.search(r"^iterations:\s*(\d+)\s*$", stream.read(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return int(found.group(1)) if found else None


def find_previews(folder: str, kind: str) -> List[Tuple[int, str]]:
    """``(iteration, path)`` of the preview pictures of a kind, in order of the iterations."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = ((re.fullmatch(rf"{kind}_(\d+)\.png", name), name) for name in names)
    return sorted((int(m.group(1)), os.path.join(folder, name)) for m, name in found if m)


def curve(history: Sequence[Dict[str, Any]], name: str) -> Tuple[np.ndarray, np.ndarray]:
    """Iterations and values of one curve; lines that lack it or are not finite are left out."""
    points = [(line["iteration"], line[name]) for line in history if is_number(line.get(name))]
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def smooth(values: np.ndarray) -> np.ndarray:
    """The running mean, over fewer values near the ends and in short runs."""
    half = min(_WINDOW, values.size // 8 + 1) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(values.size)
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, values.size)
    return np.asarray((sums[high] - sums[low]) / (high - low))


def progress_text(training: Training) -> str:
    """How far the training got, how long that took and what is left."""
    total = "" if training.total is None else f" of {training.total}"
    told = f"{training.iterations}{total} iterations"
    clock = [line["seconds"] for line in training.history if is_number(line.get("seconds"))]
    if clock:
        # The clock starts anew when a run is continued.
        spent = clock[-1] + sum(a for a, b in zip(clock, clock[1:]) if b < a)
        told += f" in {duration(spent)}"
    if training.finished:
        return told + ". The training is finished."
    left = _seconds_left(training)
    return told + ("." if left is None else f", about {duration(left)} left while it runs.")


def _seconds_left(training: Training) -> Optional[float]:
    recent = [line for line in training.history[-_WINDOW:] if is_number(line.get("seconds"))]
    if training.total is None or len(recent) < 2:
        return None
    seconds = recent[-1]["seconds"] - recent[0]["seconds"]
    iterations = recent[-1]["iteration"] - recent[0]["iteration"]
    if seconds <= 0 or iterations <= 0:
        return None
    return float((training.total - training.iterations) * seconds / iterations)


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
