"""What a training directory tells without its weights: how far it got, with what, and warnings."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from dual_core.errors import DualError
from dual_core.networks.card import MODEL_FILE, ModelCard, read_card
from dual_core.safety.checks import is_plain
from dual_core.safety.documents import read_yaml
from dual_core.training.loop import CONFIG
from dual_core.training.monitor import HISTORY, read_history
from dual_core.training.previews import FOLDER as PREVIEWS

logger = logging.getLogger(__name__)

OPTIONS = "train.yaml"  # written by 'dual train'
MOST_PREVIEWS = 8


@dataclass(frozen=True)
class RunFolder:
    """A training directory, finished or not.

    Attributes
    ----------
    path : pathlib.Path
    card : ModelCard, optional
        None while there is no model yet.
    config : dict
        ``config.yaml``: what was trained; empty where it is missing.
    options : dict
        ``train.yaml``: the options of ``dual train``; empty where it is missing.
    history : list of dict
    """

    path: Path
    card: Optional[ModelCard]
    config: Mapping[str, Any]
    options: Mapping[str, Any]
    history: List[Dict[str, Any]]

    @property
    def name(self) -> str:
        """Name of the directory, without where it is."""
        return self.path.resolve().name

    @property
    def empty(self) -> bool:
        """Whether it tells nothing of a training: the page is then on given volumes alone."""
        return self.card is None and not (self.config or self.options or self.history)

    @property
    def model(self) -> Path:
        """Where the model is or will be."""
        return self.path / MODEL_FILE

    @property
    def iterations(self) -> int:
        """How far the training got."""
        told = [int(line["iteration"]) for line in self.history]
        return max(told + [0 if self.card is None else self.card.iterations])

    @property
    def total(self) -> Optional[int]:
        """How many iterations the run is to have, where ``config.yaml`` says it."""
        wanted = self.config.get("iterations")
        return wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else None

    @property
    def finished(self) -> bool:
        """Whether there is a model of the whole run."""
        if self.card is None:
            return False
        return self.total is None or self.card.iterations >= self.total

    @property
    def minutes(self) -> Optional[float]:
        """Time that the training took; its clock starts anew when a run is resumed."""
        total = last = 0.0
        for line in self.history:
            seconds = line.get("seconds")
            if isinstance(seconds, (int, float)):
                total += last if seconds < last else 0.0
                last = float(seconds)
        return (total + last) / 60 if total + last > 0 else None

    @property
    def warnings(self) -> List[Tuple[int, str]]:
        """``(iteration, message)`` of every warning that was logged during the training."""
        found = []
        for line in self.history:
            messages = line.get("warnings")
            for message in messages if isinstance(messages, list) else []:
                found.append((int(line.get("iteration", 0)), str(message)))
        return found

    def previews(self, kind: str) -> List[Tuple[int, Path]]:
        """``(iteration, file)`` of the preview pictures ``slices`` or ``spectra``, thinned out."""
        found = []
        for path in sorted((self.path / PREVIEWS).glob(f"{kind}_*.png")):
            number = re.fullmatch(rf"{kind}_(\d+)\.png", path.name)
            if number:
                found.append((int(number.group(1)), path))
        if len(found) <= MOST_PREVIEWS:
            return found
        step = (len(found) - 1) / (MOST_PREVIEWS - 1)
        return [found[round(i * step)] for i in range(MOST_PREVIEWS)]

    def data(self, domain: str) -> List[Dict[str, Any]]:
        """What is known of the volumes of the ``noisy`` or ``clean`` domain."""
        if self.card is not None:
            return list(getattr(self.card, f"{domain}_domain"))
        given = self.options.get(domain)
        return [{"name": Path(str(path)).name} for path in given] if isinstance(given, list) else []


def open_run(path: Path) -> RunFolder:
    """Read a training directory.

    Raises
    ------
    DualError
        If it is none, or its model is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise DualError(f"{path}: no such folder; give the --output folder of 'dual train'")
    if not path.is_dir():
        raise DualError(f"{path}: is a file; give the --output folder of 'dual train'")
    if not any((path / name).is_file() for name in (MODEL_FILE, CONFIG, HISTORY)):
        raise DualError(
            f"{path}: is no training directory (no {MODEL_FILE}, {CONFIG} or {HISTORY} in it); "
            "give the --output folder of 'dual train'"
        )
    card = read_card(path / MODEL_FILE) if (path / MODEL_FILE).is_file() else None
    options = _yaml(path / OPTIONS)
    return RunFolder(path, card, _yaml(path / CONFIG), options, read_history(path))


def _yaml(path: Path) -> Dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = read_yaml(path)
    except DualError as error:
        logger.warning("%s; the report goes on without it", error)
        return {}
    if not isinstance(content, dict) or not is_plain(content):
        logger.warning("%s: not a mapping of plain values; the report goes on without it", path)
        return {}
    return content
