"""Runs that were killed, that lost their terminal, and that meet another run in their folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.networks.generators import NetworkConfig
from dual_core.safety import leftovers
from dual_core.safety.leftovers import (
    owner_is_gone,
    remove_leftovers,
    temporary_folder,
    temporary_name,
)
from dual_core.safety.locks import LOCK, folder_lock
from dual_core.training.checkpoint import FOLDER, PREVIOUS, TENSORS, VALUES
from dual_core.training.config import TrainingConfig
from dual_core.training.loop import RunOptions, train
from dual_core.volumes.reading import write_volume

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
OPTIONS = RunOptions(device="cpu", precision="float32", previews=0)
PROLOGUE = "import sys, os, time; from pathlib import Path\n"


def python(code: str, *arguments: str) -> subprocess.Popen:
    """Another process that runs ``code``; it prints a line when it is where it should be."""
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + code, *arguments], env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> int:
    process.send_signal(number)
    process.communicate(timeout=30)
    return process.returncode


@pytest.fixture()
def forgetful(monkeypatch):
    """As a process that has not looked into any folder yet."""
    monkeypatch.setattr(leftovers, "_swept", set())
    return leftovers._swept


# Temporary files ----------------------------------------------------------------------------

LEAVE = """
from dual_core.safety.leftovers import temporary_name
from dual_core.volumes.writer import VolumeWriter
target = Path(sys.argv[1])
writer = VolumeWriter(target, (4, 8, 8), 10.0); writer.__enter__()
folder = temporary_name(target); folder.mkdir(); (folder / "fill").write_text("x")
print("there", flush=True); time.sleep(60)
"""


def test_what_a_killed_run_left_goes_and_what_a_living_one_has_stays(tmp_path, forgetful):
    target = tmp_path / "t.mrc"
    process = python(LEAVE, str(target))
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    before = sorted(os.listdir(tmp_path))
    assert len(before) == 2
    own = temporary_name(target)  # looks for leftovers: these are not
    own.write_text("mine")
    assert set(before) <= set(os.listdir(tmp_path))
    kill(process)
    forgetful.clear()
    others = [".t.mrc.1234.part", ".dual-zz.part", "dual.part", ".hidden"]
    for name in others:
        (tmp_path / name).write_text("somebody's")
    write_volume(target, np.zeros((2, 2, 2), np.float32), 10.0)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, own.name, "t.mrc"])


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path, forgetful):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    dead = python("from dual_core.safety.leftovers import temporary_name\n"
                  "os.symlink('precious', temporary_name(Path(sys.argv[1])))", str(tmp_path / "a"))
    dead.communicate(timeout=30)
    forgetful.clear()
    assert remove_leftovers(tmp_path) == 1
    assert os.listdir(tmp_path) == ["precious"]
    assert (tmp_path / "precious" / "data").exists()


def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    name = temporary_name(tmp_path / "a").name
    assert owner_is_gone(name) is False
    machine, boot, process, began, rest = name.split("-", 1)[1].split("-", 4)
    assert owner_is_gone(f".dual-{machine}-{boot}-{process}-{int(began) + 1}-{rest}") is True
    assert owner_is_gone(f".dual-{machine}-00000000-{process}-{began}-{rest}") is True
    assert owner_is_gone(f".dual-00000000-{boot}-{process}-{began}-{rest}") is None
    assert owner_is_gone(f".dual-{machine}-{boot}-{2**70}-{began}-{rest}") is True
    assert owner_is_gone(f".{name}") is None


def test_a_temporary_folder_goes_after_an_error(tmp_path):
    with pytest.raises(KeyError), temporary_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("x")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".mrc")
    write_volume(path, np.zeros((2, 2, 2), np.float32), 10.0)
    assert path.exists()


# One training a folder ----------------------------------------------------------------------

HOLD = """
from dual_core.safety.locks import folder_lock
with folder_lock(Path(sys.argv[1]), "a training"):
    print("held", flush=True); time.sleep(60)
"""


def test_a_second_run_is_refused_at_once_and_a_dead_one_holds_nothing(tmp_path):
    first = python(HOLD, str(tmp_path))
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(DualError, match=f"process {first.pid} ") as caught, folder_lock(
        tmp_path, "a training"
    ):
        pytest.fail("two in one folder")
    assert "\n" not in str(caught.value)
    kill(first)
    with folder_lock(tmp_path, "a training"), folder_lock(tmp_path, "a training"):
        assert (tmp_path / LOCK).exists()
    assert os.listdir(tmp_path) == []


def test_many_that_want_one_folder_have_it_one_after_another(tmp_path):
    code = """
from dual_core.errors import DualError
from dual_core.safety.locks import folder_lock
folder, done = Path(sys.argv[1]), 0
while done < 20:
    try:
        with folder_lock(folder, "a test"):
            os.mkdir(folder / "inside"); os.rmdir(folder / "inside"); done += 1
    except DualError:
        pass
"""
    processes = [python(code, str(tmp_path)) for _ in range(3)]
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    assert os.listdir(tmp_path) == []


# A training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    paths = {name: folder / f"{name}.mrc" for name in ("noisy", "clean")}
    clean = (random.random((24, 32, 32)) > 0.98).astype(np.float32) * 9
    write_volume(paths["clean"], clean, 10.0)
    noise = random.standard_normal(clean.shape).astype(np.float32)
    write_volume(paths["noisy"], noise - clean, 10.0)
    return paths


def small(**changes) -> TrainingConfig:
    network = NetworkConfig(
        channels=(4, 6), noise_channels=(4, 4), code_size=5, noise_side=16,
        discriminator_channels=(4, 6),
    )
    return TrainingConfig(**{
        "iterations": 4, "patch": 16, "batch": 1, "network": network, "contrast": "dark",
        "clean_contrast": "bright", "rehearsals": 1, "code_pool": 4, "calibration_weight": 1.0,
        **changes,
    })


def run(data: Dict[str, Path], folder: Path, resume: bool = False, **changes):
    options = RunOptions(device="cpu", precision="float32", previews=0,
                         checkpoint_every_min=1e-9)
    return train([data["noisy"]], [data["clean"]], folder, small(**changes), options, resume)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(data, folder)
    return folder


def spoil(folder: Path, what: str) -> None:
    """Make a checkpoint wrong in a way that only its use shows."""
    import json

    from safetensors.torch import load_file, save_file

    if what == "other networks":
        tensors = load_file(str(folder / TENSORS))
        name = next(name for name in tensors if name.startswith("model."))
        save_file({**tensors, name: tensors[name][:1].clone()}, str(folder / TENSORS))
        return
    values = json.loads((folder / VALUES).read_text())
    if what == "null":
        (folder / VALUES).write_text(what)
        return
    changes = {
        "no place": {"noisy": None, "generator": {"bit_generator": "PCG64"}},
        "text": {"iteration": "many"},
        "a card of another kind": {"card": "{}"},
    }
    (folder / VALUES).write_text(json.dumps({**values, **changes[what]}))


@pytest.mark.parametrize(
    "what", ["null", "other networks", "no place", "text", "a card of another kind"]
)
def test_a_broken_checkpoint_falls_back_to_the_one_before_and_says_so(
    data, trained, tmp_path, caplog, what
):
    tmp_path = tmp_path / "run"
    shutil.copytree(trained, tmp_path)
    spoil(tmp_path / FOLDER, what)
    result = run(data, tmp_path, resume=True)
    assert result.finished
    assert FOLDER in caplog.text and "cannot be used" in caplog.text
    assert len([r for r in caplog.records if "cannot be used" in r.getMessage()]) == 1
    spoil(tmp_path / FOLDER, what)
    spoil(tmp_path / PREVIOUS, what)
    with pytest.raises(DualError, match="damaged"):
        run(data, tmp_path, resume=True)


def command(data: Dict[str, Path], folder: Path, *more: str) -> List[str]:
    return [
        sys.executable, "-m", "dual_core", "train", "--noisy", str(data["noisy"]), "--clean",
        str(data["clean"]), "--output", str(folder), "--device", "cpu", "--patch", "24",
        "--contrast", "dark", "--clean-contrast", "bright", *more,
    ]


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_closed_terminal_ends_a_training_with_a_checkpoint(data, tmp_path):
    output = tmp_path / "run"
    first = subprocess.Popen(
        command(data, output, "--checkpoint-every", "0.001"), env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    wait_for(output / FOLDER, first)
    second = subprocess.run(command(data, output, "--resume"), env=ENVIRONMENT, text=True,
                            capture_output=True, timeout=60)
    assert second.returncode == 2
    assert f"process {first.pid} " in second.stderr
    # Whoever reads what it says has gone as well.
    assert first.stderr is not None and first.stdout is not None
    first.stderr.close()
    first.stdout.close()
    first.send_signal(signal.SIGHUP)
    assert first.wait(timeout=60) == 129
    assert (output / "model.safetensors").exists()
    assert not [name for name in os.listdir(output) if name.startswith(".")]
    (output / "model.safetensors").unlink()
    again = subprocess.run(command(data, output), env=ENVIRONMENT, text=True,
                           capture_output=True, timeout=60)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr and again.stderr.count("\n") == 1


def test_an_unreadable_input_costs_no_training(data, tmp_path):
    run(data, tmp_path)
    (tmp_path / "none.mrc").write_text("x")
    with pytest.raises(DualError):
        train([tmp_path / "none.mrc"], [data["clean"]], tmp_path, small(), OPTIONS)
    assert (tmp_path / "model.safetensors").exists() and (tmp_path / FOLDER).exists()


WORK = """
from dual_core.cli import main as program
from dual_core.cli.main import main
import logging, types
def add_arguments(parser):
    parser.add_argument("--output")
def run(args):
    logging.getLogger("dual_core.x").info("at work \\x1b[31m")
    print("first \\udcff\\x1b", flush=True)
    time.sleep(float(os.environ.get("WAIT", "0.3")))
    for _ in range(3):
        print("more", flush=True); print("more", file=sys.stderr, flush=True)
        logging.getLogger("dual_core.x").info("more")
    Path(args.output).write_text("done")
    return 0
module = types.ModuleType("probe", "Probe.")
module.EXAMPLE, module.add_arguments, module.run = "dual probe", add_arguments, run
sys.modules["probe"] = module
program.COMMANDS["probe"] = ("probe", "a probe")
sys.exit(main(["probe", "--output", sys.argv[1]]))
"""


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "2>&1 | true", "| head -1"])
def test_nobody_who_reads_does_not_stop_work(tmp_path, closed):
    script = tmp_path / "probe.py"
    script.write_text(PROLOGUE + WORK)
    out = tmp_path / "out"
    done = subprocess.run(
        f'"{sys.executable}" "{script}" "{out}" {closed}', shell=True, env=ENVIRONMENT,
        capture_output=True, timeout=60,
    )
    assert out.read_text() == "done"
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("number", "ignored"), [(signal.SIGHUP, False), (signal.SIGTERM, False),
                                                 (signal.SIGHUP, True)])
def test_hanging_up_unwinds_unless_it_is_ignored(tmp_path, number, ignored):
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignored else ""
    script, out = tmp_path / "probe.py", tmp_path / "out"
    script.write_text(PROLOGUE + before + WORK)
    process = subprocess.Popen([sys.executable, str(script), str(out)], text=True,
                               env={**ENVIRONMENT, "WAIT": "1"}, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "first \\udcff\\x1b\n"
    assert kill(process, number) == (0 if ignored else 128 + number)
    assert out.exists() == ignored
