"""The engine's record of what it did to each tomogram, for summaries."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Sequence


def read_results(paths: Iterable[str]) -> List[Dict[str, Any]]:
    """The results of the first volume in each record; records that cannot be read are left out."""
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as stream:
                results = json.loads(stream.readline())["results"]
        except (OSError, ValueError, KeyError):
            continue
        if isinstance(results, dict):
            found.append(results)
    return found


def range_text(values: Sequence[float]) -> str:
    """Mean and range of numbers, such as ``0.62 on average, 0.58 to 0.70``."""
    mean = sum(values) / len(values)
    return f"{mean:.2f} on average, {min(values):.2f} to {max(values):.2f}"
