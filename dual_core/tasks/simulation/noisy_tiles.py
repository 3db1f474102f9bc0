"""The structural generator over a whole volume, tile by tile: Gs(v + P(Gn(z))), and
Gs(h * v) + c * P(Gn(z)) for models whose noise was measured.

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

import logging
import math
from typing import Any, Callable, Generator, Optional, Sequence, Tuple, Union

import numpy as np

from dual_core.noise_model.full_power.coloured_noise import MARGIN, ColouredNoise
from dual_core.noise_model.noise_field import NoiseField, one_torch_thread
from dual_core.overlap import in_order
from dual_core.tiles.memory import GIB, bytes_for_tiles, free_memory, unet_bytes
from dual_core.tiles.plan import (
    Tile,
    TilePlan,
    Triple,
    as_triple,
    plan_for_voxels,
    plan_tiles,
    round_up,
)
from dual_core.tiles.runner import NetworkRunner
from dual_core.tiles.stream import read_mirrored

logger = logging.getLogger(__name__)

Read = Callable[[Triple, Triple], np.ndarray]

# Of the memory that is free, what tiles may take.
MEMORY_SHARE = 0.5
# What a tile may take. The more, the less halo is computed: 3.9 voxels for each one written of
# 128 x 384 x 384 with the standard network, where tiles of 176 x 208 x 208 compute 12.9.
TILE_BYTES = 1.125 * GIB
# Of a volume with its halo, what a tile takes at most.
SPLIT = 0.7


def canonical_voxels(channels: Sequence[int], stem_stride: int) -> int:
    """How many voxels a tile of a model has at most on every machine, halo included.

    As many as `TILE_BYTES` hold on a CPU; a CUDA device loses little by it.
    """
    return int(TILE_BYTES / unet_bytes(channels, stem_stride))


class SimulationRunner(NetworkRunner):
    """The structural generator of a `DualModel`, on tiles of `canonical_voxels`.

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
        super().__init__(
            generator,
            generator.multiple,
            generator.receptive_radius,
            device,
            precision,
            halo=halo,
            memory=memory,
        )
        sizes = model.config.channels, model.config.stem_stride
        self._canonical = canonical_voxels(*sizes)
        self._at_once = tile
        self._bytes_of_config = unet_bytes(
            *sizes, model.config.generator_refinement, self.bfloat16
        )
        self._most_workers: Optional[int] = None

    def plan(self, shape: Sequence[int]) -> TilePlan:
        """The tiles of a volume: those of the model, as long as no memory ran out."""
        if self.side is not None:
            return super().plan(shape)
        # Never all in one tile, which would leave the other threads without work.
        whole = plan_tiles(shape, shape, self.halo, self.multiple).input_shape
        most = min(self._canonical, SPLIT * math.prod(whole))
        # Smaller ones would be nearly all halo.
        most = max(most, (3 * round_up(self.halo, self.multiple) + self.multiple) ** 3)
        plan = plan_for_voxels(shape, most, self.halo, self.multiple)
        self._planned = math.prod(plan.input_shape)
        return plan

    def workers(self, plan: TilePlan, threads: int) -> int:
        """How many tiles to compute side by side."""
        number = min(max(threads, self.side_by_side), len(plan))
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
        if self.side is None:
            self.side = round(self._planned ** (1 / 3))
        super().shrink()
        logger.warning(
            "with smaller tiles the result differs by rounding from that of other machines"
        )

    def stream(
        self, read: Read, field: Union[NoiseField, ColouredNoise], plan: TilePlan
    ) -> Generator[Tuple[Triple, np.ndarray], None, None]:
        """The simulated cores of a plan's tiles, in its order.

        Parameters
        ----------
        read : callable
            ``read(start, size)``: standardised density, a fresh array; called by several threads
            for regions inside the volume.
        field : NoiseField or ColouredNoise
            Goes through the network, or is added to what comes out.
        plan : TilePlan
            From `plan`.

        Yields
        ------
        start : triple of int
        core : numpy.ndarray
            Float32.
        """

        def simulate(tile: Tile) -> Tuple[Triple, np.ndarray]:
            if isinstance(field, NoiseField):
                block = read_mirrored(read, plan.shape, tile.input_start, tile.input_size)
                block += field.read(tile.input_start, tile.input_size)
            else:
                start = as_triple([at - MARGIN for at in tile.input_start])
                size = as_triple([length + 2 * MARGIN for length in tile.input_size])
                block = field.structure_of(read_mirrored(read, plan.shape, start, size))
            result = self(block)
            if isinstance(field, NoiseField):
                # A copy, so that the rest of the tile is not kept.
                return tile.core_start, result[tile.core_slices].copy()
            structure = field.corrected(result, block)[tile.core_slices]
            return tile.core_start, field.added_to(structure, tile.core_start)

        with one_torch_thread() as threads:
            workers = self.workers(plan, threads)
            logger.debug("%d tiles side by side", workers)
            # Said to each thread as well: OpenMP keeps the number of threads for each caller.
            yield from in_order(simulate, plan, workers, _one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
