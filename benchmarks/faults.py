"""Runs that are killed, lose their terminal, run out of space or meet each other: what is lost?

    python benchmarks/faults.py --kills 300 --seed 1

Every command is started on small data, killed with SIGKILL (or ended by SIGTERM, SIGHUP, SIGINT) at
a random time, and run again, with --resume where it has that. Checked are: whatever has its final
name is whole; the second run succeeds; its results are those of a run that was never killed, byte
for byte (a model's weights); nothing temporary is left. Full disks are made by a limit of the size
of files. docs/reliability.md has the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# Written anew by every run, with the time or the options in it.
CHANGING = (".yaml", ".jsonl", ".json", ".png")
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP,
           "SIGINT": signal.SIGINT}


class Case(NamedTuple):
    """A command: its words but for the output, and how it is run again."""

    words: Tuple[str, ...]
    again: Tuple[str, ...] = ()


def cases(data: Path) -> Dict[str, Case]:
    """The commands that write, on the files that `make_data` made."""
    tomogram, grand, model = (str(data / name) for name in
                              ("tomogram.mrc", "grand.mrc", "run/model.safetensors"))
    cpu = ("--device", "cpu")
    resume = ("--resume",)
    return {
        "train": Case(("train", "--noisy", tomogram, "--clean", grand, "--iterations", "40",
                       "--patch", "24", "--batch", "1", "--checkpoint-every", "0.01",
                       "--contrast", "dark", "--clean-contrast", "bright", *cpu), resume),
        "denoise": Case(("denoise", tomogram, "--model", model, *cpu), resume),
        "simulate": Case(("simulate", grand, "--model", model, "--seed", "1", *cpu), resume),
        "pack": Case(("pack", "--shape", "48", "96", "96", "--number", "3", "--voxel-size", "10",
                      "--best-effort", "--only-molecules", "--molecules", "barrel_960",
                      "antibody_150")),
        "project": Case(("project", grand)),
        "pick": Case(("pick", tomogram, "--diameter", "60", "--contrast", "dark"), resume),
    }


def dual(words: Sequence[str], limit: Optional[int] = None) -> subprocess.Popen:
    """Start a command; ``limit`` bytes for each file that it writes."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error as of a full disk instead

    # Not measured by coverage: its own file would be what the limited size stops.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "dual_core", *words], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, preexec_fn=limited,
    )


def finished(words: Sequence[str], limit: Optional[int] = None) -> Tuple[int, str, float]:
    """Run a command to its end: (status, what it said, seconds)."""
    started = time.monotonic()
    process = dual(words, limit)
    _, told = process.communicate(timeout=600)
    return process.returncode, told, time.monotonic() - started


def make_data(folder: Path) -> None:
    """A small tomogram, a grand model, and a model trained on them for a moment."""
    from dual_core.volumes.reading import write_volume

    random = np.random.default_rng(0)
    clean = (random.random((32, 96, 96)) > 0.98).astype(np.float32) * 9
    write_volume(folder / "grand.mrc", clean, 10.0)
    noise = random.standard_normal(clean.shape).astype(np.float32)
    write_volume(folder / "tomogram.mrc", noise - clean, 10.0)
    words = [*cases(folder)["train"].words, "--iterations", "2", "--output", str(folder / "run")]
    status, told, _ = finished(words)
    if status:
        raise SystemExit(told)


def results(folder: Path) -> Dict[str, str]:
    """A hash of everything that a run is to give again; of a model, of its weights."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.suffix in CHANGING or name.startswith("checkpoint"):
            continue
        content = path.read_bytes()
        if path.suffix == ".safetensors":  # the card has the date
            content = content[8 + int.from_bytes(content[:8], "little") :]
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def left_over(folder: Path) -> List[str]:
    """What has a temporary name."""
    return [path.name for path in folder.rglob("*")
            if path.name.startswith(".") or path.name == "checkpoint.new"]


def killed_once(
    case: Case, whole: Dict[str, str], seconds: float, number: int, folder: Path,
    random: np.random.Generator,
) -> str:
    """Kill a run at a random time and run it again; what went wrong, or nothing."""
    output = folder / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = [*case.words, "--output", str(output)]
    process = dual(words)
    time.sleep(seconds * (0.35 + 0.65 * float(random.random())))
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    expected = {0, -number, 128 + number}
    if process.returncode not in expected:
        return f"status {process.returncode} after signal {number}: {told[-300:]}"
    if number != signal.SIGKILL and output.exists() and left_over(output):
        return f"left over after signal {number}: {left_over(output)}"
    if output.exists() and case.words[0] != "train":
        differing = [name for name, value in results(output).items()
                     if not name.startswith(".") and whole.get(name) != value]
        if differing:
            return f"not whole: {differing}"
    there = output.exists() and any((output / name).exists()
                                    for name in ("checkpoint", "checkpoint.previous"))
    again = case.again if case.words[0] != "train" or there else ()
    status, told, _ = finished([*words, *again])
    if status:
        return f"the second run ended with status {status}: {told[-300:]}"
    if results(output) != whole:
        return "the result is another one"
    if left_over(output):
        return f"left over after the next run: {left_over(output)}"
    return ""


def full_disk(case: Case, size: int, folder: Path) -> str:
    """A run that may not write files of more than ``size`` bytes; what went wrong, or nothing."""
    output = folder / "full"
    shutil.rmtree(output, ignore_errors=True)
    status, told, _ = finished([*case.words, "--output", str(output)], size)
    lines = [line for line in told.splitlines() if "error" in line]
    if status == 0:
        return ""  # all its files are smaller
    if "Traceback" in told or "unexpected" in told or not lines:
        return f"status {status}: {told[-300:]}"
    if output.exists() and left_over(output):
        return f"left over: {left_over(output)}"
    return ""


def try_all(
    names: Sequence[str], kills: int, seed: int, say: Callable[[str], object] = print
) -> Tuple[Dict[str, Counter], List[str]]:
    """Kill every command so many times, and give each a full disk; (counts, failures)."""
    random = np.random.default_rng(seed)
    counts: Dict[str, Counter] = {name: Counter() for name in names}
    failures: List[str] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_data(folder)
        for name in names:
            case = cases(folder)[name]
            reference = folder / "reference"
            shutil.rmtree(reference, ignore_errors=True)
            status, told, seconds = finished([*case.words, "--output", str(reference)])
            if status:
                raise SystemExit(f"{name}: {told}")
            whole = results(reference)
            for at in range(kills):
                kind = "SIGKILL" if at % 2 == 0 else list(SIGNALS)[1 + at // 2 % 3]
                wrong = killed_once(case, whole, seconds, SIGNALS[kind], folder, random)
                counts[name][kind] += 1
                counts[name]["wrong"] += bool(wrong)
                failures += [f"{name}, {kind}: {wrong}"] if wrong else []
            for size in (100, 5000, 100_000, 1_000_000)[: 4 if kills > 2 else 1]:
                wrong = full_disk(case, size, folder)
                counts[name]["full disk"] += 1
                counts[name]["wrong"] += bool(wrong)
                failures += [f"{name}, files of {size} bytes: {wrong}"] if wrong else []
            say(f"{name}: {dict(counts[name])}")
    return counts, failures


def main() -> int:
    """Try all commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="of all commands together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", nargs="+", choices=list(cases(Path())), metavar="NAME",
                        default=list(cases(Path())))
    args = parser.parse_args()
    started = time.monotonic()
    each = -(-args.kills // len(args.commands))
    counts, failures = try_all(args.commands, each, args.seed)
    columns = [*SIGNALS, "full disk", "wrong"]
    print("| command | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, found in counts.items():
        print(f"| {name} | " + " | ".join(str(found[column]) for column in columns) + " |")
    for failure in failures:
        print(failure)
    print(f"{each * len(args.commands)} kills, seed {args.seed}, {len(failures)} failures, "
          f"{time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
