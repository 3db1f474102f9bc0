"""Errors are one line, signals unwind, and statuses say how a run ended."""

import contextlib
import os
import signal

import pytest
from probe_command import make_command

from dual_core.cli import main as cli
from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_name
from dual_core.tasks.batch import BatchRecord, Job, run_jobs


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["probe"],
        ["probe", "a", "--name", "n", "--number", "0"],
        ["probe", "a", "--name", "n", "--number", "many"],
        ["probe", "a", "--name", "n", "--share", "1.5"],
        ["probe", "a", "--name", "n", "--share", "nan"],
        ["probe", "a", "--name", "n", "--kind", "c"],
        ["probe", "a", "--name", "n", "--num", "2"],
        ["probe", "a", "--name", "n", "--config", "/nowhere/x.yaml"],
    ],
)
def test_bad_usage_is_one_line_and_status_2(monkeypatch, capsys, arguments):
    make_command(monkeypatch)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dual: error: ") and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "error, status, words",
    [
        (DualError("a.mrc: broken;\n copy it again"), 2, "a.mrc: broken; copy it again"),
        (OSError(28, "No space left on device", "o.mrc"), 2, "No space left on device (o.mrc)"),
        (MemoryError(), 2, "out of memory"),
        (ModuleNotFoundError("no", name="torch"), 2, "torch"),
        (ZeroDivisionError("a bug"), 1, "unexpected ZeroDivisionError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_become_one_line(monkeypatch, capsys, error, status, words):
    def fail(args):
        raise error

    make_command(monkeypatch, fail)
    arguments = ["probe", "a", "--name", "n"]
    assert cli.main(arguments) == status
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    with pytest.raises(type(error)):
        cli.main(arguments + ["--debug"])


def test_termination_unwinds(monkeypatch):
    cleaned = []

    def work(args):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned.append(True)

    make_command(monkeypatch, work)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        cli.main(["probe", "a", "--name", "n"])
    assert end.value.code == 143 and cleaned
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_the_making_of_a_file_and_its_block_leaves_nothing(
    monkeypatch, tmp_path, number
):
    def work(args):
        file, folder = (temporary_name(tmp_path / "result") for _ in range(2))
        file.write_bytes(b"1")
        folder.mkdir()
        (folder / "inside").write_bytes(b"1")
        os.kill(os.getpid(), number)

    make_command(monkeypatch, work)
    (tmp_path / "kept.part").write_bytes(b"1")
    alive = ".dual-" + temporary_name(tmp_path / "x").name[6:24] + "1-0-01234567.part"
    (tmp_path / alive).write_bytes(b"1")  # of process 1
    with contextlib.suppress(SystemExit):
        cli.main(["probe", "a", "--name", "n"])
    assert sorted(os.listdir(tmp_path)) == [alive, "kept.part"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_although_a_library_makes_another_error_of_it(
    monkeypatch, capsys, tmp_path, number
):
    """torch does so: its C code asks Python for a length, and says that there is none."""
    worked = []

    def load(job):
        worked.append(job)
        try:
            os.kill(os.getpid(), number)
        except BaseException:
            raise ValueError("could not determine the shape") from None

    def work(args):
        jobs = [Job(tmp_path / name, tmp_path / f"{name}_out") for name in args.files]
        run_jobs(jobs, load, BatchRecord(tmp_path / "probe.jsonl", {}))
        return 0

    make_command(monkeypatch, work)
    before = signal.getsignal(number)
    assert cli.main(["probe", "a", "b", "--name", "n"]) == 128 + number
    said = "dual: interrupted\n" if number == signal.SIGINT else ""
    assert (len(worked), capsys.readouterr().err) == (1, said)
    assert signal.getsignal(number) is before


TRAIN = ["train", "--noisy", "t.mrc", "--clean", "g.mrc", "--output", "run"]


@pytest.mark.parametrize("method", ["stable", "paper"])
@pytest.mark.parametrize("patch", ["30", "36", "8"])
def test_patch_that_does_not_fit_is_one_line(monkeypatch, tmp_path, capsys, method, patch):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*TRAIN, "--patch", patch, "--method", method]) == 2
    error = capsys.readouterr().err
    assert f"a patch of {patch} voxels" in error and "multiple of" in error
    assert error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "reason, status", [("SIGINT", 130), ("SIGTERM", 143), ("time limit", 0), ("finished", 0)]
)
def test_status_of_a_training_says_how_it_ended(monkeypatch, tmp_path, reason, status):
    from dual_core.training import loop

    finished = reason == "finished"
    result = loop.TrainingResult(tmp_path / "model.safetensors", 3, finished, reason)
    monkeypatch.setattr(loop, "train", lambda *arguments: result)
    monkeypatch.chdir(tmp_path)
    assert cli.main(TRAIN) == status
