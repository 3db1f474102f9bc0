"""Runs that are killed, lose their terminal, run out of space or meet each other: what is lost?

    python benchmarks/faults.py --kills 300 --seed 1

Every command is started on small data, killed with SIGKILL (or ended by SIGTERM, SIGHUP, SIGINT) at
a random time, and run again, with --resume where it has that. Checked are: whatever has its final
name is whole; the second run succeeds; its results are those of a run that was never killed, byte
for byte (a model's weights); nothing temporary is left. Each run is a process of its own, forked
from one that has imported everything, so that none spends its seconds on imports.

A full disk is a file system in memory of so many bytes, where root may mount one (all of a
command's writing places meet the end in turn), and else a limit of the size of files.
docs/reliability.md has the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from faults_picture import Kill, draw
from faults_runs import PAGE, Run, finished, import_everything, small_disk

ROOT = Path(__file__).resolve().parents[1]
# Written anew by every run, with the time or the options in it.
CHANGING = (".yaml", ".jsonl", ".json", ".png", ".html")
GROWING = ("training_set.csv",)  # whole at any time, with a line for each result so far
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP,
           "SIGINT": signal.SIGINT}
FULL_AT = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)  # of the bytes that a run needs


class Case(NamedTuple):
    """A command: its words but for the output, how it is run again, and a file for its output."""

    words: Tuple[str, ...]
    again: Tuple[str, ...] = ()
    file: str = ""


def cases(data: Path) -> Dict[str, Case]:
    """The commands that write, on the files that `make_data` made."""
    tomogram, grand, model, picks = (str(data / name) for name in (
        "tomogram.mrc", "grand.mrc", "run/model.safetensors", "picks.csv"))
    cpu, resume, one = ("--device", "cpu"), ("--resume",), ("--model", model)
    train = ("train", "--noisy", tomogram, "--iterations", "6", "--patch", "16", "--batch", "1",
             "--checkpoint-every", "0.003", "--contrast", "dark", *cpu)
    dark = ("--contrast", "dark")
    return {
        # Without the linear model, whose fit takes longer than all the rest.
        "train": Case((*train, "--clean", grand, "--clean-contrast", "bright", "--method",
                       "paper"), resume),
        "denoise": Case(("denoise", tomogram, *one, "--explained", *cpu), resume),
        "simulate": Case(("simulate", grand, *one, "--seed", "1", "--copies", "2", *cpu), resume),
        "translate": Case(("translate", tomogram, *one, "--direction", "to-clean", *cpu), resume),
        "compensate": Case(("compensate", tomogram, *one, "--tilt-range", "-60", "60",
                            "--tilt-axis", "x", *cpu), resume),
        "pack": Case(("pack", "--shape", "32", "48", "48", "--number", "2", "--voxel-size", "20",
                      "--count", "2", "--best-effort", "--only-molecules", "--molecules",
                      "barrel_960", "antibody_150")),
        "project": Case(("project", grand, "--tilt-range", "-60", "60", "20")),
        "pick": Case(("pick", tomogram, "--diameter", "60", *dark), resume),
        "average": Case(("average", tomogram, "--picks", picks, "--box", "12", *dark)),
        "evaluate volumes": Case(("evaluate", "volumes", tomogram, "--truth", grand)),
        "evaluate wedge": Case(("evaluate", "wedge", tomogram, "--truth", grand, "--raw", tomogram,
                                "--tilt-range", "-60", "60")),
        "evaluate halves": Case(("evaluate", "halves", tomogram, str(data / "other.mrc"))),
        "evaluate picks": Case(("evaluate", "picks", picks, "--truth", picks, "--tolerance", "20",
                                "--voxel-size", "10")),
        "evaluate realism": Case(("evaluate", "realism", "--synthetic", tomogram, "--real",
                                  str(data / "other.mrc"), "--no-classifier")),
        "evaluate trust": Case(("evaluate", "trust", tomogram, *one, *cpu)),
        "report": Case(("report", str(data / "run"), "--tomograms", tomogram, "--no-trust", *cpu),
                       file="report.html"),
    }


def make_data(folder: Path) -> None:
    """A small tomogram, a grand model, a model trained on them for a moment, and picks."""
    from dual_core.particles import position_columns, write_csv
    from dual_core.volumes.reading import write_volume

    random = np.random.default_rng(0)
    clean = (random.random((32, 48, 48)) > 0.98).astype(np.float32) * 9
    write_volume(folder / "grand.mrc", clean, 10.0)
    for name in ("tomogram", "other"):
        noise = random.standard_normal(clean.shape).astype(np.float32)
        write_volume(folder / f"{name}.mrc", noise - clean, 10.0)
    write_csv(folder / "picks.csv", position_columns(random.uniform(8, 24, (12, 3)), 10.0))
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


def left_over(*folders: Path) -> List[str]:
    """What has a temporary name, and anything in the second folder, the system's for such files."""
    return [path.name for folder in folders for path in folder.rglob("*")
            if path.name.startswith(".") or path.name == "checkpoint.new" or folder is folders[-1]]


def with_output(case: Case, folder: Path) -> List[str]:
    """The words of a command that writes into a folder."""
    folder.mkdir(exist_ok=True)
    return [*case.words, "--output", str(folder / case.file if case.file else folder / "out")]


def killed_once(
    case: Case, whole: Dict[str, str], after: float, number: int, folder: Path
) -> Tuple[str, bool]:
    """Kill a run after so many seconds, and run it again; (what went wrong, or nothing, in time?).
    """
    output, system = folder / "output", folder / "system"
    shutil.rmtree(output, ignore_errors=True)
    words = with_output(case, output)
    run = Run(words, folder=system)
    time.sleep(after)
    run.send_signal(number)
    status, told = run.ended(120)
    if status not in {0, -number, 128 + number}:
        return f"status {status} after signal {number}: {told[-300:]}", True
    if number != signal.SIGKILL and left_over(output, system):
        return f"left over after signal {number}: {left_over(output, system)}", True
    if case.words[0] != "train":
        differing = [name for name, value in results(output).items()
                     if not any(part.startswith(".") for part in Path(name).parts)
                     and Path(name).name not in GROWING and whole.get(name) != value]
        if differing:
            return f"not whole: {differing}", True
    there = any((output / "out" / name).exists() for name in ("checkpoint", "checkpoint.previous"))
    again = case.again if case.words[0] != "train" or there else ()
    second, told, _ = finished([*words, *again], folder=system)
    if second:
        return f"the second run ended with status {second}: {told[-300:]}", True
    if results(output) != whole:
        return "the result is another one", True
    if left_over(output, system):
        return f"left over after the next run: {left_over(output, system)}", True
    return "", status != 0


def full_disk(case: Case, share: float, needed: int, folder: Path) -> str:
    """A run on a disk with a share of the bytes that it needs; what went wrong, or nothing."""
    place, system = folder / "full", folder / "system"
    shutil.rmtree(place, ignore_errors=True)
    size = int(share * needed)
    with small_disk(place, size) as mounted:
        limit = None if mounted else max(size // 4, 100)
        status, told, _ = finished(with_output(case, place), limit, system)
        lines = [line for line in told.splitlines() if "error" in line]
        if status == 0:  # its files are smaller than was thought
            return ""
        if "Traceback" in told or "unexpected" in told or not lines:
            return f"status {status}: {told[-300:]}"
        if left_over(place, system):
            return f"left over: {left_over(place, system)}"
    return ""


def bytes_needed(folder: Path) -> int:
    """On a file system of whole pages."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.rglob("*"))


def try_all(
    names: Sequence[str], kills: int, seed: int, say: Callable[[str], object] = print,
    full_at: Sequence[float] = FULL_AT, record: Optional[List[Kill]] = None,
) -> Tuple[Dict[str, Counter], List[str]]:
    """Kill every command so many times, and give each full disks; (counts, failures).

    Every kill is added to `record`.
    """
    record = [] if record is None else record
    import_everything()
    random = np.random.default_rng(seed)
    counts: Dict[str, Counter] = {name: Counter() for name in names}
    failures: List[str] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "system").mkdir()
        make_data(folder)
        for name in names:
            case, found = cases(folder)[name], counts[name]
            reference = folder / "reference"
            shutil.rmtree(reference, ignore_errors=True)
            words = with_output(case, reference)
            status, told, seconds = finished(words, folder=folder / "system")
            if status:
                raise SystemExit(f"{name}: {told}")
            whole = results(reference)
            for at in range(kills):
                kind = "SIGKILL" if at % 2 == 0 else list(SIGNALS)[1 + at // 2 % 3]
                moment = float(random.random())
                wrong, in_time = killed_once(case, whole, moment * seconds, SIGNALS[kind], folder)
                record.append(Kill(name, moment, kind, in_time, bool(wrong)))
                found[kind] += 1
                found["in time"] += in_time
                found["wrong"] += bool(wrong)
                failures += [f"{name}, {kind}: {wrong}"] if wrong else []
            for share in full_at:
                wrong = full_disk(case, share, bytes_needed(reference), folder)
                found["full disk"] += 1
                found["wrong"] += bool(wrong)
                failures += [f"{name}, disk full at {share:g}: {wrong}"] if wrong else []
            say(f"{name}, {seconds:.1f} s: {dict(found)}")
    return counts, failures


def main() -> int:
    """Try all commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="of all commands together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", nargs="+", choices=list(cases(Path())), metavar="NAME",
                        default=list(cases(Path())))
    parser.add_argument("--picture", type=Path, help="file to draw every kill into")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    record: List[Kill] = []
    started = time.monotonic()
    each = -(-args.kills // len(args.commands))
    counts, failures = try_all(args.commands, each, args.seed, record=record)
    if args.picture:
        draw(record, list(SIGNALS), args.picture)
    columns = [*SIGNALS, "in time", "full disk", "wrong"]
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
