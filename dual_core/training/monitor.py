"""What a training run tells: the history, and warnings of the ways in which it can go wrong."""
from __future__ import annotations

import json
import logging
import math
from collections import deque
from pathlib import Path
from typing import Any, Deque, Dict, List, Mapping, Optional

from dual_core.errors import DualError
from dual_core.networks.model import write_atomically
from dual_core.safety.checks import is_plain
from dual_core.safety.documents import LARGEST_JSON, parse_json
from dual_core.safety.limits import ITERATIONS
from dual_core.safety.shown import printable, shown

logger = logging.getLogger(__name__)

HISTORY = "history.jsonl"
WINDOW = 100  # iterations that a judgement looks back on
SMUGGLING = 0.9  # correlation of a tomogram with its reconstruction; noise cannot be predicted
DISCRIMINATOR_WINS = 0.05  # loss per discriminator; 1.39 is a coin's
CONSTANT = 0.02  # deviation of the denoiser's output, in deviations of the clean domain


class History:
    """``history.jsonl``: a line for each logged iteration, with every loss term.

    Parameters
    ----------
    run : the training directory.
    resumed_at : iteration of the checkpoint that the run goes on from; later lines, which the
        interrupted run wrote after its last checkpoint, are dropped. None starts anew.
    """

    def __init__(self, run: Path, resumed_at: Optional[int] = None) -> None:
        self._path = run / HISTORY
        kept: List[str] = []
        if resumed_at is not None:
            kept = [
                json.dumps(entry)
                for entry in read_history(run)
                if entry["iteration"] <= resumed_at
            ]
        write_atomically(self._path, "".join(line + "\n" for line in kept).encode())

    def add(self, entry: Dict[str, Any]) -> None:
        """Append one line.

        Raises
        ------
        DualError
            When the disk is full or the file cannot be written.
        """
        try:
            with open(self._path, "a") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise DualError(
                f"{self._path} cannot be written ({error.strerror}); free disk space, then "
                "continue with --resume"
            ) from error


def read_history(run: Path) -> List[Dict[str, Any]]:
    """The entries of a run's history, each with its ``iteration``; `wrong_entry` says what is one.

    A last line cut short by a crash is left out. So is any other that is no entry, with a warning
    that names the first.
    """
    path = run / HISTORY
    entries: List[Dict[str, Any]] = []
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_JSON:
            return entries
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return entries
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
            problem = wrong_entry(entry)
        except ValueError:
            problem = "is no JSON"
            if number == len(lines):  # without its line feed: cut short
                continue
        if problem:
            problems.append(f"line {number} {problem}")
        else:
            entries.append(entry)
    if problems:
        logger.warning(
            "%s: %d of its lines are left out; %s", printable(path), len(problems), problems[0]
        )
    return entries


def wrong_entry(entry: Any) -> str:
    """What is wrong with an entry of the history, or nothing.

    Its ``iteration`` is a whole number, ``seconds`` is not negative, ``warnings`` are lines of
    text, and everything else is a finite number.
    """
    if not isinstance(entry, Mapping):
        return "holds no fields with names"
    for name, value in entry.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name == "warnings":
            good = isinstance(value, list) and is_plain(value)
        elif name == "iteration":
            good = isinstance(value, int) and number and ITERATIONS.hold(value)
        else:
            good = number and math.isfinite(value) and abs(value) < 2**63
            good = good and (name != "seconds" or value >= 0)
        if not good:
            return f"has {shown(value)} as its field {shown(name)}"
    return "" if "iteration" in entry else "has no field 'iteration'"


def all_finite(values: Mapping[str, float]) -> bool:
    """Whether every number is finite."""
    return all(map(math.isfinite, values.values()))


class Watch:
    """Looks at the last iterations and names a collapse, once for each kind."""

    def __init__(self) -> None:
        self._recent: Deque[Dict[str, float]] = deque(maxlen=WINDOW)
        self._told: List[str] = []

    def look(self, values: Dict[str, float]) -> List[str]:
        """Take in one iteration; the warnings that are new with it."""
        self._recent.append(values)
        if len(self._recent) < WINDOW:
            return []
        warnings = []
        for name, message in self._signs().items():
            if name not in self._told:
                self._told.append(name)
                logger.warning(message)
                warnings.append(message)
        return warnings

    def _signs(self) -> Dict[str, str]:
        signs: Dict[str, str] = {}
        if self._mean("loss_discriminators") < 2 * DISCRIMINATOR_WINS:
            signs["discriminator"] = (
                "the discriminators always win, so the generators learn little; lower "
                "--learning-rate or check that both domains show the same kind of sample"
            )
        if self._mean("deviation_denoised") < CONSTANT:
            signs["constant"] = (
                "the denoiser's output is nearly constant; check the contrast and the voxel "
                "sizes, or start again with another --seed"
            )
        if self._mean("cc_denoised") < 0:
            signs["sign"] = (
                "the denoised tomogram is the negative of the tomogram; give --contrast, or start "
                "again with another --seed"
            )
        if self._mean("cc_tomogram") > SMUGGLING:
            signs["smuggling"] = (
                "tomograms are reconstructed with their noise, which then hides in the denoised "
                "volumes; use --method stable"
            )
        return signs

    def _mean(self, name: str) -> float:
        return sum(values[name] for values in self._recent) / len(self._recent)
