"""The frame of the command line: help, options from a file, errors and exit statuses."""

import argparse
import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import types

import pytest
import yaml

from dual_core import __version__
from dual_core.cli import common, parsing
from dual_core.cli import main as cli
from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_name
from dual_core.tasks.batch import BatchRecord, Job, run_jobs


def make_command(monkeypatch, run=None, nested=False):
    """A command `probe` that stores what it was called with."""
    seen = []
    module = types.ModuleType("dual_core.cli.probe")
    module.__doc__ = "Probe the frame."
    module.EXAMPLE = "dual probe a.mrc --number 3"

    def add_options(parser):
        parser.add_argument("files", nargs="+")
        parser.add_argument("--number", type=common.positive_int, default=1, help="how many")
        parser.add_argument("--share", type=common.fraction, default=0.5)
        parser.add_argument("--range", nargs=2, type=float)
        parser.add_argument("--name", required=True)
        parser.add_argument("--fast-mode", action="store_true")
        parser.add_argument("--kind", choices=("a", "b"))
        parser.add_argument(
            "--angles", nargs=parsing.TWO_OR_THREE, type=float, metavar=("MIN", "MAX", "STEP")
        )
        parser.add_argument("--resume", action="store_true")
        parser.add_argument("--time-limit", type=float)

    def add_arguments(parser):
        if nested:
            commands = parser.add_subparsers(dest="what", required=True)
            add_options(commands.add_parser("deep"))
        else:
            add_options(parser)

    def store(args):
        seen.append(args)
        return run(args) if run else 0

    module.add_arguments = add_arguments
    module.run = store
    monkeypatch.setitem(sys.modules, "dual_core.cli.probe", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("dual_core.cli.probe", "probe the frame"))
    return seen


@pytest.fixture(autouse=True)
def keep_logging():
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.getLogger("dual_core").setLevel(logging.NOTSET)


def test_overview_lists_all_commands_and_imports_none():
    code = (
        "import sys; from dual_core.cli.main import main; status = main(['--help']);"
        "heavy = {'torch', 'numpy', 'yaml', 'scipy', 'matplotlib'} & set(sys.modules);"
        "from dual_core.cli.main import COMMANDS;"
        "commands = {module for module, _ in COMMANDS.values()} & set(sys.modules);"
        "assert not heavy, heavy; assert not commands, commands; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, (_, text) in cli.COMMANDS.items():
        assert name in done.stdout and text in done.stdout


@pytest.mark.parametrize("command", ["denoise", "info"])
def test_help_of_a_command_is_light_and_has_an_example(command):
    code = (
        "import sys\nfrom dual_core.cli.main import main\n"
        f"try:\n    main(['{command}', '--help'])\nexcept SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"dual {command} " in done.stdout and "example:" in done.stdout
    assert "--config" in done.stdout


def test_module_entry_point_and_version():
    done = subprocess.run(
        [sys.executable, "-m", "dual_core", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.strip() == f"dual {__version__}"


@pytest.mark.parametrize(
    "name, own", [("THP_MEM_ALLOC_ENABLE", "1"), ("GOMP_SPINCOUNT", "10000")]
)
def test_what_torch_reads_is_set_before_it_is_loaded_unless_the_user_has(monkeypatch, name, own):
    seen = []
    monkeypatch.setattr(cli, "_run", lambda argv: seen.append(os.environ[name]) or 0)
    monkeypatch.setenv(name, "x")  # so that what main sets goes with this test
    monkeypatch.delenv(name)
    assert cli.main([]) == 0
    monkeypatch.setenv(name, "other")
    assert cli.main([]) == 0
    assert seen == [own, "other"]


def test_no_arguments_shows_the_overview(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{group}:\n" in said for group in ("prepare", "train", "use", "judge"))


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


def test_a_command_that_is_not_there_does_not_break_the_others(monkeypatch, capsys):
    monkeypatch.setitem(cli.COMMANDS, "absent", ("dual_core.cli.absent", "not written"))
    assert cli.main(["--help"]) == 0
    assert cli.main(["absent"]) == 2
    assert "absent" in capsys.readouterr().err


def test_options_from_a_file_and_the_command_line_wins(monkeypatch, tmp_path):
    seen = make_command(monkeypatch)
    config = tmp_path / "c.yaml"
    config.write_text(
        "files: [x.mrc, y.mrc]\nnumber: 4\nshare: 1e-1\nname: N\nfast-mode: true\n"
        "range: [-60, 60.5]\nkind: null\n"
    )
    assert cli.main(["probe", "--config", str(config)]) == 0
    args = seen[-1]
    assert args.files == ["x.mrc", "y.mrc"] and args.number == 4 and args.share == 0.1
    assert args.name == "N" and args.fast_mode is True and args.range == [-60.0, 60.5]
    assert args.kind is None
    assert cli.main(["-v", "probe", "z.mrc", f"--config={config}", "--number", "9"]) == 0
    assert seen[-1].files == ["z.mrc"] and seen[-1].number == 9 and seen[-1].verbose


@pytest.mark.parametrize(
    "text",
    [
        "unknown: 1",
        "number: 0",
        "number: [1, 2]",
        "fast-mode: 3",
        "range: [1]",
        "kind: c",
        "debug: true",
        "- a list",
        "a: [",
    ],
)
def test_a_bad_config_is_refused(monkeypatch, capsys, tmp_path, text):
    seen = make_command(monkeypatch)
    config = tmp_path / "c.yaml"
    config.write_text(text + "\n")
    assert cli.main(["probe", "a", "--name", "n", "--config", str(config)]) == 2
    assert not seen
    error = capsys.readouterr().err
    assert str(config) in error and error.count("\n") == 1


def test_config_and_program_options_reach_nested_commands(monkeypatch, tmp_path):
    seen = make_command(monkeypatch, nested=True)
    config = tmp_path / "c.yaml"
    config.write_text("name: N\nnumber: 3\n")
    assert cli.main(["probe", "deep", "a", "--config", str(config), "--verbose"]) == 0
    assert seen[-1].name == "N" and seen[-1].number == 3 and seen[-1].verbose
    assert cli.main(["probe", "--debug", "deep", "a", "--name", "n"]) == 0
    assert seen[-1].debug and not seen[-1].verbose


def test_of_nested_commands_only_the_one_that_is_called_reads_the_config(tmp_path, capsys):
    """'evaluate volumes' takes one truth, 'evaluate picks' takes many."""
    (tmp_path / "p.csv").write_text("x_A,y_A,z_A\n1,2,3\n")
    given = {"what": "picks", "truth": [str(tmp_path / "p.csv")], "tolerance": 5}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({**given, "picks": given["truth"]}))
    assert cli.main(["evaluate", "picks", "--config", str(config)]) == 0
    assert "1.000" in capsys.readouterr().out
    assert cli.main(["evaluate", "volumes", "--config", str(config)]) == 2
    assert "is unknown" in capsys.readouterr().err


def test_dumped_options_are_a_config(monkeypatch, tmp_path):
    seen = make_command(monkeypatch)
    dumped = tmp_path / "new" / "probe.yaml"
    assert cli.main(["probe", "a", "b", "--name", "N", "--range", "1", "2", "--debug"]) == 0
    common.dump_options(seen[-1], dumped)
    assert dumped.read_text().startswith(f"# dual probe {__version__}")
    assert [p.name for p in dumped.parent.iterdir()] == ["probe.yaml"]
    assert not {"debug", "command", "config"} & set(yaml.safe_load(dumped.read_text()))
    assert cli.main(["probe", "--config", str(dumped)]) == 0
    first, second = vars(seen[-2]), vars(seen[-1])
    for name in ("files", "number", "share", "range", "name", "fast_mode", "kind"):
        assert first[name] == second[name]


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


def test_quiet_and_verbose(monkeypatch, capsys):
    def speak(args):
        import logging

        logger = logging.getLogger("dual_core.somewhere")
        logger.debug("detail")
        logger.info("fact")
        logger.warning("careful")
        return 0

    make_command(monkeypatch, speak)
    said = {}
    for flag in ("", "--quiet", "--verbose"):
        cli.main(["probe", "a", "--name", "n"] + ([flag] if flag else []))
        said[flag] = capsys.readouterr().err.splitlines()
    assert said[""] == ["fact", "warning: careful"]
    assert said["--quiet"] == ["warning: careful"]
    assert said["--verbose"] == ["detail", "fact", "warning: careful"]


def test_progress_without_a_terminal_logs_lines(monkeypatch, caplog):
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(common.time, "monotonic", lambda: next(clock))
    with caplog.at_level("INFO"), common.progress_bar("t.mrc") as report:
        for done in range(1, 11):
            report(done, 10)
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 4 and lines[0] == "t.mrc: 2 of 10 tiles, 160 s left"


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    common.logging.getLogger("dual_core").setLevel("INFO")
    with common.progress_bar("t.mrc") as report:
        report(5, 10)
        report(1, 20)
        report(20, 20)
    error = capsys.readouterr().err
    assert "t.mrc" in error and "20/20" in error


def test_numbers():
    assert common.positive_float("2.5") == 2.5 and common.non_negative_int("0") == 0
    for kind, text in ((common.positive_float, "inf"), (common.non_negative_int, "-1")):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


# --- what a newcomer types ----------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_a_mistyped_option_is_named_before_all_else(monkeypatch, capsys, nested):
    make_command(monkeypatch, nested=nested)
    what = ["deep"] if nested else []
    # --name is required and missing, because it is mistyped.
    for typed, meant in (("--nmae", "--name"), ("--fast_mode", "--fast-mode")):
        assert cli.main(["probe", *what, "a", f"{typed}=x"]) == 2
        error = capsys.readouterr().err
        assert f"no option '{typed}' (did you mean '{meant}'?)" in error and error.count("\n") == 1
    assert cli.main(["probe", *what, "a", "--xyzzy"]) == 2
    error = capsys.readouterr().err
    assert "'--xyzzy'" in error and "did you mean" not in error


def test_values_are_not_taken_for_options(monkeypatch):
    seen = make_command(monkeypatch)
    arguments = ["-vq", "--range", "-60", "-.5", "--name=--odd", "--", "--file"]
    assert cli.main(["probe", *arguments]) == 0
    assert seen[-1].range == [-60.0, -0.5] and seen[-1].files == ["--file"]
    assert seen[-1].name == "--odd" and seen[-1].verbose and seen[-1].quiet


def test_mistyped_commands_and_settings_are_told_what_was_meant(monkeypatch, capsys, tmp_path):
    make_command(monkeypatch)
    assert cli.main(["denose"]) == 2
    assert "did you mean 'denoise'?" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("numbr: 3\n")
    assert cli.main(["probe", "a", "--name", "n", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "did you mean 'number'?" in capsys.readouterr().err


@pytest.mark.parametrize("given", [("1", "2"), ("1", "2", "3")])
def test_two_or_three_values(monkeypatch, capsys, tmp_path, given):
    seen = make_command(monkeypatch)
    assert cli.main(["probe", "a", "--angles", *given, "--name", "n"]) == 0
    assert seen[-1].angles == [float(value) for value in given]
    common.dump_options(seen[-1], tmp_path / "c.yaml")
    assert cli.main(["probe", "--config", str(tmp_path / "c.yaml")]) == 0
    assert seen[-1].angles == [float(value) for value in given]
    assert cli.main(["probe", "a", "--name", "n", "--angles", "1"]) == 2
    error = capsys.readouterr().err
    assert "2 or 3 values, MIN MAX STEP" in error and error.count("\n") == 1


def test_what_belongs_to_one_call_is_not_dumped(monkeypatch, tmp_path):
    seen = make_command(monkeypatch)
    dumped = tmp_path / "c.yaml"
    assert cli.main(["probe", "a", "--name", "n", "--resume", "--time-limit", "5"]) == 0
    common.dump_options(seen[-1], dumped)
    assert not {"resume", "time_limit"} & set(yaml.safe_load(dumped.read_text()))
    assert cli.main(["probe", "--config", str(dumped)]) == 0
    assert seen[-1].resume is False and seen[-1].time_limit is None


def test_every_default_is_shown_once_and_readably():
    parser = parsing.CommandParser(prog="p")
    for name, default in (("a", 0), ("b", 1.0), ("c", [20.0, 35]), ("d", True), ("e", None)):
        parser.add_argument(f"--{name}", default=default, help=f"H{name}")
    parser.add_argument("--f", default="50%", help="Hf")
    parser.add_argument("--g", default=4, help="Hg (default: of the preset)")
    lines = parser.format_help().splitlines()
    told = [line[line.index("H") :] for line in lines if line.startswith("  --")]
    assert told == [
        "Ha (default: 0)", "Hb (default: 1)", "Hc (default: 20 35)", "Hd", "He",
        "Hf (default: 50%)", "Hg (default: of the preset)",
    ]  # fmt: skip


def commands_with_nested():
    for name, (module, _) in cli.COMMANDS.items():
        parser = cli.build_parser(name, importlib.import_module(module))
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from ((f"{name} {what}", one) for what, one in action.choices.items())


@pytest.mark.parametrize("name, parser", list(commands_with_nested()))
def test_every_help_has_an_example_and_no_python(name, parser):
    text = parser.format_help()
    assert "example:" in text and f"dual {name}" in text.split("example:")[1]
    assert "default: [" not in text and max(map(len, text.splitlines())) <= 105
    for block in re.split(r"\n  (?=-)", text):
        assert block.split("example:")[0].count("(default") <= 1, block


def test_commands_are_grouped_by_what_a_user_wants():
    assert {group: list(commands) for group, commands in cli.GROUPS.items()} == {
        "prepare": ["info", "pack", "project"],
        "train": ["train", "report"],
        "use": ["denoise", "compensate", "simulate", "translate", "pick"],
        "judge": ["evaluate", "average"],
        "try": ["demo", "completion"],
    }


@pytest.fixture(scope="module")
def completed(tmp_path_factory):
    """What a bash with our script makes of words, the last of which is being typed."""
    script = tmp_path_factory.mktemp("completion") / "dual.bash"
    done = subprocess.run(
        [sys.executable, "-m", "dual_core", "completion", "bash"], capture_output=True, text=True
    )
    script.write_text(done.stdout)
    program = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dual; '
    program += 'echo "${COMPREPLY[*]}"'

    def complete(*words):
        line = ["bash", "-c", program, "bash", *words]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()

    return complete


def test_a_shell_completes_commands_options_and_choices(completed):
    assert completed("dual", "de") == ["denoise", "demo"]
    assert completed("dual", "denoise", "--out") == ["--output", "--output-contrast"]
    assert completed("dual", "denoise", "--units", "") == ["input", "standardised"]
    assert completed("dual", "denoise", "t.mrc", "--units", "s") == ["standardised"]
    assert completed("dual", "evaluate", "v") == ["volumes"]
    assert completed("dual", "evaluate", "volumes", "--tr") == ["--truth"]
    assert completed("dual", "evaluate", "volumes", "--contrast", "d") == ["dark"]
    # The name of a file is for the shell.
    assert completed("dual", "denoise", "to") == []


def test_a_shell_completes_every_command_and_option(completed):
    assert set(completed("dual", "")) == {*cli.COMMANDS, "--help", "--version"}
    for name, parser in commands_with_nested():
        options = {option for option in parser._option_string_actions if option.startswith("--")}
        assert set(completed("dual", *name.split(), "--")) == options, name


# --- folders for results ------------------------------------------------------------------------


def test_output_folder_stays_only_with_something_in_it(tmp_path):
    with pytest.raises(KeyError), common.output_folder(tmp_path / "a" / "b"):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), common.output_folder(tmp_path / "a" / "b") as folder:
        (folder / "result").touch()
        raise KeyError
    assert (tmp_path / "a" / "b" / "result").exists()
    # What was there before is never taken away, empty or not.
    (tmp_path / "c").mkdir()
    with pytest.raises(KeyError), common.output_folder(tmp_path / "c"):
        raise KeyError
    assert (tmp_path / "c").exists()


def test_unusable_output_folders_are_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DualError, match=f"{path}.*--output"), common.output_folder(path):
            pass
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DualError, match="no permission"), common.output_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        ["pack", "--shape", "16", "16", "16", "--molecules", "antibody_150"],
        ["project", "volume.mrc"],
        ["train", "--noisy", "volume.mrc", "--clean", "volume.mrc"],
        ["denoise", "volume.mrc", "--model", "model.safetensors"],
        ["evaluate", "volumes", "volume.mrc", "--truth", "volume.mrc"],
    ],
)
def test_an_output_that_is_a_file_is_one_line(monkeypatch, tmp_path, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").write_text("mine")
    assert cli.main([*arguments, "--output", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dual: error: out") and error.count("\n") == 1
    assert (tmp_path / "out").read_text() == "mine"


# --- dual train ---------------------------------------------------------------------------------

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
