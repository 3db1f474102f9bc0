"""The demo in miniature: it leaves everything, goes on where it stopped, and names its commands."""

from __future__ import annotations

import csv
import importlib
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dual_core.cli.commands import demo as demo_command
from dual_core.cli.main import COMMANDS, build_parser, main
from dual_core.demo import run as demo_run
from dual_core.demo import steps as demo_steps
from dual_core.demo.plan import DemoPlan, DemoScale
from dual_core.demo.run import run_demo
from dual_core.errors import DualError
from dual_core.networks.generators import NetworkConfig
from dual_core.training.config import preset_config
from dual_core.training.loop import TrainingResult
from dual_core.volumes.reading import open_volume

NETWORK = NetworkConfig(
    channels=(2, 4), noise_channels=(2, 2, 2), code_size=4, discriminator_channels=(2, 4)
)
TINY = DemoScale(
    shape=(32, 40, 40),
    clean_cells=1,
    noisy_cells=1,
    molecules=("cube_480", "antibody_150"),
    vesicles=1,
    vesicle_radius_nm=(9.0, 10.0),
    gold=1,
    gold_diameter_nm=5.0,
    tilt_step=20.0,
    training={"iterations": 4, "patch": 32, "batch": 2, "network": NETWORK},
    previews=0,
)
SEED = 3
FILES = (
    "clean/grand_model_0.mrc",
    "cells/grand_model_0.mrc",
    "cells/grand_model_1.mrc",
    "tomograms/grand_model_0_tomogram.mrc",
    "tomograms/grand_model_1_tomogram.mrc",
    "run/model.safetensors",
    "run/history.jsonl",
    "first_look/grand_model_1_tomogram_denoised.mrc",
    "first_look.png",
    "denoised/grand_model_1_tomogram_denoised.mrc",
    "simulated/grand_model_1_simulated_01.mrc",
    "simulated/training_set.csv",
    "simulated/class_mask_1.mrc",
    "scores.csv",
    "demo.png",
    "simulated.png",
    "spectra.png",
    "curves.png",
    "report.html",
    "demo.json",
)
STEPS = [
    "pack clean", "pack cells", "project", "first look", "train", "denoise", "simulate",
    "score", "draw", "report",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder, result and story of a finished demo; tests must not change it."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    story = []
    result = run_demo(folder, seed=SEED, say=story.append, scale=TINY)
    return folder, result, "\n".join(story)


def test_it_leaves_every_file_and_the_scores(finished):
    folder, result, story = finished
    for name in FILES:
        assert (folder / name).stat().st_size > 0, name
    assert list(folder.rglob("*.part")) == []
    assert result.reason == "finished"
    assert [row["name"] for row in result.scores] == ["raw", "Gaussian 2.5", "general", "denoised"]
    assert all(np.isfinite([row["psnr_db"], row["ssim"]]).all() for row in result.scores)
    assert all(-1 <= row[key] <= 1 for row in result.scores for key in ("cc", "cc_wedge"))
    with open(folder / "scores.csv", encoding="utf-8", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [r["name"] for r in result.scores]
    assert "10/10" in story and "skipped" not in story


def test_a_gaussian_beats_the_raw_tomogram(finished):
    raw, gaussian = finished[1].scores[:2]
    assert gaussian["cc"] > raw["cc"] > 0.05, "the contrast must be that of the truth"


def test_no_cell_is_in_both_domains_and_the_test_is_held_out(finished):
    folder, _, story = finished
    cells = [open_volume(folder / name).load() for name in FILES[:3]]
    for one in range(3):
        for other in range(one):
            assert np.corrcoef(cells[one].ravel(), cells[other].ravel())[0, 1] < 0.5
    train = next(line for line in story.splitlines() if "$ dual train" in line)
    assert "grand_model_0_tomogram" in train and "grand_model_1" not in train
    card = json.loads(
        (folder / "run" / "checkpoint" / "state.json").read_text(encoding="utf-8")
    )["card"]
    assert [entry["name"] for entry in json.loads(card)["noisy_domain"]] == [
        "grand_model_0_tomogram.mrc"
    ]


def test_a_second_run_skips_everything(finished):
    folder, result, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    story = []
    again = run_demo(folder, seed=SEED, say=story.append, scale=TINY)
    assert again == result
    assert "\n".join(story).count("skipped") == len(STEPS)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before


def test_another_seed_or_a_strange_folder_is_refused(finished, tmp_path):
    folder = finished[0]
    with pytest.raises(DualError, match="another seed"):
        run_demo(folder, seed=SEED + 1, scale=TINY)
    with pytest.raises(DualError, match="another scale"):
        run_demo(folder, seed=SEED, scale=replace(TINY, gold=0))
    (tmp_path / "thesis.txt").write_text("all of it", encoding="utf-8")
    with pytest.raises(DualError, match="something else"):
        run_demo(tmp_path, scale=TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def fake_steps(monkeypatch, calls, real=()):
    """Replace the work of all but the ``real`` steps by a note that it was done, and outputs."""
    original = demo_steps.Demo.steps

    def steps(self):
        def work(step):
            def done():
                calls.append(step.name)
                for output in step.outputs:
                    output.parent.mkdir(parents=True, exist_ok=True)
                    output.write_text(
                        "name,psnr_db,ssim,cc,cc_measured,cc_wedge\n", encoding="utf-8"
                    )
                return {}

            return done

        return [
            step if step.name in real else step._replace(work=work(step))
            for step in original(self)
        ]

    monkeypatch.setattr(demo_steps.Demo, "steps", steps)


def test_what_follows_a_missing_output_is_done_again(monkeypatch, tmp_path):
    calls = []
    fake_steps(monkeypatch, calls)
    run_demo(tmp_path / "out", scale=TINY)
    assert calls == STEPS
    calls.clear()
    (tmp_path / "out" / "tomograms" / "grand_model_1_tomogram.mrc").unlink()
    run_demo(tmp_path / "out", scale=TINY)
    assert calls == STEPS[2:]


def test_training_gets_the_rest_of_the_time_and_goes_on_with_more(monkeypatch, tmp_path):
    calls, limits = [], []
    fake_steps(monkeypatch, calls, real=("train",))
    reasons = iter(["SIGINT", "time limit", "finished"])

    def train(noisy, clean, run, config, options, resume, progress):
        limits.append((round(options.time_limit_min, 1), resume))
        (run / "checkpoint").mkdir(parents=True, exist_ok=True)
        (run / "model.safetensors").write_text("weights", encoding="utf-8")
        reason = next(reasons)
        return TrainingResult(run / "model.safetensors", 1, reason == "finished", reason)

    monkeypatch.setattr(demo_steps, "train", train)
    out = tmp_path / "out"
    assert run_demo(out, minutes=5, scale=TINY).reason == "SIGINT"
    assert calls == STEPS[:4], "a signal ends the demo"
    assert run_demo(out, minutes=0.2, scale=TINY).reason == "finished"
    assert calls == STEPS[:4] + STEPS[5:]
    run_demo(out, minutes=0.2, scale=TINY)
    assert len(limits) == 2, "training was as long as this time allows"
    run_demo(out, minutes=6, scale=TINY)
    assert limits == [(3.0, False), (0.1, True), (4.0, True)]
    assert calls == STEPS[:4] + 2 * STEPS[5:]
    run_demo(out, minutes=60, scale=TINY)
    assert len(limits) == 3, "the whole preset is trained"


def test_the_commands_it_names_make_the_same(finished, tmp_path):
    folder = finished[0]
    plan = DemoPlan(tmp_path, SEED, TINY)
    for command in (
        plan.pack_command(plan.clean), plan.pack_command(plan.cells), plan.project_command()
    ):
        assert main([*shlex.split(command)[1:], "--quiet"]) == 0
    for name in FILES[:5]:
        # The header holds the time of writing.
        assert (tmp_path / name).read_bytes()[1024:] == (folder / name).read_bytes()[1024:], name


def test_the_other_commands_it_names_are_understood():
    plan = DemoPlan(Path("out"), SEED, replace(TINY, training={}))
    for command in (
        plan.train_command(), plan.denoise_command(), plan.simulate_command(),
        plan.score_command(), plan.report_command(),
    ):
        name, *rest = shlex.split(command)[1:]
        module = importlib.import_module(COMMANDS[name][0])
        args = build_parser(name, module).parse_args(rest)
        if name == "train":
            assert preset_config(args.preset, seed=args.seed) == plan.training_config()


def test_the_command_prints_story_and_table(monkeypatch, tmp_path, capsys):
    def tiny(output, minutes, seed, say, bar):
        assert (minutes, seed) == (2.0, 5)
        calls.append(output)
        say("1/1 Do it.")
        row = {"name": "raw", "psnr_db": 30.0, "ssim": 0.5, "cc": 0.2, "cc_measured": 0.5}
        output.mkdir()
        return demo_run.DemoResult([{**row, "cc_wedge": None}], reasons.pop())

    calls = []
    reasons = ["SIGTERM", "finished"]
    monkeypatch.setattr(demo_run, "run_demo", tiny)
    arguments = ["demo", "--minutes", "2", "--seed", "5", "--output"]
    assert main([*arguments, str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    assert "1/1 Do it." in printed and "PSNR (dB)" in printed and "30.00" in printed
    assert "demo.png" in printed
    assert (tmp_path / "a" / "demo.yaml").exists()
    assert main([*arguments, str(tmp_path / "b")]) == 143
    assert "PSNR" not in capsys.readouterr().out
    assert main(["demo", "--minutes", "0"]) == 2
    assert demo_command.EXAMPLE.strip().startswith("dual demo")


def test_the_simulated_tomogram_is_that_of_the_command(finished, tmp_path):
    folder = finished[0]
    plan = DemoPlan(folder, SEED, TINY)
    command = plan.simulate_command().replace(str(plan.simulated.parent), str(tmp_path))
    assert main([*shlex.split(command)[1:], "--quiet"]) == 0
    again = (tmp_path / plan.simulated.name).read_bytes()
    assert again[1024:] == plan.simulated.read_bytes()[1024:]
