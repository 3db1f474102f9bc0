"""Tomograms in the report: the findings of the trust report, scores, and the tilt axis."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from report_page import HOSTILE, read_page, report

from dual_core.errors import DualError
from dual_core.report import judging, write
from dual_core.report.trust import read_trust
from dual_core.volumes.reading import open_volume, write_volume


def write_trust(folder, **changes):
    folder.mkdir(exist_ok=True)
    finding = {
        "key": "halves", "title": "Halves agree", "value": 0.91234, "unit": "Å",
        "verdict": "green", "sentence": f"Reads well {HOSTILE}.", **changes,
    }
    second = {**finding, "title": "Invented", "verdict": "amber", "sentence": "Some were."}
    Image.new("RGB", (30, 20), "white").save(folder / "map.png")
    tomogram = {
        "name": "/secret/place/tomo.mrc", "findings": [finding, second],
        "figures": {"slices": "map.png", "lost": "lost.png", "outside": "../../outside.png"},
    }
    content = {"model": "m", "tomograms": [tomogram], "verdict": "amber"}
    (folder / "trust.json").write_text(json.dumps(content))
    return folder


def test_findings_are_shown_with_their_lights(copy, tmp_path):
    folder = write_trust(tmp_path / "trust")
    Image.new("RGB", (30, 20)).save(tmp_path / "outside.png")
    assert report(copy, "--trust", folder) == 0
    page = read_page(copy / "report.html")
    lights = [v["class"] for _, v in page.tags if v.get("class", "").startswith("light")]
    assert lights == ["light amber", "light green", "light amber"]
    assert "1 of 2 tests. Invented: Some were." in page.text
    assert "0.912 Å" in page.text
    assert f"Reads well {HOSTILE}." in page.text
    assert "/secret" not in page.text
    assert sum(v["alt"].endswith(", tomo.mrc") for v in page.images) == 1


@pytest.mark.parametrize(
    "value, unit, shown",
    [
        (12345.6, "picks", "12,346 picks"),
        (float("nan"), "", "–"),
        (None, "", "–"),
        (0.5, "", "0.5"),
    ],
)
def test_numbers_are_written_short(tmp_path, value, unit, shown):
    trust = read_trust(write_trust(tmp_path / "t", value=value, unit=unit, verdict="purple"))
    assert trust.tomograms[0].findings[0].value == shown
    assert trust.tomograms[0].findings[0].verdict == ""
    assert trust.worst_first[0].title == "Invented"


def test_tomograms_are_judged_once(copy, made, monkeypatch):
    other = made.folder / "half.mrc"
    noise = np.random.default_rng(5).standard_normal(made.noisy_array.shape)
    write_volume(other, (made.noisy_array + noise).astype(np.float32), 10.0)
    call = [copy, "--tomograms", made.tomogram, "--halves", made.tomogram, other]
    assert report(*call) == 0
    page = read_page(copy / "report.html")
    found = json.loads((copy / "report_files" / "trust" / "trust.json").read_text())
    findings = found["tomograms"][0]["findings"]
    assert len(findings) > 5
    assert any(one["key"].startswith("halves") for one in findings)
    for one in findings:
        assert one["title"] in page.text
        assert " ".join(one["sentence"].split()) in page.text
    lights = [v["class"] for _, v in page.tags if v.get("class", "").startswith("light")]
    assert lights == [f"light {v}" for v in [found["verdict"], *(f["verdict"] for f in findings)]]
    assert str(made.folder) not in (copy / "report.html").read_text(encoding="utf-8")
    assert "--halves tomo.mrc half.mrc" in page.text

    def not_again(*args, **kwargs):
        raise AssertionError("judged again")

    monkeypatch.setattr(judging, "trust_report", not_again)
    assert report(*call) == 0
    assert read_page(copy / "report.html").text == page.text
    with pytest.raises(AssertionError):
        report(*call, "--diameter", "200", "--debug")


def test_tilt_axis_x_is_the_same_page_of_the_turned_tomogram(copy, made, tmp_path):
    turned = SimpleNamespace(tomogram=tmp_path / "turned.mrc", truth=tmp_path / "truth.mrc")
    write_volume(turned.tomogram, made.noisy_array.swapaxes(1, 2), 10.0)
    write_volume(turned.truth, made.truth_array.swapaxes(1, 2), 10.0)
    found = {}
    for name, files, axis in (("y", made, []), ("x", turned, ["--tilt-axis", "x"])):
        page = tmp_path / f"{name}.html"
        call = [copy, "--tomograms", files.tomogram, "--truth", files.truth, "--output", page]
        assert report(*call, "--tilt-range", "-60", "50", *axis) == 0
        folder = tmp_path / f"{name}_files"
        denoised = open_volume(next(folder.glob("*_denoised.mrc"))).load()
        trust = json.loads((folder / "trust" / "trust.json").read_text())["tomograms"][0]
        values = {one["key"]: one["value"] for one in trust["findings"]}
        text = read_page(page).text
        found[name] = SimpleNamespace(denoised=denoised, values=values, text=text)
    x, y = found["x"], found["y"]
    np.testing.assert_allclose(x.denoised.swapaxes(1, 2), y.denoised, atol=1e-4)
    for key in ("half_coherence", "explained", "scale", "removed_correlation", "flips"):
        assert x.values[key] == pytest.approx(y.values[key], rel=1e-3)
    row = re.compile(r"in the missing wedge: what is right there is a good guess (\S+ \S+)")
    assert row.findall(x.text) == row.findall(y.text) != []
    assert "yz plane: y frequency" in x.text and "xz plane: x frequency" in y.text
    assert "--output trust --tilt-axis x" in x.text and "--tilt-axis" not in y.text


def test_a_model_that_cannot_be_judged_has_a_page(copy, made, monkeypatch, capsys):
    def refuse(run, tomograms, *args):
        raise DualError(f"{tomograms[0]}: the denoised tomogram is constant; train it longer")

    monkeypatch.setattr(write, "judge", refuse)
    assert report(copy, "--tomograms", made.tomogram) == 0
    assert "cannot be made" in capsys.readouterr().err
    page = read_page(copy / "report.html")
    assert "Not judged: tomo.mrc: the denoised tomogram is constant" in page.text


def test_a_constant_result_is_shown_without_scores(copy, made, tmp_path, capsys):
    flat = tmp_path / "flat.mrc"
    write_volume(flat, np.zeros_like(made.truth_array), 10.0)
    pair = ["--tomograms", made.tomogram, "--truth", made.truth]
    assert report(copy, *pair, "--denoised", flat, "--no-trust") == 0
    assert "no scores" in capsys.readouterr().err
    page = read_page(copy / "report.html")
    assert "Removed 100 %" in page.text
    assert "PSNR" not in page.text
