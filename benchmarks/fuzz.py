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
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from fuzz_families import FAMILIES, TRAIN, Command

TIME_LIMIT_S = 20
BUSY = 10
MEMORY_LIMIT = 2 << 30
LONGEST_LINE = 1500


class Outcome(NamedTuple):
    """How one input ended; ``kind`` is ``done``, ``refused`` or a kind of failure."""

    kind: str
    seconds: float
    told: str


class Hang(BaseException):
    """The time limit has passed."""


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
