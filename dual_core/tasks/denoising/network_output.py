"""A network's output for a whole tomogram, tile by tile, in a file of its own."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Callable, Optional, Tuple

import numpy as np

from dual_core.overlap import Behind
from dual_core.tasks.given_volume import GivenTomogram
from dual_core.tasks.strength import LeastSquares
from dual_core.tiles.plan import TilePlan
from dual_core.tiles.runner import NetworkRunner, is_out_of_memory
from dual_core.tiles.stream import stream_tiled
from dual_core.volumes.reading import Triple, VolumeWriter

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def run_network(
    given: GivenTomogram,
    path: Path,
    runner: NetworkRunner,
    progress: Optional[Progress] = None,
) -> Tuple[LeastSquares, int]:
    """Write the denoiser's output to a temporary volume; smaller tiles when memory runs out.

    Parameters
    ----------
    given : GivenTomogram
    path : path
        Of the file to write, float32 on the model's voxel size, in the units of the clean domain.
    runner : NetworkRunner
        The denoiser. It is shrunk where its tiles do not fit into the memory.
    progress : callable, optional
        ``progress(done, total)`` in tiles.

    Returns
    -------
    fit, tiles : LeastSquares, int
        Of the standardised tomogram on the output; and in how many tiles it was computed.

    Raises
    ------
    DualError
        For output that is not finite, a file that cannot be written, or too little memory even
        for small tiles.
    """
    name = given.volume.name
    while True:
        plan = runner.plan(given.shape)
        logger.info(
            "%s: %d %s of %s voxels, halo %d",
            name,
            len(plan),
            "tile" if len(plan) == 1 else "tiles",
            " x ".join(map(str, plan.input_shape)),
            max(plan.halo),
        )
        try:
            with VolumeWriter(path, given.shape, given.voxel_size_A, scratch=True) as writer:
                fit = _run_tiles(given, writer, runner, plan, progress)
            return fit, len(plan)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, so that the exception and the tensors it holds are gone.
        runner.shrink()


def _run_tiles(
    given: GivenTomogram,
    writer: VolumeWriter,
    runner: NetworkRunner,
    plan: TilePlan,
    progress: Optional[Progress],
) -> LeastSquares:
    """Write the denoiser's output; reading, fitting and writing go on beside the network."""
    fit = LeastSquares()
    done = 0

    def keep(start: Triple, t_block: np.ndarray, d_block: np.ndarray) -> None:
        fit.add(*given.content(start, t_block, d_block))
        if not np.isfinite(fit.sums).all():
            fit.solve(given.volume.name)
        writer.write(start, d_block)

    stream = stream_tiled(
        given.entry.read, plan, runner, side_by_side=runner.side_by_side
    )
    with Behind(keep) as behind, contextlib.closing(stream) as rows:
        for start, t_block, d_block, tiles in rows:
            behind(start, t_block, d_block)
            del t_block, d_block
            done += tiles
            if progress is not None:
                progress(done, len(plan))
    return fit
