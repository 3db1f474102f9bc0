"""Options from a file: the command line wins, mistakes are refused, what is dumped is a config."""

import pytest
import yaml
from probe_command import make_command

from dual_core import __version__
from dual_core.cli import common
from dual_core.cli import main as cli


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


def test_what_belongs_to_one_call_is_not_dumped(monkeypatch, tmp_path):
    seen = make_command(monkeypatch)
    dumped = tmp_path / "c.yaml"
    assert cli.main(["probe", "a", "--name", "n", "--resume", "--time-limit", "5"]) == 0
    common.dump_options(seen[-1], dumped)
    assert not {"resume", "time_limit"} & set(yaml.safe_load(dumped.read_text()))
    assert cli.main(["probe", "--config", str(dumped)]) == 0
    assert seen[-1].resume is False and seen[-1].time_limit is None
