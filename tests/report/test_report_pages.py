"""The page that ``dual report`` writes: valid, self-contained, and true."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

from report_page import HOSTILE, WARNING, read_page, report

from dual_core.cli.main import main
from dual_core.evaluation.truth.metrics import score_volume
from dual_core.networks.model import DualModel
from dual_core.report import pictures
from dual_core.report.page import views
from dual_core.tasks.batch import file_hash
from dual_core.volumes.reading import open_volume, write_volume


def refused(capsys, *arguments):
    """Return the one line that a call is refused with."""
    assert report(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


# --- whole pages ------------------------------------------------------------------------------


def test_finished_run_with_tomogram_and_truth(made, tmp_path):
    output = tmp_path / "page.html"
    call = [
        made.run, "--tomograms", made.tomogram, "--truth", made.truth, "--no-trust",
        "--output", output,
    ]
    assert report(*call) == 0
    page = read_page(output)
    alts = " | ".join(v["alt"] for v in page.images)
    for label in ("raw", "denoised", "removed", "truth"):
        for plane in ("xy", "xz", "yz"):
            assert f"{label} {plane} slice" in alts
    assert alts.count("preview of the training at iteration 4") == 2
    assert "training curves" in alts
    assert "4 of 4 iterations" in page.text
    assert "run <b>" in page.text
    scores = score_volume(-made.noisy_array, made.truth_array, 10.0).as_dict()
    assert f"{scores['cc']:.3f}" in page.text
    assert f"{scores['psnr_db']:.2f}" in page.text
    # Names, not places.
    text = output.read_text(encoding="utf-8")
    assert str(made.folder) not in text
    assert str(tmp_path) not in text
    assert "dual denoise --model 'run <b>/model.safetensors' tomo.mrc" in page.text
    assert output.stat().st_size < 3_000_000

    denoised = tmp_path / "page_files" / "tomo_denoised.mrc"
    written = denoised.stat().st_mtime_ns
    shown = made.noisy_array - open_volume(denoised).load()
    volumes = {"raw": open_volume(made.tomogram), "denoised": open_volume(denoised)}
    cut = views._cut({**volumes, "explained": volumes["denoised"]}, "xy", 12, 1.0)
    low, high = pictures.grey_limits(made.noisy_array[12])
    middle = made.noisy_array[12].mean()
    assert cut.panels[2][1] == pictures.grey_picture(shown[12], (low - middle, high - middle))
    # The page subtracts what the density explains of the tomogram, not the density itself.
    assert dict(cut.panels)["raw"].data_uri in text
    assert dict(cut.panels)["removed"].data_uri not in text
    # A second report does not denoise again, and says the same.
    assert report(*call) == 0
    assert denoised.stat().st_mtime_ns == written
    again = output.read_text(encoding="utf-8")
    date = r"Written \S+ by"
    assert re.sub(date, "", again) == re.sub(date, "", text)


def test_a_denoised_volume_of_another_model_is_not_used(copy, made, tmp_path):
    other = copy / "denoised" / "tomo_denoised.mrc"
    other.parent.mkdir()
    write_volume(other, made.noisy_array, 10.0)
    before = file_hash(other)
    shutil.rmtree(copy / "previews")
    assert report(copy, "--tomograms", made.tomogram, "--no-trust") == 0
    assert (copy / "report_files" / "tomo_denoised.mrc").is_file()
    assert file_hash(other) == before
    pair = ["--tomograms", made.tomogram, "--denoised", other]
    assert report(copy, *pair, "--no-trust") == 0
    assert "% of the variance" in read_page(copy / "report.html").text


def test_a_model_for_the_missing_wedge_is_not_run_as_a_denoiser(copy, made, capsys):
    model = DualModel.load(copy / "model.safetensors")
    model.card = dataclasses.replace(model.card, task="missing-wedge")
    model.save(copy / "model.safetensors")
    status = main(["report", str(copy), "--tomograms", str(made.tomogram), "--quiet"])
    said = capsys.readouterr().err
    assert status != 0 and "'dual compensate'" in said and "--denoised" in said


def test_unfinished_run_without_a_model(copy, made, capsys):
    (copy / "model.safetensors").unlink()
    lines = (copy / "history.jsonl").read_text().splitlines()
    (copy / "history.jsonl").write_text("\n".join(lines[:2]) + '\n{"iteration": 3, "lo')
    assert report(copy, "--tomograms", made.tomogram) == 0
    assert "no model yet" in capsys.readouterr().err
    page = read_page(copy / "report.html")
    alts = " | ".join(v["alt"] for v in page.images)
    assert "training curves" in alts
    assert "preview" in alts
    assert "slice 1" not in alts
    assert "2 of 4 iterations" in page.text
    assert "Not finished" in page.text
    assert "no model yet" in page.text
    assert not (copy / "report_files").exists()


def test_a_run_that_has_just_begun(tmp_path):
    (tmp_path / "config.yaml").write_text("iterations: 10\n")
    (tmp_path / "history.jsonl").write_text("")
    assert report(tmp_path) == 0
    page = read_page(tmp_path / "report.html")
    assert not page.images
    assert "0 of 10 iterations" in page.text
    assert "No training curves" in page.text


def test_without_previews_or_with_a_broken_one(copy, capsys):
    broken = sorted((copy / "previews").glob("slices_*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:300])
    assert report(copy) == 0
    assert broken.name in capsys.readouterr().err
    alts = [v["alt"] for v in read_page(copy / "report.html").images if "preview" in v["alt"]]
    assert len(alts) == 1
    shutil.rmtree(copy / "previews")
    assert report(copy) == 0
    assert not any("preview" in v["alt"] for v in read_page(copy / "report.html").images)


def test_everything_is_escaped_and_warnings_are_shown(copy):
    entry = {"iteration": 5, "loss": 1.0, "warnings": [WARNING]}
    with open(copy / "history.jsonl", "a") as stream:
        stream.write(json.dumps(entry) + "\n")
    (copy / "train.yaml").write_text(json.dumps({"noisy": [f"/data/{HOSTILE[-4:]}.mrc"]}))
    (copy / "config.yaml").write_text(json.dumps({"iterations": 4, "method": HOSTILE}))
    assert report(copy) == 0
    page = read_page(copy / "report.html")
    assert "alert(1)</script>" in page.text
    assert f"at iteration 5: {WARNING}" in page.text
    assert "One warning" in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1


# --- mistakes ---------------------------------------------------------------------------------


def test_no_run_is_refused_with_one_line(made, tmp_path, capsys):
    assert "no such folder" in refused(capsys, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "no training directory" in refused(capsys, tmp_path / "empty")
    assert "is a file" in refused(capsys, made.tomogram)
    assert not list((tmp_path / "empty").iterdir())


def test_what_does_not_fit_is_refused_before_anything_is_made(made, copy, tmp_path, capsys):
    small, foreign = tmp_path / "small.mrc", tmp_path / "foreign.mrc"
    write_volume(small, made.truth_array[:, :20], 10.0)
    write_volume(foreign, made.truth_array, 8.0)
    base = [copy, "--tomograms", made.tomogram]
    assert "has shape" in refused(capsys, *base, "--truth", small)
    assert "voxels of 8 A" in refused(capsys, *base, "--truth", foreign)
    assert "one truth for each" in refused(capsys, *base, "--truth", made.truth, made.truth)
    assert "has shape" in refused(capsys, *base, "--no-trust", "--denoised", small)
    assert "give --tomograms" in refused(capsys, copy, "--truth", made.truth)
    assert "with --tomograms" in refused(capsys, copy, "--halves", small, small)
    assert "no such file" in refused(capsys, copy, "--tomograms", tmp_path / "no.mrc")
    assert "is a folder" in refused(capsys, copy, "--output", tmp_path)
    assert "contradict" in refused(capsys, copy, "--trust", tmp_path, "--no-trust")
    assert "smaller angle" in refused(capsys, copy, "--tilt-range", "60", "-60")
    assert "trust.json" in refused(capsys, copy, "--trust", tmp_path)
    assert not (copy / "report.html").exists()
    assert not (copy / "report_files").exists()
