"""The numbers of the trust report, how they are worded, and their thresholds.

`THRESHOLDS` are explained in ``docs/trust.md``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from dual_core.networks.model import write_atomically

FILE = "trust.json"
VERDICTS = ("green", "amber", "red")  # from good to bad

# Key -> (title, unit, green up to, amber up to); red beyond. Where green is the larger of the two
# limits large values are the good ones.
THRESHOLDS: Dict[str, Tuple[str, str, float, float]] = {
    "half_coherence": ("Does the result know more than a filter?", "", 1.0, 0.95),
    "explained": ("Part of the tomogram that the structure explains", "", 0.05, 0.01),
    "scale": ("Scale of the structure on its way back", "", 0.60, 0.25),
    "removed_correlation": ("Correlation of what was removed with the result", "", 0.45, 0.70),
    "structure_left": ("Structure left in what was removed", "", 0.15, 0.35),
    "noise_picks": ("Particles found in noise", "", 0.15, 0.40),
    "noise_energy": ("Structure made from noise", "", 0.60, 0.80),
    "same_spectrum": ("Noise explained, relative to the tomogram", "", 0.85, 0.95),
    "flips": ("Deviation over flips", "", 0.25, 0.50),
    "halves_fsc": ("Agreement of denoised halves against raw halves", "", -0.02, -0.10),
    "halves_noise": ("Structure made from the difference of the halves", "", 0.60, 0.80),
}


@dataclass(frozen=True)
class Finding:
    """One number, its verdict (``green``, ``amber`` or ``red``) and how to read it.

    ``value`` is None where it could not be measured, the verdict empty where there is none to give.
    """

    key: str
    title: str
    value: Optional[float]
    unit: str
    verdict: str
    sentence: str

    def as_dict(self) -> Dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge(key: str, value: Optional[float]) -> str:
    """Verdict of a value by `THRESHOLDS`; amber where there is no value."""
    if value is None:
        return "amber"
    _, _, green, amber = THRESHOLDS[key]
    sign = 1 if green <= amber else -1
    if sign * value <= sign * green:
        return "green"
    return "amber" if sign * value <= sign * amber else "red"


def finding(key: str, value: Optional[float], sentence: str) -> Finding:
    """A finding with title, unit and verdict of its key."""
    title, unit = THRESHOLDS[key][:2]
    return Finding(key, title, value, unit, judge(key, value), sentence)


def worst(verdicts: Sequence[str]) -> str:
    """The worst of some verdicts, empty ones left out; green of none."""
    return max(filter(None, verdicts), key=VERDICTS.index, default="green")


@dataclass(frozen=True)
class TomogramTrust:
    """The findings about one tomogram and its figures (title -> file name)."""

    name: str
    findings: List[Finding]
    figures: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrustReport:
    """The trust report of a model on tomograms."""

    model: str
    tomograms: List[TomogramTrust]

    @property
    def findings(self) -> List[Finding]:
        """All findings of all tomograms."""
        return [one for tomogram in self.tomograms for one in tomogram.findings]

    @property
    def verdict(self) -> str:
        """The worst verdict of all."""
        return worst([one.verdict for one in self.findings])

    def as_dict(self) -> Dict[str, Any]:
        """Plain values, as in `FILE`."""
        return {
            "model": self.model,
            "tomograms": [
                {
                    "name": one.name,
                    "verdict": worst([found.verdict for found in one.findings]),
                    "findings": [found.as_dict() for found in one.findings],
                    "figures": one.figures,
                }
                for one in self.tomograms
            ],
            "verdict": self.verdict,
        }

    def write(self, folder: Path) -> Path:
        """Write `FILE` into a folder."""
        path = folder / FILE
        text = json.dumps(self.as_dict(), indent=1, allow_nan=False)
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
        return path


@dataclass(frozen=True)
class PickCounts:
    """Particles found in four volumes with one absolute threshold.

    ``real``: the denoised tomogram; ``noise``: the denoised copy of what was removed, with random
    phases; ``same_spectrum``: the denoised copy of the tomogram with random phases;
    ``diameter_A`` of the particle.
    """

    real: int
    noise: int
    same_spectrum: int
    diameter_A: float


# Below so many picks in the tomogram their ratio says nothing.
FEWEST_PICKS = 10


def coherence_finding(
    verdict: Optional[float], lowest: float, detail_A: float, halves: bool
) -> Finding:
    """Half coherence: the mean ratio over the judged shells, the lowest one and its detail."""
    source = (
        "Denoised, a half agrees with the other one as it was measured"
        if halves
        else "Denoised, one of two copies with independent noise agrees with the other"
    )
    if verdict is None:
        sentence = "Cannot be measured: no shell has a coherence in the usable range."
    else:
        sentence = (
            f"{source} {verdict:.2f} times as well as the raw one does, on average over the "
            f"usable shells (lowest: {lowest:.2f} at {detail_A:.0f} A). 1 is what any "
            "filter has; a little below it even the truth is in coarse shells, as solvent and "
            "thickness are in no density; far below it a filter would show more."
        )
    return finding("half_coherence", verdict, sentence)


def led_by_coherence(findings: Sequence[Finding]) -> List[Finding]:
    """The same, where half coherence is green without a verdict of its own for `same_spectrum`.

    Structure that fills a tomogram, as cytoplasm does, is explained no better by any good filter
    than its copy with random phases. Whether noise was learnt half coherence then tells directly.
    """
    if not any(one.key == "half_coherence" and one.verdict == "green" for one in findings):
        return list(findings)
    told = "It decides nothing here: the first line shows that it is not noise that was learnt."
    return [
        replace(one, verdict="green", sentence=f"{one.sentence} {told}")
        if one.key == "same_spectrum" and one.verdict != "green" else one
        for one in findings
    ]


def removed_findings(
    explained: float, factor: float, correlation: float, left: Optional[float],
    fitted: bool = False,
) -> List[Finding]:
    """What was removed: see `dual_core.evaluation.trust.examine.examine` for the numbers.

    Where the transfer was `fitted` to the tomogram, scale and correlation are what a fit leaves,
    whatever the model does: they are left out.
    """
    # A factor of 2 is as far from 1 as one of 1/2.
    scale = min(factor, 1 / factor) if factor > 0 else 0.0
    found = [
        finding(
            "explained",
            explained,
            f"The structure that was found accounts for {100 * explained:.1f} % of the tomogram's "
            "power at the scale of particles: near 0 the result has nothing to do with it.",
        ),
        finding(
            "scale",
            scale,
            f"Turned back into a tomogram, the result must be multiplied by {factor:.2g} to fit "
            "(shown: this or its inverse): near 1 for tomograms like those of the training.",
        ),
        finding(
            "removed_correlation",
            correlation,
            f"What was removed correlates by {correlation:.2f} with the result (0: only noise "
            "went; near 1: structure was smoothed away).",
        ),
    ]
    if left is None:
        sentence = (
            "Cannot be measured: the denoiser makes as much of noise as of the tomogram, so "
            "denoising what was removed tells nothing."
        )
    else:
        sentence = (
            f"Denoising what was removed once more gives {100 * left:.0f} % of the structure that "
            "the first pass gave, beyond what noise gives: this much was left behind."
        )
    return [*(found[:1] if fitted else found), finding("structure_left", left, sentence)]


def hallucination_findings(
    noise_energy: float, same_explained: Optional[float], picks: PickCounts
) -> List[Finding]:
    """What the model makes of volumes without structure.

    ``noise_energy``: strength of denoised noise over that of the denoised tomogram;
    ``same_explained``: how much of the copy of the same spectrum the model explains, over
    how much of the tomogram; None where it explains nothing of the tomogram.
    """
    ratio = picks.noise / picks.real if picks.real >= FEWEST_PICKS else None
    size = f"particles of {picks.diameter_A:g} A"
    if ratio is None:
        sentence = (
            f"Cannot be measured: only {picks.real} {size} in the denoised tomogram, "
            f"{picks.noise} in the denoised noise; give another --diameter."
        )
    else:
        sentence = (
            f"{picks.noise} {size} were found in denoised noise against {picks.real} in the "
            "denoised tomogram: about this share of what you see may be invented."
        )
    told = (
        "The model explains nothing of the tomogram, so nothing can be compared."
        if same_explained is None
        else f"A copy of the tomogram with random phases is explained {same_explained:.2f} times "
        "as well as the tomogram itself: near 1 and above the model has learnt noise, or there is "
        "nothing else in the tomogram."
    )
    return [
        finding("noise_picks", ratio, sentence),
        finding(
            "noise_energy",
            noise_energy,
            f"Denoised noise is {noise_energy:.2f} times as strong as the denoised tomogram: 0 "
            "is a denoiser that leaves noise empty, 1 one that cannot tell noise from structure.",
        ),
        finding(
            "same_spectrum",
            same_explained,
            f"{told} In it {picks.same_spectrum} particles were found ({picks.real} in the "
            "tomogram); many are no alarm, as it has the power of the structure as noise.",
        ),
    ]


def flips_finding(deviation: float, median: float) -> Finding:
    """How much the result depends on the orientation of the volume."""
    return finding(
        "flips",
        deviation,
        f"Over flipped copies the result varies by {deviation:.2f} of its deviation (root "
        f"mean square; median {median:.3f}): where the map is bright do not trust a detail.",
    )


def halves_findings(gain: float, raw_A: str, denoised_A: str, noise_energy: float) -> List[Finding]:
    """Halves: ``gain`` of the mean FSC, crossings at 0.5 as text, energy of the difference."""
    return [
        finding(
            "halves_fsc",
            gain,
            f"The FSC between the halves changes by {gain:+.2f} on average when each is denoised "
            f"by itself (crossing of 0.5: {raw_A} raw, {denoised_A} denoised): a fall means "
            "details that differ from half to half; a rise is consistency, not yet truth.",
        ),
        finding(
            "halves_noise",
            noise_energy,
            f"The difference of the halves, which is real noise, gives {noise_energy:.2f} times "
            "the strength that their mean gives: 0 is best, 1 is worst.",
        ),
    ]
