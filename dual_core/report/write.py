"""``report.html``: from a training directory, tomograms and truths to one file."""

from __future__ import annotations

import datetime
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from dual_core import __version__
from dual_core.errors import DualError
from dual_core.evaluation.trust.examine import DIAMETER_A, TrustOptions
from dual_core.networks.model import write_atomically
from dual_core.report.denoised import Bar, Machine, denoised_volumes, explained_of, no_bar
from dual_core.report.judging import judge
from dual_core.report.page.markup import Markup, element
from dual_core.report.page.style import CSS, SCRIPT
from dual_core.report.page.views import TomogramView, open_inputs, view_tomogram
from dual_core.report.process import details_section, quoted, training_command, training_section
from dual_core.report.results import tomogram_section, trust_section, truth_section
from dual_core.report.run_folder import RunFolder, open_run
from dual_core.report.summary import summary_cards
from dual_core.report.trust import Trust, read_trust
from dual_core.tasks.denoise import DenoiseOptions
from dual_core.volumes.reading import open_volume

logger = logging.getLogger(__name__)

NAME = "report.html"
DEFAULT_TILTS = (-60.0, 60.0)
NO_TOMOGRAM = "no tomogram was given; add --tomograms T.mrc to 'dual report'."


@dataclass(frozen=True)
class ReportOptions:
    """What the report is made of beside the run.

    Attributes
    ----------
    tomograms : shown raw, denoised and removed.
    truths : one for each tomogram, in the same order, density bright; or none.
    denoised : denoised volumes, one for each tomogram; by default the model makes them.
    halves : two half maps of one tomogram, for the trust report; or none.
    trust : whether to judge the tomograms with `dual_core.evaluation.trust.examine`.
    trust_folder : what 'dual evaluate trust' has written, instead of judging anew.
    diameter_A : of the particles that the trust report counts.
    contrast, voxel_size_A : of the tomograms.
    tilt_range : for the scores; by default the card's, or -60 to 60 degrees.
    tilt_axis : of the tomograms, ``y`` or ``x``; by default the card's, or y.
    machine : where the networks run.
    """

    tomograms: Sequence[Path] = ()
    truths: Sequence[Path] = ()
    denoised: Sequence[Path] = ()
    halves: Sequence[Path] = ()
    trust: bool = True
    trust_folder: Optional[Path] = None
    diameter_A: float = DIAMETER_A
    contrast: str = "auto"
    voxel_size_A: Optional[float] = None
    tilt_range: Optional[Tuple[float, float]] = None
    tilt_axis: Optional[str] = None
    machine: Machine = field(default_factory=Machine)


def write_report(
    run: Path,
    output: Optional[Path] = None,
    options: Optional[ReportOptions] = None,
    bar: Bar = no_bar,
) -> Path:
    """Write the report on a training directory and return its path.

    Parameters
    ----------
    run : path
        Of a finished or an unfinished run.
    output : path, optional
        The HTML file, by default ``report.html`` in the run. What is denoised for the report
        goes into ``report_files/`` beside it (the name follows that of the HTML file).
    options : ReportOptions, optional
    bar : callable
        ``bar(label)``: a context manager that gives ``progress(done, total)`` in tiles.

    Raises
    ------
    DualError
        If the folder is no run, a volume cannot be used, or the file cannot be written.
    """
    options = options or ReportOptions()
    folder = open_run(run)
    if options.tilt_axis and folder.card is not None:
        folder = replace(folder, card=replace(folder.card, tilt_axis=options.tilt_axis))
    output = Path(output) if output is not None else folder.path / NAME
    if output.is_dir():
        raise DualError(f"{output}: is a folder; give the name of the HTML file for --output")
    if options.trust_folder is None and options.halves and not options.tomograms:
        raise DualError("half maps are judged with their tomogram; give it with --tomograms")
    views, trust, why_not = _results(folder, output, options, bar)
    page = render(folder, views, trust, why_not, _commands(folder, options))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, page.encode("utf-8", "backslashreplace"))
    return output


def _results(
    run: RunFolder, output: Path, options: ReportOptions, bar: Bar
) -> Tuple[List[TomogramView], Optional[Trust], str]:
    """Return what is shown of the tomograms, the trust report, and why there is none."""
    if options.trust_folder is not None:
        trust: Optional[Trust] = read_trust(options.trust_folder)
    else:
        trust = None
    if not options.tomograms:
        if options.truths or options.denoised:
            raise DualError("a truth or a denoised volume goes with a tomogram; give --tomograms")
        return [], trust, NO_TOMOGRAM
    inputs = open_inputs(options.tomograms, options.truths, options.voxel_size_A)
    for half in options.halves:
        open_volume(half, voxel_size_A=options.voxel_size_A)
    if run.card is None and not options.denoised:
        logger.warning("%s has no model yet: the report shows the training only", run.path)
        return [], trust, "the run has no model yet."
    files = output.with_name(f"{output.stem}_files")
    denoise = DenoiseOptions(
        contrast=options.contrast, voxel_size_A=options.voxel_size_A, tilt_axis=options.tilt_axis
    )
    volumes = denoised_volumes(
        run, inputs, options.denoised, files, denoise, options.machine, bar
    )
    told = None if run.card is None else run.card.tilt_range_deg
    tilts = (options.tilt_range or told or DEFAULT_TILTS, _axis(run, options))
    views = [
        view_tomogram(one, volume, tilts, explained_of(run, one, volume))
        for one, volume in zip(inputs, volumes)
    ]
    if trust is not None:
        return views, trust, ""
    if not options.trust:
        return views, None, "the report was made with --no-trust."
    if run.card is None:
        return views, None, "the run has no model yet."
    trusted = TrustOptions(
        diameter_A=options.diameter_A,
        tilt_range_deg=options.tilt_range or told,
        contrast=run.card.contrast,
    )
    try:
        trust = judge(
            run, options.tomograms, options.halves, files / "trust", trusted,
            options.contrast, options.voxel_size_A, options.machine, bar,
        )
    except DualError as error:
        # A model that cannot be judged is news as well: the page must say so.
        logger.warning("the trust report cannot be made: %s", error)
        return views, None, _without_folders(str(error), options)
    return views, trust, ""


def _axis(run: RunFolder, options: ReportOptions) -> str:
    return options.tilt_axis or ("y" if run.card is None else run.card.tilt_axis)


def _without_folders(message: str, options: ReportOptions) -> str:
    for path in (*options.tomograms, *options.halves):
        message = message.replace(str(path), path.name)
    return message


def render(
    run: RunFolder,
    views: Sequence[TomogramView],
    trust: Optional[Trust],
    why_not: str,
    commands: Sequence[str],
) -> str:
    """Return the page."""
    sections: List[Tuple[str, str, Optional[Markup]]] = [
        ("tomograms", "Raw, denoised, removed", tomogram_section(views) if views else None),
        ("truth", "Against the truth", truth_section(views)),
    ]
    if not run.empty:
        sections += [
            ("trust", "Can I trust it?", trust_section(trust, why_not)),
            ("training", "Training", training_section(run)),
            ("details", "Details", details_section(run, commands)),
        ]
    shown = [(anchor, name, body) for anchor, name, body in sections if body is not None]
    links = [element("a", name, href=f"#{anchor}") for anchor, name, _ in shown]
    title = f"DUAL report: {run.name}"
    today = datetime.date.today().isoformat()
    told = "no model yet" if run.card is None else run.card.summary().replace(" A/", " Å/")
    told = "Without a model" if run.empty else told
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        # Neither holds a character that would need escaping in an HTML document.
        element("style", Markup(CSS)),
    )
    body = element(
        "body",
        element(
            "header",
            element("h1", title),
            element("p", f"{told}. Written {today} by DUAL {__version__}.", class_="soft"),
            element("nav", links, aria_label="contents"),
            element("div", summary_cards(run, views, trust, why_not), class_="cards"),
        ),
        element("main", [part for _, _, part in shown]),
        element(
            "footer",
            "Pick particles on denoised tomograms, but average the raw ones. This page is one "
            "file: it needs no network and can be sent as it is.",
        ),
        element("script", Markup(SCRIPT)),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _commands(run: RunFolder, options: ReportOptions) -> List[str]:
    model = f"{run.name}/{run.model.name}"
    names = [Path(path).name for path in options.tomograms]
    axis = ["--tilt-axis", options.tilt_axis] if options.tilt_axis else []
    commands = [training_command(run)]
    if not names:
        return [*commands, quoted(["dual", "report", run.name])]
    words = ["dual", "denoise", "--model", model, *names, "--output", "denoised", *axis]
    commands.append(quoted(words))
    truths = [Path(path).name for path in options.truths]
    for name, truth in zip(names, truths):
        denoised = f"denoised/{Path(name).stem}_denoised.mrc"
        words = ["dual", "evaluate", "volumes", "--truth", truth, name, denoised]
        commands.append(quoted([*words, "--output", f"scores_{Path(name).stem}", *axis]))
    halves = ["--halves", *(Path(path).name for path in options.halves)] if options.halves else []
    if options.trust:
        words = ["dual", "evaluate", "trust", "--model", model, *names, *halves]
        commands.append(quoted([*words, "--output", "trust", *axis]))
    words = ["dual", "report", run.name, "--tomograms", *names]
    truth_words = ["--truth", *truths] if truths else []
    commands.append(quoted([*words, *truth_words, *halves, *axis]))
    return commands
