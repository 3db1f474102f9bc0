"""Malformed inputs of every kind that DUAL reads: does any end otherwise than well or in one line?

    python benchmarks/fuzz.py --inputs 5000 --seed 1 --output benchmarks/output/fuzz

Each input is a valid file, or a valid command line, that was changed at random: fields of headers
and cards, values of settings, words of tables, bytes anywhere, ends cut off. It is given to a
command within this process, under a limit of time and of memory. Counted are `unexpected` errors
and tracebacks, runs over the time limit, allocations over the memory limit, warnings of libraries
on the screen, messages that are too long, and temporary files that stay. docs/reliability.md has
the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

TIME_LIMIT_S = 20
BUSY = 10
MEMORY_LIMIT = 2 << 30
LONGEST_LINE = 1500
ABSURD = (
    "0", "-1", "1", "nan", "inf", "-inf", "1e308", "-1e308", "1e30", "1e-308", "1e-30", "0.001",
    "1e4", "1e6", "2147483648", "-2147483649", "9" * 40, "9" * 5000, "", " ", "x", "?", ".", "*a",
    "null", "true", "[]", "{}", "[1, 2]", "{a: 1}", "\u202e", "\x1b[31m", "\0", "0x_", "2024-02-31",
    "&a [*a]", "\udcff", "é", "a" * 300, "../../etc", "$x^2$", "%s", "'", '"', "#", "[" * 2000,
)
COUNTS = ("count", "iterations", "number", "copies", "snapshots", "batch", "patch", "box",
          "minutes", "time_limit")

Command = List[str]
Make = Callable[[np.random.Generator, Path, Path], Command]


class Outcome(NamedTuple):
    """How one input ended; ``kind`` is ``done``, ``refused`` or a kind of failure."""

    kind: str
    seconds: float
    told: str


class Hang(BaseException):
    """The time limit has passed."""


# Changes ------------------------------------------------------------------------------------


def changed_bytes(random: np.random.Generator, content: bytes) -> bytes:
    """Bytes overwritten, cut off, doubled or put in."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        if not data:
            break
        at = int(random.integers(len(data)))
        kind = random.integers(4)
        if kind == 0:
            data[at] = int(random.integers(256))
        elif kind == 1:
            del data[at : at + int(random.integers(1, 200))]
        elif kind == 2:
            data[at:at] = random.bytes(int(random.integers(1, 20)))
        elif random.random() < 0.3:
            del data[at:]
    return bytes(data)


def changed_text(random: np.random.Generator, text: str) -> bytes:
    """Words and lines of a text put in the place of others, dropped or doubled."""
    lines = text.split("\n")
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(lines)))
        kind = random.integers(4)
        words = lines[at].replace(",", " , ").split(" ")
        if kind < 2:
            place = int(random.integers(len(words)))
            old, new = words[place], str(random.choice(ABSURD))
            fitting = new[: len(old)].ljust(len(old)) if random.random() < 0.5 else new
            words[place] = fitting
            lines[at] = " ".join(words).replace(" , ", ",")
        elif kind == 2:
            lines[at : at + 1] = []
        else:
            lines[at:at] = [lines[int(random.integers(len(lines)))]] * int(random.integers(1, 4))
        lines = lines or [""]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return changed_bytes(random, content) if random.random() < 0.2 else content


def changed_values(random: np.random.Generator, value: Any, depth: int = 0) -> Any:
    """A JSON value with one of its parts replaced, dropped or added."""
    if isinstance(value, dict) and value and (depth == 0 or random.random() < 0.6):
        name = str(random.choice(list(value)))
        kind = random.integers(6)
        if kind == 0:
            return {other: part for other, part in value.items() if other != name}
        if kind == 1:
            return {**value, "x" * int(random.integers(1, 50)): absurd_value(random)}
        return {**value, name: changed_values(random, value[name], depth + 1)}
    if isinstance(value, list) and value and random.random() < 0.6:
        at = int(random.integers(len(value)))
        return [*value[:at], changed_values(random, value[at], depth + 1), *value[at + 1 :]]
    return absurd_value(random)


def absurd_value(random: np.random.Generator) -> Any:
    """A value of any type that JSON can say, and some that it cannot."""
    deep: Any = 0
    for _ in range(int(random.integers(1, 60))):
        deep = [deep]
    values = [None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, -1e308, 1e-308, 0.5,
              float("nan"), float("inf"), "", "Bright", "\ud800", "\0", "\x1b[2J", "x" * 1000,
              [], {}, [1, 2, 3], {"a": 1}, deep, 20000, 2**40, [0, 0], [60, -60]]
    return values[int(random.integers(len(values)))]


# Families -----------------------------------------------------------------------------------


def mrc_header(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Words of the header set to numbers at the edge, ends cut off, bytes changed."""
    raw = bytearray((seeds / "tomogram.mrc").read_bytes())
    for _ in range(int(random.integers(1, 4))):
        at = 4 * int(random.integers(0, 57))
        edge = [0, 1, -1, 2, 6, 12, 100, 2**31 - 1, -(2**31), 2**20, 65536]
        floats = [0.0, -1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), 0.04, 1e6]
        whole = random.random() < 0.6
        number = random.choice(edge) if whole else random.choice(floats)
        raw[at : at + 4] = struct.pack("<i" if whole else "<f", number)
    if random.random() < 0.3:
        raw = bytearray(changed_bytes(random, bytes(raw[:1200])) + raw[1200:])
    if random.random() < 0.2:
        del raw[int(random.integers(len(raw))) :]
    path = work / "x.mrc"
    path.write_bytes(bytes(raw))
    return on_volume(random, path, seeds, work)


def mrc_data(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Values that overflow, are no numbers, or are all alike."""
    raw = bytearray((seeds / "tomogram.mrc").read_bytes())
    values = np.frombuffer(raw, np.float32, offset=1024).copy()
    number = np.float32(random.choice([3e38, -3e38, np.nan, np.inf, 0, 1e20, 1e-40]))
    share = random.choice([1.0, 0.5, 1e-4])
    values[random.random(values.size) < max(share, 2 / values.size)] = number
    path = work / "x.mrc"
    path.write_bytes(bytes(raw[:1024]) + values.tobytes())
    return on_volume(random, path, seeds, work)


def on_volume(random: np.random.Generator, path: Path, seeds: Path, work: Path) -> Command:
    """A command on a volume."""
    out = ["--output", str(work / "o")]
    commands = [
        ["info", str(path)],
        ["pick", str(path), "--diameter", "60", "--number", "5", *out],
        ["project", str(path), "--tilt-range", "-60", "60", "60", *out],
        ["evaluate", "volumes", str(path), "--truth", str(seeds / "tomogram.mrc"), *out],
        ["denoise", str(path), "--model", str(seeds / "model.safetensors"), "--device", "cpu",
         *out],
        ["pack", "--shape", "16", "16", "16", "--molecules", str(path), "--number", "1",
         "--only-molecules", *out],
    ]
    return commands[int(random.integers(len(commands)))]


def model_file(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Bytes of a model, its header, its card, and single fields of the card."""
    raw = (seeds / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, weights = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    kind = random.integers(4)
    if kind < 2:
        card = json.loads(header["__metadata__"]["dual_card"])
        if random.random() < 0.4:
            card["network"] = changed_values(random, card["network"])
        else:
            card = changed_values(random, card)
        header["__metadata__"]["dual_card"] = json.dumps(card)
    elif kind == 2:
        header = changed_values(random, header)
    text = json.dumps(header).encode()
    if kind == 3:
        text = changed_bytes(random, text)
    if random.random() < 0.1:
        weights = bytes(len(weights))
    size = len(text) if random.random() < 0.9 else int(random.integers(0, 2**63))
    path = work / "m.safetensors"
    path.write_bytes(struct.pack("<Q", size) + text + weights)
    if random.random() < 0.5:
        return ["info", str(path)]
    return ["denoise", str(seeds / "tomogram.mrc"), "--model", str(path), "--device", "cpu",
            "--output", str(work / "o")]


def run_files(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """Files of a training directory, read by the report and by --resume."""
    run = work / "run"
    shutil.copytree(seeds / "run", run)
    name = str(random.choice(
        ["history.jsonl", "config.yaml", "train.yaml", "checkpoint/state.json",
         "checkpoint/state.safetensors"]
    ))
    path = run / name
    content = path.read_bytes()
    if name.endswith(".json") and random.random() < 0.8:
        path.write_text(json.dumps(changed_values(random, json.loads(content))))
    elif name.endswith(".jsonl") and random.random() < 0.8:
        lines = content.decode().splitlines()
        at = int(random.integers(len(lines)))
        lines[at] = json.dumps(changed_values(random, json.loads(lines[at])))
        path.write_text("\n".join(lines) + "\n")
    elif name.endswith("safetensors"):
        path.write_bytes(changed_bytes(random, content))
    else:
        path.write_bytes(changed_text(random, content.decode()))
    if name.startswith("checkpoint"):
        return [*TRAIN, "--noisy", str(seeds / "tomogram.mrc"), "--clean",
                str(seeds / "grand.mrc"), "--output", str(run), "--resume"]
    return ["report", str(run), "--output", str(work / "r.html")]


def yaml_options(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """A file for --config, and a list of molecules."""
    if random.random() < 0.5:
        text = "tomograms: [t.mrc, 'u v.mrc']\ndiameter: 60.0\nnumber: 5\ncontrast: auto\n"
        path = work / "c.yaml"
        path.write_bytes(changed_text(random, text))
        return ["pick", str(seeds / "tomogram.mrc"), "--output", str(work / "o"), "--config",
                str(path)]
    text = ("molecules:\n  - {name: barrel_960, copies: 1, abundance: 2}\n"
            "  - {name: own, file: m.pdb, mass_kDa: 20.0, assembly: none}\n")
    path = work / "list.yaml"
    shutil.copy(seeds / "m.pdb", work / "m.pdb")
    path.write_bytes(changed_text(random, text))
    return pack(path, work)


def pack(path: Path, work: Path) -> Command:
    """The command that reads molecules."""
    return ["pack", "--shape", "24", "24", "24", "--voxel-size", "20", "--molecules", str(path),
            "--number", "1", "--best-effort", "--only-molecules", "--output", str(work / "o")]


def particle_list(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """CSV and STAR files of positions."""
    kind = str(random.choice(["csv", "star"]))
    path = work / f"p.{kind}"
    path.write_bytes(changed_text(random, (seeds / f"p.{kind}").read_text()))
    if random.random() < 0.5:
        return ["evaluate", "picks", str(path), "--truth", str(seeds / "p.csv"), "--tolerance",
                "20", "--voxel-size", "10"]
    return ["average", str(seeds / "tomogram.mrc"), "--picks", str(path), "--box", "8",
            "--output", str(work / "o")]


def atomic_model(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """PDB and mmCIF files."""
    kind = str(random.choice(["pdb", "cif"]))
    path = work / f"m.{kind}"
    path.write_bytes(changed_text(random, (seeds / f"m.{kind}").read_text()))
    return pack(path, work)


def option_value(random: np.random.Generator, seeds: Path, work: Path) -> Command:
    """One option of a command with a value that it may not expect."""
    from dual_core.cli.main import COMMANDS, _load, build_parser

    base = commands(seeds, work)
    name = str(random.choice(list(base)))
    parser = build_parser(name.split()[0], _load(name.split()[0]))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices[name.split()[1]]
    assert name.split()[0] in COMMANDS
    options = [a for a in parser._actions if a.option_strings and a.nargs != 0 and
               a.dest not in ("config", "output", "command")]
    action = options[int(random.integers(len(options)))]
    values = [v for v in ABSURD if "\0" not in v]
    if any(word in action.dest for word in COUNTS):  # much work is no fault
        values = [v for v in values if not v.isdigit() or int(v[:18]) < 3 or len(v) > 12]
    number = action.nargs if isinstance(action.nargs, int) else 1
    given = [str(random.choice(values)) for _ in range(number)]
    return [*base[name], action.option_strings[-1], *given]


TRAIN = ["train", "--iterations", "2", "--patch", "24", "--batch", "1", "--device", "cpu",
         "--contrast", "dark", "--clean-contrast", "bright"]


def commands(seeds: Path, work: Path) -> Dict[str, Command]:
    """A call of each command that ends soon."""
    volume, model, out = str(seeds / "tomogram.mrc"), str(seeds / "model.safetensors"), str(work)
    grand = str(seeds / "grand.mrc")
    return {
        "info": ["info", volume],
        "pack": ["pack", "--shape", "16", "16", "16", "--voxel-size", "20", "--molecules",
                 "antibody_150", "--number", "1", "--best-effort", "--only-molecules",
                 "--output", out + "/o"],
        "project": ["project", grand, "--output", out + "/o"],
        "pick": ["pick", volume, "--diameter", "60", "--output", out + "/o"],
        "denoise": ["denoise", volume, "--model", model, "--device", "cpu", "--output",
                    out + "/o"],
        "simulate": ["simulate", grand, "--model", model, "--device", "cpu", "--output",
                     out + "/o"],
        "average": ["average", volume, "--picks", str(seeds / "p.csv"), "--box", "8",
                    "--output", out + "/o"],
        "evaluate picks": ["evaluate", "picks", str(seeds / "p.csv"), "--truth",
                           str(seeds / "p.csv"), "--tolerance", "20"],
        "evaluate volumes": ["evaluate", "volumes", volume, "--truth", grand],
        "train": [*TRAIN, "--noisy", volume, "--clean", grand, "--output", out + "/run"],
    }


FAMILIES: Dict[str, Make] = {
    "MRC header": mrc_header, "MRC data": mrc_data, "model and card": model_file,
    "training directory": run_files, "YAML": yaml_options, "particle lists": particle_list,
    "PDB and mmCIF": atomic_model, "options": option_value,
}


# Seeds: what is changed ---------------------------------------------------------------------


def make_seeds(folder: Path) -> None:
    """Valid files of every kind, small."""
    import gemmi

    from dual_core.cli.main import main
    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig
    from dual_core.networks.model import DualModel, plain_config
    from dual_core.particles import position_columns, write_csv, write_star
    from dual_core.volumes.reading import write_volume

    random = np.random.default_rng(0)
    clean = (random.random((24, 32, 32)) > 0.98).astype(np.float32) * 9
    write_volume(folder / "grand.mrc", clean, 10.0)
    noise = random.standard_normal(clean.shape).astype(np.float32)
    write_volume(folder / "tomogram.mrc", noise - clean, 10.0)
    network = NetworkConfig((4, 6), noise_channels=(4, 4), code_size=4, noise_side=16,
                            discriminator_channels=(4, 6))
    card = ModelCard(10.0, "bright", plain_config(network), tilt_range_deg=(-60.0, 60.0),
                     noisy_domain=[{"name": "t.mrc", "shape": [24, 32, 32]}])
    DualModel(network, card).save(folder / "model.safetensors")
    positions = random.uniform(4, 20, (12, 3))
    write_csv(folder / "p.csv", position_columns(positions, 10.0))
    write_star(folder / "p.star", "tomogram", positions, 10.0, (24, 32, 32))
    atoms = [
        f"ATOM  {4 * n + at + 1:5d}  {name:<3s} ALA A{n + 1:4d}    "
        f"{3.8 * n + x:8.3f}{y:8.3f}{0:8.3f}{1:6.2f}{10:6.2f}          {name[0]:>2s}"
        for n in range(12) for at, (name, x, y) in enumerate(
            (("N", 0, 0), ("CA", 1.5, 0), ("C", 2.2, 1.3), ("O", 1.6, 2.4)))
    ]
    (folder / "m.pdb").write_text("\n".join(atoms) + "\nEND\n")
    structure = gemmi.read_structure(str(folder / "m.pdb"))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(folder / "m.cif"))
    arguments = [*TRAIN, "--noisy", str(folder / "tomogram.mrc"), "--clean",
                 str(folder / "grand.mrc"), "--output", str(folder / "run")]
    with contextlib.redirect_stderr(io.StringIO()):
        assert main(arguments) == 0
    assert (folder / "run" / "checkpoint").exists()


# Running ------------------------------------------------------------------------------------


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Hang` in the block after so many seconds of the processor, or `BUSY` times as many.

    On a machine with much else to do the clock runs on while this process waits.
    """

    def stop(number: int, frame: Optional[FrameType]) -> None:
        raise Hang

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds),
              (signal.SIGALRM, signal.ITIMER_REAL, BUSY * seconds))
    previous = [signal.signal(number, stop) for number, _, _ in timers]
    for _, timer, most in timers:
        signal.setitimer(timer, most)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, previous):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


@contextlib.contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let the address space grow by so many bytes at most."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(arguments: Sequence[str], work: Path, seconds: float = TIME_LIMIT_S) -> Outcome:
    """Run a command on an input and judge how it ended."""
    from dual_core.cli.main import main

    told, printed, status = io.StringIO(), io.StringIO(), 0
    started = time.monotonic()
    kind = ""
    try:
        with time_limit(seconds), memory_limit(MEMORY_LIMIT), contextlib.redirect_stderr(
            told
        ), contextlib.redirect_stdout(printed):
            status = main(list(arguments))
    except Hang:
        kind = "over the time limit"
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        kind, told = "traceback", io.StringIO(traceback.format_exc())
    text = told.getvalue()
    return Outcome(kind or _judged(status, text, work), time.monotonic() - started, text)


def _judged(status: int, text: str, work: Path) -> str:
    lines = text.splitlines()
    if "unexpected " in text and "--debug" in text:
        return "unexpected error"
    if "Traceback" in text:
        return "traceback"
    if "out of memory" in text or "MemoryError" in text or "allocate" in text:
        return "over the memory limit"
    if any(word in text for word in ("RuntimeWarning", "UserWarning", "DeprecationWarning")):
        return "warning of a library"
    if any(len(line) > LONGEST_LINE for line in lines) or "\x1b" in text:
        return "message too long or not plain"
    if list(work.rglob(".dual-*")):
        return "temporary file left"
    if status == 0:
        return "done"
    return "refused" if status in (1, 2) and lines else f"status {status} without a word"


def fuzz(
    families: Sequence[str], inputs: int, seed: int, keep: Optional[Path] = None,
    seeds: Optional[Path] = None, say: Callable[[str], object] = lambda line: None,
) -> Tuple[Dict[str, Counter], List[Tuple[str, Command, Outcome]]]:
    """Try so many inputs of each family; (how often each outcome of each family, failures)."""
    found: Dict[str, Counter] = {name: Counter() for name in families}
    failures: List[Tuple[str, Command, Outcome]] = []
    with tempfile.TemporaryDirectory() as place:
        if seeds is None:
            seeds = Path(place) / "seeds"
            seeds.mkdir()
            make_seeds(seeds)
        before = os.getcwd()
        for name in families:
            for number in range(inputs):
                random = np.random.default_rng([seed, list(FAMILIES).index(name), number])
                work = Path(place) / "work"
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                os.chdir(work)
                arguments = FAMILIES[name](random, seeds, work)
                result = outcome(arguments, work)
                os.chdir(before)
                found[name][result.kind] += 1
                if result.kind not in ("done", "refused"):
                    failures.append((f"{name} {number}", arguments, result))
                    if keep is not None:
                        shutil.copytree(work, keep / f"{name}_{number}".replace(" ", "_"),
                                        symlinks=True, dirs_exist_ok=True)
            say(f"{name}: {dict(found[name])}")
    return found, failures


def main() -> int:
    """Run all families and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=800, help="of all families together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--output", type=Path, help="keep inputs that failed here")
    args = parser.parse_args()
    each = -(-args.inputs // len(args.families))
    started = time.monotonic()
    found, failures = fuzz(args.families, each, args.seed, args.output, say=print)
    kinds = sorted({kind for counts in found.values() for kind in counts})
    print("| family | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    for name, counts in found.items():
        print(f"| {name} | " + " | ".join(str(counts[kind]) for kind in kinds) + " |")
    for name, arguments, result in failures:
        print(f"\n{name}: {result.kind}, {result.seconds:.1f} s: {arguments!r:.400}")
        print(result.told[-1500:])
    print(f"\n{each * len(args.families)} inputs, seed {args.seed}, {len(failures)} failures, "
          f"{time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
