"""What all commands share: kinds of options, the output folder, dumped options, logging, progress.

Standard library only at import, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, TextIO, Union

from dual_core import __version__
from dual_core.errors import DualError
from dual_core.safety.leftovers import remove_leftovers, temporary_name
from dual_core.safety.limits import SEED, VOXEL_SIZE_A, Bounds
from dual_core.safety.shown import printable, safe_lines

logger = logging.getLogger(__name__)

# Options of the program and not of the work: neither dumped nor read from a file.
PROGRAM_OPTIONS = ("command", "config", "debug", "verbose", "quiet", "help", "version")
# Options of one call: whoever repeats the work from its dumped options does not want them.
CALL_OPTIONS = ("resume", "overwrite", "time_limit")
LOG_INTERVAL_S = 30.0
LONGEST_MESSAGE = 1200  # of an error; what a value adds to it is shorter
MOST = 1_000_000_000  # of what can be counted
FINITE = Bounds(-1e9, 1e9)
POSITIVE = Bounds(1e-9, 1e9)


def add_common_arguments(parser: argparse.ArgumentParser, nested: bool = False) -> None:
    """Add the options that every command has, in a help group of their own.

    For a ``nested`` parser (a command of a command) the defaults are left to the outer one.
    """

    def default(value: Any) -> Any:
        return argparse.SUPPRESS if nested else value

    group = parser.add_argument_group("program")
    group.add_argument(
        "--config",
        metavar="YAML",
        default=default(None),
        help="take options from this file; the command line wins",
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", default=default(False), help="more messages"
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", default=default(False), help="warnings only"
    )
    group.add_argument(
        "--debug",
        action="store_true",
        default=default(False),
        help="show the traceback of an error",
    )


def add_device_argument(group: argparse._ActionsContainer, several: bool = False) -> None:
    """Add ``--device``, of one device or of `several`."""
    more = "; a list such as cuda:0,cuda:1 shares the tiles of each tomogram between GPUs"
    group.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N; auto is the first CUDA device, or the CPU if there is none"
        + (more if several else ""),
    )


def add_precision_argument(group: argparse._ActionsContainer) -> None:
    """Add ``--precision``."""
    group.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="number format of the U-Nets; auto takes bfloat16 where it is faster",
    )


def positive_int(text: str) -> int:
    """Argument type: an integer of at least 1."""
    return _number(text, int, lambda v: 1 <= v <= MOST, f"a whole number from 1 to {MOST}")


def non_negative_int(text: str) -> int:
    """Argument type: an integer of at least 0."""
    return _number(text, int, SEED.hold, f"a whole number {SEED}")


def positive_float(text: str) -> float:
    """Argument type: a number above 0, of a size that any quantity here can have."""
    return _number(text, float, POSITIVE.hold, f"a number above 0 ({POSITIVE})")


def finite_float(text: str) -> float:
    """Argument type: a finite number, of a size that any quantity here can have."""
    return _number(text, float, FINITE.hold, f"a number {FINITE}")


def voxel_size(text: str) -> float:
    """Argument type: a voxel size in angstrom."""
    return _number(text, float, VOXEL_SIZE_A.hold, f"a voxel size {VOXEL_SIZE_A}")


def fraction(text: str) -> float:
    """Argument type: a number in 0..1."""
    return _number(text, float, lambda v: 0 <= v <= 1, "a number from 0 to 1")


def _number(text: str, kind: Callable[[str], Any], valid: Callable[[Any], bool], what: str) -> Any:
    try:
        value = kind(text)
    except (ValueError, OverflowError):
        value = None
    if value is None or not valid(value):
        raise argparse.ArgumentTypeError(f"'{printable(text, 80)}' is not {what}")
    return value


@contextlib.contextmanager
def output_folder(path: Union[str, Path]) -> Iterator[Path]:
    """Make a folder for results if need be; after an error take it away if it is still empty.

    Temporary files that killed runs left in it are removed.

    Raises
    ------
    DualError
        If it cannot be made or written to.
    """
    folder = Path(path)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    if folder.exists() and not folder.is_dir():
        raise DualError(f"{folder}: is a file; give a folder for --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DualError(
            f"{folder}: cannot be made ({error.strerror}); choose another --output"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DualError(
            f"{folder}: no permission to write in it; choose another --output or change its "
            "access rights"
        )
    remove_leftovers(folder)
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):  # not empty, or gone
            for one in made:
                one.rmdir()
        raise


def dump_options(args: argparse.Namespace, path: Union[str, Path]) -> None:
    """Write the effective options as YAML that ``--config`` reads again; atomically.

    What belongs to one call only (``CALL_OPTIONS``) is left out.

    Parameters
    ----------
    args : argparse.Namespace
        As `main` hands it to a command.
    path : path
        Where to; its folder is made if need be.
    """
    import yaml

    options = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in PROGRAM_OPTIONS + CALL_OPTIONS and not callable(value)
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = getattr(args, "command", None) or "?"
    with replacing(path) as file:
        file.write(f"# dual {command} {__version__}\n")
        yaml.safe_dump(options, file, sort_keys=False)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a temporary file that takes the place of ``path`` once it is complete."""
    temporary = temporary_name(path)
    try:
        with open(
            temporary, "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as file:
            yield file
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def set_up_logging(verbose: bool = False, quiet: bool = False) -> None:
    """Log to stderr: plain lines, warnings and errors with their level in front."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dual_core").setLevel(level)
    # Warnings of the libraries (an overflow, a sign that a font lacks) are not for users.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.DEBUG if verbose else logging.ERROR)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        # Lines that the message itself does not have are those of a name.
        lines = record.exc_info or "\n" in str(record.msg)
        text = safe_lines(text) if lines else printable(text, len(text))
        if record.levelno >= logging.WARNING:
            return f"{record.levelname.lower()}: {text}"
        return text


@contextlib.contextmanager
def progress_bar(label: str, unit: str = "tile") -> Iterator[Callable[[int, int], None]]:
    """Yield ``report(done, total)``: a bar on a terminal, now and then a log line otherwise.

    A ``done`` that falls (work begun anew) starts the bar anew.
    """
    if sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
        with _terminal_bar(label, unit) as report:
            yield report
    else:
        yield _line_reporter(label, unit)


@contextlib.contextmanager
def _terminal_bar(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm(), tqdm(desc=label, unit=unit, total=0) as bar:

        def report(done: int, total: int) -> None:
            if done < bar.n:
                bar.reset()
            bar.total = total
            bar.update(done - bar.n)

        yield report


def _line_reporter(label: str, unit: str) -> Callable[[int, int], None]:
    started = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if 0 < done < total and now - last >= LOG_INTERVAL_S:
            last = now
            left = (now - started) / done * (total - done)
            logger.info("%s: %d of %d %ss, %.0f s left", label, done, total, unit, left)

    return report


def one_line(text: object) -> str:
    """Any message on one line, not too long and without what acts on a terminal."""
    return printable(" ".join(str(text).split()), LONGEST_MESSAGE)

