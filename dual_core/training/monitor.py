"""What a training run tells: the history, and warnings of the ways in which it can go wrong."""
from __future__ import annotations

import json
import logging
from collections import deque
from pathlib import Path
from typing import Any, Deque, Dict, List, Optional

from dual_core.errors import DualError
from dual_core.networks.model import write_atomically

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
    """The entries of a run's history; a last line cut short by a crash is left out."""
    entries: List[Dict[str, Any]] = []
    try:
        lines = (run / HISTORY).read_text().splitlines()
    except FileNotFoundError:
        return entries
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


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
