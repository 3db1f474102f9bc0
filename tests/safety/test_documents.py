"""YAML and JSON that want to hang the program, fill the memory or end it with a traceback."""

from __future__ import annotations

import os
import time

import pytest

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.safety.documents import parse_json, parse_yaml, read_json, read_yaml
from dual_core.safety.shown import LONGEST, printable, safe_lines, shown

LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]\n" for n in range(1, 12)
)
YAML = {
    "no such date": "iterations: 2024-02-31",
    "empty number": "iterations: 0x_",
    "long number": "iterations: " + "9" * 5000,
    "long octal": "iterations: 0o" + "7" * 5000,
    "long float": "iterations: 1." + "9" * 5000,
    "brackets": "iterations: " + "[" * 3000,
    "braces": "iterations: " + "{a: " * 3000,
    "indentation": "\n".join(" " * n + "a:" for n in range(500)),
    "laughs": LAUGHS,
    "itself": "iterations: &a [*a]",
    "nul": "iterations: a\0b",
    "surrogate": 'iterations: "\\ud800"',
    "list as key": "? [a, b]\n: 1",
    "mapping as key": "? {a: b}\n: 1",
    "code": "iterations: !!python/object/apply:os.system [echo]",
    "binary": "iterations: !!binary ====",
    "merge": "<<: 3",
    "sixty": "iterations: " + "1:" * 3000 + "1",
    "set": "iterations: !!set {a, b}",
    "timestamp": "iterations: 2001-01-01",
    "only a text": "text",
    "name": "x" * 100_000 + ": 1",
    "not a name": "{1: 2, null: 3}",
    "escape": '"\\e[31m": 3',
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_hostile_yaml_ends_soon_in_one_short_line(tmp_path, capsys, text):
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    started = time.monotonic()
    status = main(["train", "--noisy", "a.mrc", "--output", str(tmp_path / "o"),
                   "--config", str(path)])
    told = capsys.readouterr().err
    assert time.monotonic() - started < 10
    assert status == 2, told
    assert "c.yaml" in told
    assert told.count("\n") == 1
    assert len(told) < 700
    assert "\x1b" not in told


def test_what_people_write_is_read(tmp_path):
    text = "noisy: &n [a.mrc, 'b c.mrc']\nclean: *n\nvoxel-size: 15.0\nresume: yes\n"
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert read_yaml(path) == {
        "noisy": ["a.mrc", "b c.mrc"], "clean": ["a.mrc", "b c.mrc"], "voxel-size": 15.0,
        "resume": True,
    }
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "NaN", "-Infinity", "1e999", "\0", "", '"',
     "1." + "0" * 5000, '"\\'],
    ids=lambda text: text[:9],
)
def test_hostile_json_is_no_json(tmp_path, text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_with_brackets_in_its_text_is_read():
    text = '{"a": "' + "[" * 1000 + '\\"' + "{" * 1000 + '", "b": [[1, 2.5, null, true]]}'
    assert parse_json(text)["b"] == [[1, 2.5, None, True]]


@pytest.mark.parametrize("reader", [read_json, read_yaml])
def test_pipes_folders_and_huge_files_are_refused_unread(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    for name in ("pipe", "folder", "huge"):
        with pytest.raises(DualError, match=name):
            reader(tmp_path / name)


def test_a_shown_value_is_short_and_quick():
    deep = [1]
    for _ in range(60):
        deep = [deep] * 9
    many = dict.fromkeys(range(99), deep)
    for value in (deep, 10**100_000, "x" * 10**6, {"k" * 999: deep}, many):
        assert len(shown(value)) <= LONGEST + 3
    assert shown("a\x1b[31m\u202eb") == r"'a\x1b[31m\u202eb'"


def test_names_are_printable_whatever_they_hold():
    name = os.fsdecode(b"a\xff\n\x1b]0;x\x07") + "\u202eµ\U0001f600"
    text = printable(name)
    text.encode()
    assert text == "a\\udcff\\n\\x1b]0;x\\x07\\u202eµ\U0001f600"
    assert printable("x" * 9999, 100).startswith("xxx")
    assert len(printable("x" * 9999, 100)) <= 100
    assert safe_lines("a\nb\tµ\x1b") == "a\nb\tµ\\x1b"
