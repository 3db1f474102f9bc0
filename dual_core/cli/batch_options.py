"""What the commands share that treat tomograms one by one: options, and the batch itself."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Sequence

from dual_core.cli.common import (
    add_device_argument,
    add_precision_argument,
    dump_options,
    non_negative_int,
    output_folder,
    positive_float,
    positive_int,
    voxel_size,
)

if TYPE_CHECKING:
    from dual_core.tasks.batch import BatchSummary, Job
    from dual_core.tasks.shards import Shard

logger = logging.getLogger(__name__)


def add_shard_argument(group: argparse._ArgumentGroup) -> None:
    """Add ``--shard``."""
    group.add_argument(
        "--shard",
        metavar="I/N",
        help="process only file I of the list and every N-th after it, so that the jobs of a job "
        "array share the work; 'dual info DIR' summarises all of them",
    )


def add_tomogram_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add ``--contrast`` and ``--voxel-size``, in a help group of their own; the group."""
    tomogram = parser.add_argument_group("tomogram")
    tomogram.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="whether density is dark or bright in the tomograms; auto detects and reports it",
    )
    tomogram.add_argument(
        "--voxel-size",
        dest="voxel_size",
        type=voxel_size,
        metavar="A",
        help="voxel size in angstrom, instead of that in the headers",
    )
    return tomogram


def add_machine_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of a network at work on tiles, in a help group of their own; the group."""
    machine = parser.add_argument_group("machine")
    add_device_argument(machine, several=True)
    add_precision_argument(machine)
    machine.add_argument(
        "--tile",
        type=positive_int,
        metavar="N",
        help="longest side of a tile in voxels, halo included (default: chosen by the free memory)",
    )
    machine.add_argument(
        "--halo",
        type=non_negative_int,
        metavar="N",
        help="context around the core of a tile in voxels (default: chosen with the tile)",
    )
    return machine


def add_memory_argument(group: argparse._ArgumentGroup) -> None:
    """Add ``--memory``."""
    group.add_argument(
        "--memory",
        type=positive_float,
        metavar="GIB",
        help="memory in GiB that the tiles are chosen for: of the whole program on a CPU, of the "
        "tiles on a GPU (default: a share of what is free)",
    )


def run_batch(
    args: argparse.Namespace,
    command: str,
    shard: Shard,
    jobs: Sequence[Job],
    work: Callable[[Job], Dict[str, Any]],
    settings: Dict[str, Any],
) -> int:
    """Do the jobs of a command into its output folder, on record; the exit status.

    Parameters
    ----------
    args : of the command, with ``output`` and ``resume``.
    command : name of the record, the status and the options that are written beside the results.
    shard, jobs : the share of the files, and what it has to do.
    work : makes the output of a job and returns numbers for the record.
    settings : what makes an output come out as it does; see `dual_core.tasks.batch.BatchRecord`.
    """
    from dual_core.tasks.batch import BatchRecord, run_jobs
    from dual_core.tasks.shards import ShardStatus

    with output_folder(args.output) as output:
        record = BatchRecord(output / shard.name(f"{command}.jsonl"), settings)
        status = ShardStatus(record, shard, jobs)
        dump_options(args, output / shard.name(f"{command}.yaml"))
        summary = run_jobs(jobs, work, record, args.resume, status.write)
        status.write(summary)
    tell_failures(summary, len(jobs))
    return summary.status


def for_record(values: Mapping[str, Any]) -> Dict[str, Any]:
    """The values with None for NaN, which JSON does not know."""
    return {name: None if value != value else value for name, value in values.items()}


def tell_failures(summary: BatchSummary, count: int, what: str = "tomograms") -> None:
    """Name what failed once more at the end, where there was more than one of `what`."""
    if summary.failed and count > 1:
        names = ", ".join(str(path) for path in summary.failed)
        logger.error("%d of %d %s failed: %s", len(summary.failed), count, what, names)
