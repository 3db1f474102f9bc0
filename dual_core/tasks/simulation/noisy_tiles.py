"""The structural generator over a whole volume: Gs(v + P(Gn(z))), tile by tile.

The same bytes come out whatever the machine has free, because nothing that could change the order
of a sum depends on it:

* the tiles are those of the model and of the volume's shape, not those that suit the device;
* a tile is computed by one thread. Several threads take several tiles;
* the noise is a function of the position (`dual_core.noise_model.noise_field`), and is drawn
  outside the volume
  as inside it. Density is mirrored there. Mirrored noise would agree with itself across the border,
  and the tomogram would be another near its faces.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, Generator, Iterator, Optional, Tuple

import numpy as np

from dual_core.noise_model.noise_field import NoiseField, one_torch_thread
from dual_core.tiles.memory import bytes_for_tiles, free_memory
from dual_core.tiles.plan import Tile, TilePlan, Triple, round_up
from dual_core.tiles.runner import CPU_HALOS, CPU_SIDE, HALO_SHARE, NetworkRunner
from dual_core.tiles.stream import read_mirrored

logger = logging.getLogger(__name__)

Read = Callable[[Triple, Triple], np.ndarray]

# Of the memory that is free, what tiles may take.
MEMORY_SHARE = 0.5


def canonical_side(radius: int, multiple: int, halo: Optional[int] = None) -> int:
    """The side of the tiles of a model on every machine, halo included.

    It is the side that suits a CPU; a CUDA device loses little by it.
    """
    if halo is None:
        halo = math.ceil(HALO_SHARE * radius)
    return round_up(max(CPU_SIDE, CPU_HALOS * round_up(halo, multiple)), multiple)


class SimulationRunner(NetworkRunner):
    """The structural generator of a `DualModel`, on the tiles of `canonical_side`.

    Parameters
    ----------
    model : DualModel
    device, precision : str
        See `dual_core.networks.devices`.
    tile : int, optional
        Side in voxels of what is computed at once at most: it bounds the memory and has no part
        in the result. At least one tile is computed.
    halo : int, optional
        Context around a tile's core instead of `choose_halo`'s.
    memory : float, optional
        GiB that the process may have: bounds how many tiles are computed side by side.
    """

    def __init__(
        self,
        model: Any,
        device: str = "auto",
        precision: str = "auto",
        tile: Optional[int] = None,
        halo: Optional[int] = None,
        memory: Optional[float] = None,
    ) -> None:
        generator = model.structural_generator
        radius = generator.receptive_radius
        side = canonical_side(radius, generator.multiple, halo)
        super().__init__(
            generator,
            generator.multiple,
            radius,
            device,
            precision,
            side,
            halo,
            memory=memory,
        )
        self._at_once = tile
        self._bytes_of_config = _bytes_a_voxel(model.config)
        self._most_workers: Optional[int] = None
        self._lock: Any = contextlib.nullcontext()
        if self.device.type == "cuda":
            self._lock = threading.Lock()

    def workers(self, plan: TilePlan, threads: int) -> int:
        """How many tiles to compute side by side."""
        number = min(threads, len(plan))
        if self._most_workers is not None:
            number = min(number, self._most_workers)
        if self._at_once is not None:
            number = min(number, (self._at_once // max(plan.input_shape)) ** 3)
        free = free_memory()
        if self.device.type == "cpu" and (free is not None or self._memory is not None):
            tile = self._bytes_of_config * math.prod(plan.input_shape)
            most = MEMORY_SHARE * (free or 0)
            if self._memory is not None:
                most = bytes_for_tiles(self._memory)
            number = min(number, int(most / tile))
        return max(number, 1)

    def shrink(self) -> None:
        """After running out of memory: one tile at a time, and then smaller ones.

        Raises
        ------
        DualError
            If they are as small as they can be.
        """
        if self._most_workers is None and self.device.type == "cpu":
            logger.info("out of memory; one tile at a time")
            self._most_workers = 1
            return
        super().shrink()
        logger.warning(
            "with smaller tiles the result differs by rounding from that of other machines"
        )

    def stream(
        self, read: Read, field: NoiseField, plan: TilePlan
    ) -> Generator[Tuple[Triple, np.ndarray], None, None]:
        """The simulated cores of a plan's tiles, in its order.

        Parameters
        ----------
        read : callable
            ``read(start, size)``: standardised density, a fresh array; called by several threads
            for regions inside the volume.
        field : NoiseField
        plan : TilePlan
            From `plan`.

        Yields
        ------
        start : triple of int
        core : numpy.ndarray
            Float32.
        """

        def simulate(tile: Tile) -> Tuple[Triple, np.ndarray]:
            block = read_mirrored(read, plan.shape, tile.input_start, tile.input_size)
            block += field.read(tile.input_start, tile.input_size)
            with self._lock:
                result = self(block)
            # A copy, so that the rest of the tile is not kept.
            return tile.core_start, result[tile.core_slices].copy()

        with one_torch_thread() as threads:
            workers = self.workers(plan, threads)
            logger.debug("%d tiles side by side", workers)
            yield from _in_order(simulate, iter(plan), workers)


def _in_order(
    function: Callable[[Tile], Tuple[Triple, np.ndarray]],
    items: Iterator[Tile],
    workers: int,
) -> Iterator[Tuple[Triple, np.ndarray]]:
    """``map`` by several threads that runs ahead by no more items than there are threads."""
    import torch

    waiting: Deque[Future[Tuple[Triple, np.ndarray]]] = deque()
    # Said to each thread as well: OpenMP keeps the number of threads for each of its callers.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in itertools.islice(items, workers):
                waiting.append(pool.submit(function, item))
            while waiting:
                result = waiting.popleft().result()
                for item in itertools.islice(items, 1):
                    waiting.append(pool.submit(function, item))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def _bytes_a_voxel(config: Any) -> float:
    """What a U-Net takes for a voxel of its input: measured 90 (stride 2) and 360 (stride 1)."""
    fine = getattr(config, "generator_refinement", 0)
    return float(16 + 24 * config.channels[0] / config.stem_stride**3 + 10 * fine)
