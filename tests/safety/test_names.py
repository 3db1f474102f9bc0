"""File names of any kind: logs, tables, figures, pages and lists of particles are safe."""

from __future__ import annotations

import os
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import List

import numpy as np
import pytest
import torch

from dual_core.cli.main import main
from dual_core.networks.card import ModelCard
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config
from dual_core.safety.leftovers import temporary_name
from dual_core.volumes.reading import write_volume

NAMES = {
    "markup": "<script>alert(1)<img src=x onerror=alert(2)>&\"'",
    "mathtext": r"a$\bad{$b_{^",
    "format": "%s%n{0}{name}%(x)d",
    "control": "a\x1b[31mred\x07\x08\x7f\x9b",
    "line feed": "a\nerror: no\r\tb",
    "right to left": "a\u202egnp\u2066\u200fb",
    "no UTF-8": os.fsdecode(b"a\xff\xfeb"),
    "dash": "-v",
    "shell": "$(touch x);`id`|*?",
    "star words": "loop_ data_ _rln #1 'a' \"",
    "emoji": "\U0001f52c\u0301\u0416\u4e2d",
    "long": "x" * 251,  # with .mrc as long as a name may be: what is made of it has no name
    "nearly long": "\u4e2d" * 70,
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: List[str] = []
        self.attributes: List[str] = []
        self.scripts: List[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        if self.tags[-1:] == ["script"]:
            self.scripts.append(data)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    network = NetworkConfig((4, 6), noise_channels=(4, 4), code_size=4, noise_side=16,
                            discriminator_channels=(4, 6))
    run = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    card = ModelCard(10.0, "bright", plain_config(network))
    DualModel(network, card).save(run / "model.safetensors")
    return run / "model.safetensors"


def plain(text: str) -> bool:
    """No control characters but line feeds, and no marks of the writing direction."""
    return not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]


def call(capfd, *words) -> int:
    """Run a command; what it says is plain, and an error is one line."""
    status = main([str(word) for word in words])
    told = capfd.readouterr()
    assert plain(told.out.replace("\t", " ")), told.out
    assert plain(told.err), told.err
    assert "unexpected" not in told.err
    if status:
        assert status == 2 and len([line for line in told.err.splitlines() if "error" in line]) == 1
    return status


def made(folder: Path) -> List[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


@pytest.mark.filterwarnings("ignore:Glyph")  # no font has all of them; users do not see it
@pytest.mark.parametrize("kind", NAMES)
def test_any_name_is_safe_everywhere(tmp_path, capfd, model, kind):
    source = tmp_path / f"{NAMES[kind]}.mrc"
    random = np.random.default_rng(0)
    truth = (random.random((16, 32, 32)) > 0.97).astype(np.float32) * 9
    write_volume(tmp_path / "truth.mrc", truth, 10.0)
    write_volume(tmp_path / "plain.mrc", truth + random.standard_normal(truth.shape), 10.0)
    os.replace(tmp_path / "plain.mrc", source)
    output = [tmp_path / str(number) for number in range(6)]
    assert call(capfd, "info", "--", source) == 0
    assert call(capfd, "evaluate", "volumes", "--truth", tmp_path / "truth.mrc", "--output",
                output[0], "--", source) == 0
    page = tmp_path / "page.html"
    too_long = len(os.fsencode(source.name)) + len("_denoised") > 255
    status = call(capfd, "report", model.parent, "--tomograms", source, "--no-trust", "--device",
                  "cpu", "--contrast", "bright", "--output", page)
    assert status == (2 if too_long else 0)
    if not too_long:
        text = page.read_text(encoding="utf-8")
        assert plain(re.sub(r"[\n\t]", " ", text))
        found = Page(text)
        assert "onerror" not in found.attributes and "alert(1)" not in " ".join(found.scripts)
    for number, words in enumerate((
        ("denoise", "--model", model, "--device", "cpu", "--contrast", "bright"),
        ("pick", "--diameter", "60", "--contrast", "bright"),
    ), 1):
        status = call(capfd, *words, "--output", output[number], "--", source)
        assert status == (2 if too_long else 0)
        assert not [path for path in made(output[number]) if path.name.startswith(".dual-")]
    for path in made(output[2]):
        if path.suffix in (".csv", ".star"):
            assert plain(path.read_text(encoding="utf-8", errors="surrogateescape"))
            more = ["--tomogram", source] if path.suffix == ".star" else []
            assert call(capfd, "evaluate", "picks", "--truth", path, "--tolerance", "20", *more,
                        "--voxel-size", "10", "--", path) == 0
    assert temporary_name(source).parent == tmp_path
