"""Making the trust report for the page, or finding the one that was made of the same things."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from dual_core.errors import DualError
from dual_core.evaluation.trust.examine import TrustOptions
from dual_core.evaluation.trust.network_pass import networks_of
from dual_core.evaluation.trust.run import trust_report
from dual_core.networks.model import DualModel, write_atomically
from dual_core.report.denoised import Bar, Machine
from dual_core.report.run_folder import RunFolder
from dual_core.report.trust import Trust, read_trust
from dual_core.tasks.batch import file_hash

logger = logging.getLogger(__name__)

MADE_FROM = "made_from.json"
PASSES_OF_HALVES = 4


def judge(
    run: RunFolder,
    tomograms: Sequence[Path],
    halves: Sequence[Path],
    folder: Path,
    options: TrustOptions,
    contrast: str,
    voxel_size_A: Optional[float],
    machine: Machine,
    bar: Bar,
) -> Trust:
    """Return the trust report of a run's model, as ``dual evaluate trust`` makes it.

    Parameters
    ----------
    run : RunFolder
        With a model, whose card tells the tilt axis of the tomograms.
    tomograms, halves : sequence of path
        Halves of the first tomogram, two or none.
    folder : path
        Where it is written. What lies there is used if it was made of the same files with the
        same options.
    options, contrast, voxel_size_A, machine
        See `dual_core.evaluation.trust.run.trust_report`.
    bar : callable
        ``bar(label)``: a context manager that gives ``progress(done, total)`` in passes.

    Raises
    ------
    DualError
        If a volume or the model cannot be judged.
    """
    made_from: Dict[str, Any] = {
        "model": file_hash(run.model),
        "files": [_fingerprint(path) for path in (*tomograms, *halves)],
        "halves": len(halves),
        "options": asdict(options),
        "contrast": contrast,
        "voxel_size_A": voxel_size_A,
        "tilt_axis": None if run.card is None else run.card.tilt_axis,
    }
    text = json.dumps(made_from, indent=1, sort_keys=True)
    mark = folder / MADE_FROM
    with contextlib.suppress(OSError, DualError):
        if mark.read_text(encoding="utf-8") == text:
            found = read_trust(folder)
            logger.info("%s: made before of the same files, used again", folder)
            return found
    folder.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    pair: Optional[Tuple[Path, Path]] = (halves[0], halves[1]) if halves else None
    total = len(tomograms) * options.passes + (PASSES_OF_HALVES if pair else 0)
    with bar("trust report") as progress:
        done: List[None] = []

        def on_pass() -> None:
            done.append(None)
            progress(len(done), total)

        model = DualModel.load(run.model)
        model.card = run.card or model.card  # its tilt axis may be another than the file's
        networks = networks_of(
            model, machine.device, machine.precision, machine.tile, machine.halo, on_pass
        )
        trust_report(
            f"{run.name}/{run.model.name}",
            run.card,
            networks,
            tomograms,
            folder,
            options,
            contrast,
            voxel_size_A,
            pair,
        )
    write_atomically(mark, text.encode("utf-8", "backslashreplace"))
    return read_trust(folder)


def _fingerprint(path: Path) -> List[object]:
    facts = path.stat()
    return [str(path.resolve()), facts.st_size, facts.st_mtime_ns]
