"""The sections on how the model was made: curves, previews, warnings, data, commands."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from dual_core.errors import DualError
from dual_core.figures import curves_figure
from dual_core.report.page.markup import Child, Markup, element, facts, fold, table
from dual_core.report.page.parts import figure, frames, image, note, paragraph, section, soft
from dual_core.report.pictures import drawn, file_picture
from dual_core.report.run_folder import RunFolder

logger = logging.getLogger(__name__)

# Title -> names in the history, how to read them.
CURVES: Dict[str, Tuple[Tuple[str, ...], str]] = {
    "Correlation": (
        ("cc_density", "cc_tomogram", "cc_denoised", "cc_simulated"),
        "cc_density: grand models against their return from the noisy domain; it should rise and "
        "level off. The others compare what went into a network with what came out; cc_tomogram "
        "must stay well below 1, as noise cannot be predicted.",
    ),
    "Reconstruction": (
        ("loss_density", "loss_tomogram"),
        "Both cycles, a logarithm: it should fall and level off.",
    ),
    "Adversarial": (
        ("loss_adversarial_t", "loss_adversarial_v", "loss_discriminators"),
        "It should go up and down. loss_discriminators near 0 for long means that the "
        "generators have lost.",
    ),
    "Spread": (
        ("deviation_denoised", "deviation_simulated"),
        "Deviation of what the networks put out: around 1. Near 0 they draw nothing.",
    ),
    "Linear model and noise code": (
        (
            "loss_calibration", "loss_rehearsal", "loss_generator_rehearsal", "loss_noise_code",
        ),
        "loss_calibration and the rehearsals should fall or stay low.",
    ),
    "Total": (("loss",), "All terms of the generators together; it need not fall."),
    "Gradients": (("gradient_norm",), "Before clipping. Single peaks are no harm."),
}
SHOWN_AT_ONCE = 3
NOT_DRAWN = ("iteration", "seconds", "warnings")
# Options of 'dual train' that are not about what is trained.
MACHINE_OPTIONS = (
    "resume", "time_limit", "device", "precision", "memory", "checkpoint_every", "snapshots",
    "output",
)


def training_section(run: RunFolder) -> Markup:
    """Return curves, previews over time and the warnings of the training."""
    children: List[Child] = [paragraph(progress_sentence(run))]
    warnings = [
        element("li", f"at iteration {iteration}: {message}")
        for iteration, message in run.warnings
    ]
    if warnings:
        title = element("strong", "Warnings during the training")
        children.append(note(title, element("ul", warnings)))
    children.append(_curves(run))
    if run.previews("slices"):
        children += [
            element("h3", "What the networks made of it, over time"),
            soft(
                "Raw tomogram, denoised; grand model, simulated tomogram. Density is shown bright."
            ),
            _previews(run, "slices"),
        ]
    if run.previews("spectra"):
        told = "Power spectra over time. Simulated should come to look like raw."
        children.append(fold(told, _previews(run, "spectra")))
    return section("Training", "training", children)


def progress_sentence(run: RunFolder) -> str:
    """Return how far the training got, how long that took, and whether it is all."""
    total = "" if run.total is None else f" of {run.total}"
    told = f"{run.iterations}{total} iterations"
    if run.minutes is not None:
        told += f" in {duration(run.minutes)}"
    if run.finished:
        return told + ". The run is finished."
    if run.card is None:
        return told + ". The run is not finished and there is no model yet."
    return told + f". The run is not finished; its model has seen {run.card.iterations}."


def duration(minutes: float) -> str:
    """Return a time in hours, minutes or seconds."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _curves(run: RunFolder) -> Markup:
    groups: Dict[str, Tuple[Tuple[str, ...], str]] = dict(CURVES)
    known = {name for names, _ in CURVES.values() for name in names}
    found = {name for line in run.history for name in line}
    others = tuple(sorted(found - known - set(NOT_DRAWN)))
    if others:
        groups["Others"] = (others, "")
    figures = []
    for title, (names, reading) in groups.items():
        try:
            picture = drawn(
                lambda path, title=title, names=names: curves_figure(  # type: ignore[misc]
                    run.history, path, {title: names}
                )
            )
        except DualError:  # none of these numbers in the history
            continue
        alt = f"training curves: {title.lower()} ({', '.join(names)})"
        figures.append(figure(picture, alt, reading or None))
    if not figures:
        return paragraph("No training curves: history.jsonl is missing or still empty.")
    first, rest = figures[:SHOWN_AT_ONCE], figures[SHOWN_AT_ONCE:]
    return element(
        "div",
        element("div", first, class_="charts"),
        fold("More curves", element("div", rest, class_="charts")) if rest else None,
    )


def _previews(run: RunFolder, kind: str) -> Markup:
    content = []
    for iteration, path in run.previews(kind):
        try:
            picture = file_picture(path)
        except DualError as error:
            logger.warning("%s", error)
            continue
        alt = f"preview of the training at iteration {iteration}: {kind}"
        body = element("div", image(picture, alt), class_="paper wide")
        content.append((f"iteration {iteration}", body))
    return frames(content, f"iteration of the {kind}", len(content) - 1)


def details_section(run: RunFolder, commands: Sequence[str]) -> Markup:
    """Return data, model card and configuration, folded, and the commands to redo it all."""
    again = fold(
        "Commands to redo it",
        paragraph("In the folder with the data. Files are given by their names only."),
        element("pre", element("code", "\n".join(commands))),
    )
    return section(
        "Details",
        "details",
        fold("Data", _data(run)),
        fold("Model card", _card(run)),
        fold("Training configuration", facts(_plain(run.config)) if run.config else "unknown"),
        again,
    )


def _data(run: RunFolder) -> Markup:
    rows = []
    for domain in ("noisy", "clean"):
        for volume in run.data(domain):
            shape, voxel = volume.get("shape"), volume.get("voxel_size_A")
            size = " × ".join(str(side) for side in reversed(shape)) if shape else "–"
            hashes = [str(value) for key, value in volume.items() if "sha256" in key]
            rows.append(
                [
                    Path(str(volume.get("name", "?"))).name,
                    domain,
                    size,
                    "–" if voxel is None else f"{float(voxel):g} Å",
                    element("code", hashes[0][:16] if hashes else "–"),
                ]
            )
    if not rows:
        return paragraph("Nothing is known of the data yet.")
    return element(
        "div",
        table(["file", "domain", "x × y × z", "voxel", "SHA-256"], rows, class_="short"),
        soft("First digits of the hash of the first MiB of a file and its size."),
    )


def _card(run: RunFolder) -> Markup:
    if run.card is None:
        return paragraph("There is no model yet.")
    values = {
        name: value
        for name, value in vars(run.card).items()
        if name not in ("noisy_domain", "clean_domain")
    }
    return facts(_plain(values))


def _plain(values: Mapping[str, Any], head: str = "") -> Dict[str, Child]:
    """Flatten nested values into text, and leave out those that are not set."""
    rows: Dict[str, Child] = {}
    for name, value in values.items():
        title = f"{head}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows.update(_plain(value, f"{title}: "))
        elif isinstance(value, (list, tuple)):
            rows[title] = ", ".join(str(item) for item in value)
        elif isinstance(value, float):
            rows[title] = f"{value:.6g}"
        elif value is not None:
            rows[title] = str(value)
    return rows


def training_command(run: RunFolder) -> str:
    """Return the command line that repeats the training, with names instead of paths."""
    words = ["dual", "train"]
    if run.options:
        for name, value in run.options.items():
            if name in MACHINE_OPTIONS or value in (None, False, "auto"):
                continue
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += ["--" + name.replace("_", "-"), *(_short(one) for one in values)]
    else:
        for domain in ("noisy", "clean"):
            names = [str(volume.get("name", "?")) for volume in run.data(domain)]
            if names:
                words += [f"--{domain}", *map(_short, names)]
        for name in ("preset", "method", "iterations", "seed"):
            if run.config.get(name) is not None:
                words += [f"--{name}", str(run.config[name])]
    return quoted([*words, "--output", run.name])


def quoted(words: Sequence[Optional[str]]) -> str:
    """Return a command line for a shell, without the words that are None."""
    return " ".join(shlex.quote(word) for word in words if word is not None)


def _short(value: object) -> str:
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)
