"""The engine's results of an evaluation as numbers and as lines for people."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional, Sequence

VERDICTS = ("green", "amber", "red")
AGAINST_TRUTH = {"cc": "correlation", "psnr_db": "PSNR (dB)", "ssim": "SSIM"}
MOST_TITLES = 3


def read_json(path: str) -> Optional[Any]:
    """What is in a file of results; ``None`` where there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def trust_numbers(path: str) -> Dict[str, Any]:
    """Of ``trust.json``: how many findings have which verdict, and the titles of the bad ones."""
    report = read_json(path)
    if not report:
        return {}
    findings = [found for tomogram in report["tomograms"] for found in tomogram["findings"]]
    counts = {one: sum(f["verdict"] == one for f in findings) for one in VERDICTS}
    bad = [f["title"] for one in ("red", "amber") for f in findings if f["verdict"] == one]
    return {"verdict": report["verdict"], "counts": counts, "bad": list(dict.fromkeys(bad))}


def halves_numbers(path: str) -> Dict[str, Any]:
    """Of ``half_coherence.json``: what is pooled over all tomograms, or of the only one."""
    found = read_json(path)
    if not found or "problem" in found:
        return dict(found or {})
    return {"finding": found[-1]["finding"], "shells": found[-1]["shells"]}


def truth_numbers(paths: Sequence[str]) -> Dict[str, Any]:
    """Of the ``scores.json`` of each tomogram, raw before denoised: means of both."""
    pairs = [found["scores"] for found in map(read_json, paths) if found]
    means: Dict[str, Any] = {}
    for key in AGAINST_TRUTH:
        known = [(raw[key], done[key]) for raw, done in pairs if None not in (raw[key], done[key])]
        if known:
            raw, done = (sum(values) / len(known) for values in zip(*known))
            means[key] = {"raw": raw, "denoised": done}
    return {"tomograms": len(pairs), "means": means} if means else {}


def pick_numbers(path: str) -> Dict[str, Any]:
    """Of ``picks.json``: the means, and the sums over all tomograms."""
    found = read_json(path)
    if not found:
        return {}
    rows = found["scores"]
    numbers: Dict[str, Any] = {
        key: sum(row[key] for row in rows) for key in ("particles", "picks", "found")
    }
    numbers.update({key: told["mean"] for key, told in found["summary"].items()})
    return {**numbers, "tomograms": len(rows), "tolerance_A": found["tolerance_A"]}


def write_numbers(path: str, numbers: Dict[str, Any]) -> None:
    """Write them whole or not at all."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(numbers, stream, indent=1)
    os.replace(temporary, path)


def told(numbers: Dict[str, Any]) -> List[str]:
    """The lines of the summary."""
    lines = []
    trust, truth, picks = (numbers.get(key) or {} for key in ("trust", "truth", "picks"))
    if trust:
        counts = ", ".join(f"{trust['counts'][one]} {one}" for one in VERDICTS)
        lines.append(f"*Trust*: {trust['verdict']} ({counts}).")
        if trust["bad"]:
            more = len(trust["bad"]) - MOST_TITLES
            titles = "; ".join(trust["bad"][:MOST_TITLES]) + (f"; {more} more" if more > 0 else "")
            lines.append(f"Look at: {titles}.")
    lines += _told_of_halves(numbers.get("halves") or {})
    if truth:
        parts = [
            f"{AGAINST_TRUTH[key]} {mean['raw']:.3g} raw, {mean['denoised']:.3g} denoised"
            for key, mean in truth["means"].items()
        ]
        lines.append(f"*Against the truth* (tomograms: {truth['tomograms']}): {'; '.join(parts)}.")
    if picks:
        lines.append(
            f"*Picks* (tomograms: {picks['tomograms']}): precision {picks['precision']:.3f}, "
            f"recall {picks['recall']:.3f}, F1 {picks['f1']:.3f}; {picks['found']} of "
            f"{picks['particles']} particles found by {picks['picks']} picks within "
            f"{picks['tolerance_A']:g} A."
        )
    return lines


def _told_of_halves(halves: Dict[str, Any]) -> List[str]:
    if "problem" in halves:
        return [f"*Half maps*: they could not be compared: {halves['problem']}."]
    if not halves:
        return []
    finding = halves["finding"]
    shells = ", ".join(
        f"{shell['ratio']:.2f} at {shell['detail_A']:.0f} A (limit {shell['limit']:.2f})"
        for shell in halves["shells"]
        if shell["ratio"] is not None
    )
    return [
        f"*Half maps* (tomograms: {halves['tomograms']}): {finding['verdict']}. "
        f"{finding['sentence']}",
        f"Half coherence against a filter: {shells}.",
    ]
