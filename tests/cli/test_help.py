"""Help, completion and the overview: light, grouped, with an example for each command."""

import argparse
import importlib
import re
import subprocess
import sys

import pytest

from dual_core.cli import main as cli
from dual_core.cli import parsing


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


def test_no_arguments_shows_the_overview(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{group}:\n" in said for group in ("prepare", "train", "use", "judge"))


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
