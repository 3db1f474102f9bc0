"""The trust report as the page shows it, read from the folder of ``dual evaluate trust``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from dual_core.errors import DualError
from dual_core.report.pictures import Picture, file_picture
from dual_core.safety.documents import read_json

logger = logging.getLogger(__name__)

FILE = "trust.json"
VERDICTS = ("green", "amber", "red")  # from good to bad
# Figures of `dual_core.evaluation.trust.figures`; others are called by their names.
CAPTIONS = {
    "slices": "Raw, denoised, the share of the structure in the raw tomogram, and what was removed",
    "spectra": "Power spectra of the raw tomogram, of the structure and of what was removed",
    "noise": "Noise, denoised (below), in the grey scale of the upper row: it should be empty",
    "same_spectrum": "The tomogram with random phases, denoised (below), in the same grey scale",
    "deviation": "Where the result depends on how the volume lies: bright means do not trust it",
    "halves": "Fourier shell correlation of the halves, raw and denoised",
}


@dataclass(frozen=True)
class Finding:
    """One number of the trust report and how to read it."""

    title: str
    value: str
    verdict: str
    sentence: str


@dataclass(frozen=True)
class TomogramTrust:
    """What was found on one tomogram, with figures by name."""

    name: str
    findings: List[Finding]
    figures: List[Tuple[str, Picture]]


@dataclass(frozen=True)
class Trust:
    """A trust report; ``verdict`` is one of `VERDICTS` or empty."""

    verdict: str
    tomograms: List[TomogramTrust]

    @property
    def worst_first(self) -> List[Finding]:
        """All findings, red before amber before green; of one kind in their order."""
        order = {name: place for place, name in enumerate(reversed(VERDICTS))}
        findings = [f for tomogram in self.tomograms for f in tomogram.findings]
        return sorted(findings, key=lambda f: order.get(f.verdict, len(order)))


def read_trust(folder: Path) -> Trust:
    """Read ``trust.json`` and the figures that it names.

    Raises
    ------
    DualError
        If it is missing or damaged.
    """
    path = Path(folder) / FILE
    mend = "make it with 'dual evaluate trust --output DIR'"
    try:
        content = read_json(path, undefined=True)
        tomograms = [_tomogram(entry, Path(folder)) for entry in content["tomograms"]]
        return Trust(_verdict(content.get("verdict")), tomograms)
    except FileNotFoundError as error:
        raise DualError(f"{path}: no such file; {mend}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DualError(f"{path}: is no trust report or is damaged; {mend}") from error


def _tomogram(entry: Mapping[str, Any], folder: Path) -> TomogramTrust:
    findings = [
        Finding(
            title=str(found["title"]),
            value=number(found.get("value"), str(found.get("unit") or "")),
            verdict=_verdict(found.get("verdict")),
            sentence=str(found.get("sentence") or ""),
        )
        for found in entry["findings"]
    ]
    figures = []
    names: Dict[str, str] = dict(entry.get("figures") or {})
    for title, name in names.items():
        # Only what lies in the folder: the file may come from elsewhere.
        path = folder / Path(str(name)).name
        try:
            caption = CAPTIONS.get(str(title), str(title).replace("_", " "))
            figures.append((caption, file_picture(path)))
        except DualError as error:
            logger.warning("%s", error)
    return TomogramTrust(Path(str(entry.get("name", ""))).name, findings, figures)


def number(value: object, unit: str = "") -> str:
    """Write a number with three digits that count, and its unit; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value) if isinstance(value, str) else "–"
    if value != value:
        return "–"
    written = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{written} {unit}".strip() if unit != "%" else f"{written} %"


def _verdict(value: object) -> str:
    return str(value) if value in VERDICTS else ""
