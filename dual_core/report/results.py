"""The sections on what the model does: tomograms, truth, trust."""

from __future__ import annotations

from typing import List, Optional, Sequence

from dual_core.evaluation.truth.metrics import VolumeScores
from dual_core.report.page.markup import Markup, element, fold, table, together
from dual_core.report.page.parts import (
    figure,
    frames,
    image,
    light,
    panels,
    paragraph,
    section,
    soft,
)
from dual_core.report.page.views import Scores, TomogramView
from dual_core.report.pictures import Picture
from dual_core.report.trust import TomogramTrust, Trust, number

# Key of `VolumeScores.as_dict` -> heading, format, how to read it.
MEASURES = {
    "cc": ("CC", ".3f", "correlation of the voxels; 1 is the truth itself"),
    "cc_measured": (
        "CC measured", ".3f", "the same for the Fourier coefficients that the tilt series measured"
    ),
    "cc_wedge": (
        "CC wedge", ".3f", "the same in the missing wedge: what is right there is a good guess"
    ),
    "psnr_db": ("PSNR (dB)", ".2f", "CC on a logarithmic scale; higher is better"),
    "ssim": ("SSIM", ".3f", "likeness of small neighbourhoods; 1 is the truth itself"),
    "fsc_0.5_A": ("FSC 0.5 (Å)", ".1f", "finest detail that is half right; lower is better"),
    "fsc_0.143_A": ("FSC 0.143 (Å)", ".1f", "finest detail that is right at all"),
}


def tomogram_section(views: Sequence[TomogramView]) -> Markup:
    """Return slices and spectra of every tomogram."""
    return section(
        "Raw, denoised, removed",
        "tomograms",
        paragraph(
            "Removed is raw minus what the denoised density explains of it: the density seen "
            "through the contrast transfer and the missing wedge of the tomogram, in the grey "
            "scale of raw. It should look like plain noise. A particle or a membrane that you see "
            "there was taken away by mistake; one that you see in denoised and find no trace of "
            "in raw may be invented. A model without a measured transfer (of DUAL 0.1) has the "
            "density itself taken away, and then structure is always seen."
        ),
        [_tomogram(view, number == 0) for number, view in enumerate(views)],
    )


def _tomogram(view: TomogramView, first: bool) -> Markup:
    z, y, x = view.shape
    told = f"{x} × {y} × {z} voxels (x, y, z) of {view.voxel_size_A:g} Å"
    content = [
        (f"z = {cut.index + 1} of {cut.sections}", panels(cut, view.name)) for cut in view.depths
    ]
    planes = [
        together(element("h3", f"{cut.plane} plane, in the middle"), panels(cut, view.name))
        for cut in view.others
    ]
    crop = "" if view.crop == view.shape else (
        " Of the middle {2} × {1} × {0} voxels.".format(*view.crop)
    )
    spectra = [
        element("figure", element("figcaption", label), image(picture, alt))
        for label, picture in view.spectra
        for alt in [f"power spectrum of {label}, {view.spectra_plane} plane, {view.name}"]
    ]
    caption = (
        "Power by spatial frequency, all in units of the raw tomogram. Where removed lies on raw "
        "nothing was kept; where it lies far below, nothing was taken. Denoised above raw means "
        "that the network added something, as it does where it fills the missing wedge." + crop
    )
    inside = together(
        soft(told),
        element("h3", "xy plane at several depths"),
        frames(content, "depth", len(content) // 2),
        planes,
        element("h3", "Power spectra"),
        element("div", spectra, class_="panels three spectra"),
        soft(
            f"{view.spectra_plane} plane: {view.spectra_plane[0]} frequency to the right, z "
            "frequency (the beam) upwards, Nyquist at the edges; each in a colour scale of its "
            "own. The dark double wedge around the vertical axis is the missing wedge."
        ),
        element(
            "div",
            figure(view.curve, f"radial power of raw, denoised and removed, {view.name}", caption),
            None if view.scores is None else _fsc(view.scores, view.name),
            class_="charts",
        ),
    )
    if first:
        return together(element("h3", view.name), inside)
    return fold(view.name, inside)


def _fsc(scores: Scores, name: str) -> Markup:
    return figure(
        scores.curve,
        f"Fourier shell correlation of raw and denoised with the truth, {name}",
        "Fourier shell correlation with the truth: the further right a curve stays up, the finer "
        "the detail that is right.",
    )


def truth_section(views: Sequence[TomogramView]) -> Optional[Markup]:
    """Return the scores against the truth; None where no truth was given."""
    scored = [(view, view.scores) for view in views if view.scores is not None]
    if not scored:
        return None
    low, high = scored[0][1].tilt_range
    return section(
        "Against the truth",
        "truth",
        paragraph("How close raw and denoised come to the truth that was given."),
        [_score_table(view, scores) for view, scores in scored],
        soft(
            "All volumes are standardised (mean 0, deviation 1). Peak of PSNR and SSIM: the range "
            f"of the truth, {scored[0][1].raw.data_range:.1f} deviations. Tilt range: {low:g}° "
            f"to {high:g}°."
        ),
    )


def _score_table(view: TomogramView, scores: Scores) -> Markup:
    before, after = (_numbers(one) for one in (scores.raw, scores.denoised))
    rows = [
        [together(heading, element("small", sentence)), raw, denoised]
        for (heading, _, sentence), raw, denoised in zip(MEASURES.values(), before, after)
    ]
    crop = None
    if scores.crop is not None:
        crop = soft("Of the middle {2} × {1} × {0} voxels (x, y, z).".format(*scores.crop))
    return together(
        element("h3", view.name),
        table(["measure", "raw", "denoised"], rows, class_="numbers"),
        crop,
    )


def _numbers(scores: VolumeScores) -> List[str]:
    values = scores.as_dict()
    return [
        "–" if values[key] is None else format(values[key], form)
        for key, (_, form, _) in MEASURES.items()
    ]


def trust_section(trust: Optional[Trust], why_not: str) -> Markup:
    """Return the findings of the trust report, or why there is none."""
    title = "Can I trust it?"
    if trust is None:
        return section(title, "trust", paragraph(f"Not judged: {why_not}"))
    return section(
        title,
        "trust",
        paragraph(
            "Each test asks in another way whether the model shows what is in the tomogram. "
            "The verdicts are rules of thumb, not proofs: look at the slices as well."
        ),
        [_trust(tomogram) for tomogram in trust.tomograms],
    )


def _trust(tomogram: TomogramTrust) -> Markup:
    found = [
        element(
            "div",
            element(
                "div",
                light(finding.verdict),
                element("strong", finding.title),
                element("span", finding.value),
                class_="head",
            ),
            element("p", finding.sentence),
            class_=f"finding {finding.verdict}",
        )
        for finding in tomogram.findings
    ]
    pictures = [
        figure(picture, f"{title}, {tomogram.name}", title, _shape(picture))
        for title, picture in tomogram.figures
    ]
    return together(
        element("h3", tomogram.name),
        found,
        fold("Pictures of these tests", pictures) if pictures else None,
    )


def _shape(picture: Picture) -> str:
    """Return the class that keeps a tall picture from filling the screen."""
    return "paper wide tall" if picture.height > 0.75 * picture.width else "paper wide"


def truth_sentence(scores: Scores) -> str:
    """Return what the scores of one tomogram come to, in a sentence."""
    before, after = (s.fsc.resolution_A(0.5) for s in (scores.raw, scores.denoised))
    told = "Correlation of raw and of denoised with the truth."
    if after is None:
        return told
    compared = "nothing" if before is None else f"{number(before)} Å"
    return f"{told} Detail is half right down to {number(after)} Å (raw: {compared})."
