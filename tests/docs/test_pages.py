"""What the documents say can be done: commands parse, links lead somewhere, the first run runs."""

from __future__ import annotations

import glob
import re
import shlex
from pathlib import Path
from typing import Iterator, List, Tuple

import numpy as np
import pytest

from dual_core.cli import main as cli
from dual_core.cli.parsing import CommandParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.md"))]
LEFT_OUT = ("...", "COMMAND", "WHAT", "DIR", "FILE")  # stands for what the reader puts there


def code_lines(text: str) -> Iterator[str]:
    """Lines of literal blocks: indented or fenced, continued ones joined."""
    fenced = False
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()


def commands() -> Iterator[Tuple[str, str]]:
    for page in PAGES:
        for line in code_lines(page.read_text(encoding="utf-8")):
            if line.startswith("dual "):
                yield page.name, line.partition("  #")[0]


def parser_of(words: List[str]) -> CommandParser:
    return cli.parser_of(words[0])


def test_there_are_commands_in_the_documents():
    assert len(list(commands())) > 30


@pytest.mark.parametrize("page, line", sorted(set(commands())))
def test_every_command_in_the_documents_is_one(page, line):
    words = shlex.split(line)[1:]
    if words[0].startswith("--") or words[0] in LEFT_OUT:
        return
    assert words[0] in cli.COMMANDS, line
    if "..." in words or "--help" in words:
        # Not whole: what is there must be known.
        known = {option for word, parser in nested(words[0]) for option in parser_options(parser)}
        assert {word for word in words if word.startswith("--")} <= known, line
        return
    parser_of(words).parse_args(words[1:])


def nested(name: str) -> Iterator[Tuple[str, object]]:
    import argparse

    parser = cli.parser_of(name)
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def parser_options(parser) -> List[str]:
    return list(parser._option_string_actions)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_pictures_are_there(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\.\. image:: (\S+)", text, re.M)
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", target):
            continue
        found = page if not path else page.parent / path
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in slugs, target


def test_every_page_of_the_site_has_a_picture_or_is_for_developers():
    without = {"architecture", "reliability", "dependencies", "data", "cluster"}
    for page in PAGES[1:]:
        if page.stem not in without:
            assert "](images/" in page.read_text(encoding="utf-8"), page.name


# --- the first run ------------------------------------------------------------------------------

# Smaller cells and a training of one step: what is tested is that the lines follow one another.
SMALLER = {
    "--count 5 --voxel-size 10": "--count 5 --voxel-size 10 --shape 32 40 40 --best-effort",
}


def first_run() -> List[str]:
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    part = text.split("A first run on your own data\n")[1].split("\nAdvice\n")[0]
    return [line for line in code_lines(part) if line.startswith("dual ")]


def test_the_first_run_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    from dual_core.networks.generators import NetworkConfig
    from dual_core.training import config
    from dual_core.volumes.reading import open_volume, write_volume

    random = np.random.default_rng(0)
    for number in (1, 2):
        tomogram = random.normal(size=(32, 40, 40)).astype(np.float32)
        tomogram[10:16, 8:16, 20:28] -= 4
        write_volume(tmp_path / f"tomo_{number}.mrc", tomogram, 10.0)
    monkeypatch.chdir(tmp_path)
    network = NetworkConfig(
        channels=(3, 4), noise_channels=(2, 4), code_size=5, discriminator_channels=(2, 4),
        discriminator_scales=1,
    )
    quick = {
        "iterations": 1, "patch": 24, "batch": 1, "network": network, "calibration_weight": 0.0,
        "rehearsals": 0, "generator_rehearsals": 0, "recorrupted": 0,
    }
    monkeypatch.setitem(config._PRESETS, "quick", quick)
    lines = first_run()
    assert all(any(large in line for line in lines) for large in SMALLER)
    assert [line.split()[1] for line in lines] == [
        "denoise", "info", "pack", "train", "denoise", "report", "project", "denoise", "evaluate",
    ]
    for line in lines:
        for large, small in SMALLER.items():
            line = line.replace(large, small)
        words = []
        for word in shlex.split(line)[1:]:
            words += sorted(glob.glob(word)) or [word]
        assert cli.main(words) == 0, line
    told = capfd.readouterr().out
    assert "voxel (A)" in told and "density" in told and "PSNR" in told
    for number in (1, 2):
        assert open_volume(f"denoised/tomo_{number}_denoised.mrc").shape == (32, 40, 40)
    assert Path("run/report.html").stat().st_size > 10_000
    assert Path("scores/scores.csv").is_file()
    assert (ROOT / "docs" / "when-it-looks-wrong.md").is_file()
