"""A network at work on tiles: device, arithmetic, tile size and what to do without memory."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Optional, Sequence

import numpy as np

from dual_core.errors import DualError
from dual_core.networks.devices import choose_devices, describe_device, use_bfloat16
from dual_core.tiles.memory import GIB, bytes_for_tiles, unet_bytes
from dual_core.tiles.plan import TilePlan, plan_for_side, plan_for_voxels, round_up
from dual_core.tiles.replicas import Replicas

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

# The side of a tile that is advised. Tiles are as large as the memory allows, since what counts is
# how much halo they compute.
CPU_SIDE = 144
CPU_HALOS = 4
CUDA_MOST_VOXELS = 400**3
CUDA_PROBE_SIDE = 64
CUDA_MEMORY_SHARE = 0.7
SMALLEST_SIDE = 32
# Of a network that is no U-Net of this package, such as one layer.
OTHER_NETWORK_BYTES = 64.0
# The outer part of the receptive field carries next to nothing; see `choose_halo`.
HALO_SHARE = 0.72


def choose_halo(radius: int, side: int, multiple: int) -> int:
    """The halo for a tile whose input is at most ``side`` long, a multiple of ``multiple``.

    A good two thirds of the receptive radius: only paths that leave the voxel in one direction
    at every layer reach further, and they carry next to nothing. Measured against a whole-volume
    pass (noise as input, random weights, in units of the output's deviation) the largest
    difference is 1e-4 for the U-Net at full resolution (radius 29, halo 24) and 5e-5 for the
    one with a strided stem (radius 61, halo 48; with trained weights 1e-4, and 1e-2 at 40),
    while a full halo costs 1.5 to 3.5 times as much. Where the side is less than three halos the
    halo is a third of it.
    """
    wanted = round_up(math.ceil(HALO_SHARE * radius), multiple)
    return min(wanted, side // 3 // multiple * multiple)


class NetworkRunner:
    """Runs a network ``(1, 1, z, y, x) -> (1, 1, z, y, x)`` on numpy tiles.

    Parameters
    ----------
    network : torch.nn.Module
        Fully convolutional; moved to the device and to the layout that is fastest there.
    multiple : int
        The factor by which the network shrinks its input.
    receptive_radius : int
        In voxels.
    device, precision : str
        See `dual_core.networks.devices`; of several devices each holds the network and takes the
        next tile when it is free. The tiles are those of one device, and so are the bytes.
    tile : int, optional
        Longest side of a tile's input, halo included; by default the memory decides, and tiles
        are as long along each axis as computes the least (`plan_for_voxels`).
    halo : int, optional
        By default `choose_halo`.
    memory : float, optional
        GiB that the process may have on a CPU, or the tiles on a GPU; by default a share of
        what is free.
    inside : bool
        Whether tiles end at the faces of a volume; else it is mirrored beyond them.

    Raises
    ------
    DualError
        If the device is not there or the tile has no room for the halo.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        multiple: int,
        receptive_radius: int,
        device: str = "auto",
        precision: str = "auto",
        tile: Optional[int] = None,
        halo: Optional[int] = None,
        inside: bool = False,
        memory: Optional[float] = None,
    ) -> None:
        self.devices = choose_devices(device)
        self.device = self.devices[0]
        self.multiple = multiple
        self.receptive_radius = receptive_radius
        self.network: Any = network
        bfloat16 = all(use_bfloat16(one, precision) for one in self.devices)
        self._replicas = Replicas(network, self.devices, bfloat16)
        self.bfloat16 = self._replicas.bfloat16  # not where a layer is wrong in it
        if halo is not None:
            # What lies farther away than the network reaches changes nothing.
            halo = min(halo, receptive_radius)
        self._wanted_halo = halo
        self.inside = inside
        if tile is not None and halo is not None and tile < 2 * round_up(halo, multiple) + multiple:
            raise DualError(
                f"a tile of {tile} voxels has no room for a halo of {halo}; "
                f"take a tile of at least {2 * round_up(halo, multiple) + multiple}"
            )
        self.side = tile
        self._memory = memory
        self._shrunk = 1.0
        self._planned = 1
        self._cuda_bytes: Optional[float] = None

    def describe(self) -> str:
        """A line for the log: device and arithmetic."""
        kind = "bfloat16" if self.bfloat16 else "float32"
        several = "devices" if len(self.devices) > 1 else "device"
        return f"{several} {', '.join(map(describe_device, self.devices))}, {kind}"

    @property
    def side_by_side(self) -> int:
        """How many tiles to compute at a time: one on each device."""
        return len(self.devices)

    def plan(self, shape: Sequence[int]) -> TilePlan:
        """The tiles of a volume."""
        if self.halo < HALO_SHARE * self.receptive_radius:
            logger.warning(
                "a halo of %d voxels is short for this network (receptive radius %d): tiles may "
                "show; larger tiles (--tile %d) avoid it",
                self.halo,
                self.receptive_radius,
                self._good_side(),
            )
        if self.side is not None:
            return plan_for_side(shape, self.side, self.halo, self.multiple, self.inside)
        most = self._most_voxels() * self._shrunk
        # Below it the halo is nearly all that is computed.
        least = (3 * round_up(self.halo, self.multiple) + self.multiple) ** 3
        if self._memory is not None and most < min(least, math.prod(shape)):
            logger.warning(
                "%g GiB are too little for tiles of a sensible size; tiles of %.1f million voxels "
                "are taken all the same", self._memory, least / 1e6,
            )
        plan = plan_for_voxels(shape, max(most, least), self.halo, self.multiple, self.inside)
        # Half of this is what is tried when it was too much.
        self._planned = math.prod(plan.input_shape)
        return plan

    @property
    def halo(self) -> int:
        """The halo at the present tile size, in voxels."""
        side = self._good_side() if self.side is None else self.side
        chosen = choose_halo(self.receptive_radius, side, self.multiple)
        return chosen if self._wanted_halo is None else self._wanted_halo

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Run one tile, float32 ``(z, y, x)`` -> the same; several threads may call."""
        return self._replicas(tile)

    def shrink(self) -> None:
        """Halve the tiles after running out of memory.

        Raises
        ------
        DualError
            If they are as small as they can be.
        """
        if self.side is None and self._halve():
            return
        if self.side is None:
            # From here on by the side, and the halo shrinks with it.
            self.side = int(round(self._planned ** (1 / 3)))
        side = self.side // 2 // self.multiple * self.multiple
        needed = SMALLEST_SIDE
        if self._wanted_halo is not None:
            needed = max(needed, 2 * round_up(self._wanted_halo, self.multiple) + self.multiple)
        if side < needed:
            raise DualError(
                f"out of memory on {self.device} with tiles of {self.side} voxels; "
                "free memory there or choose --device cpu"
            )
        logger.warning(
            "out of memory on %s with tiles of %d voxels; trying %d", self.device, self.side, side
        )
        self.side = side
        self._give_back()

    def _good_side(self) -> int:
        """A side that leaves a sensible core beside the halo."""
        halo = round_up(math.ceil(HALO_SHARE * self.receptive_radius), self.multiple)
        return round_up(max(CPU_SIDE, CPU_HALOS * halo), self.multiple)

    def _halve(self) -> bool:
        """Halve the voxels of a tile; False where their halo would leave no sensible core."""
        fewer = self._planned // 2
        if fewer < (3 * round_up(self.halo, self.multiple) + self.multiple) ** 3:
            return False
        logger.warning(
            "out of memory on %s with tiles of %.1f million voxels; trying half of it",
            self.device, self._planned / 1e6,
        )
        self._give_back()
        self._shrunk *= fewer / max(self._most_voxels() * self._shrunk, fewer)
        return True

    def _give_back(self) -> None:
        """Give back what torch keeps of the devices' memory."""
        import torch

        for device in self.devices:
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.empty_cache()

    def _most_voxels(self) -> float:
        """How many voxels a tile's input may have."""
        if self.device.type != "cuda":
            return bytes_for_tiles(self._memory) / self._bytes_a_voxel()
        import torch

        if self._cuda_bytes is None:
            self._cuda_bytes = self._probe_cuda()
        free = min(torch.cuda.mem_get_info(one)[0] for one in self.devices)
        most = CUDA_MEMORY_SHARE * free if self._memory is None else self._memory * GIB
        return min(most / self._cuda_bytes, CUDA_MOST_VOXELS)

    def _bytes_a_voxel(self) -> float:
        """Of main memory, for each voxel of a tile's input, reading and writing included."""
        blocks = getattr(self.network, "down", None)
        if not blocks:
            return OTHER_NETWORK_BYTES
        channels = [block[0].out_channels for block in blocks]
        refinement = getattr(self.network, "refinement", None)
        return unet_bytes(
            channels,
            self.network.stem_stride,
            0 if refinement is None else refinement[0].out_channels,
            self.bfloat16,
        )

    def _probe_cuda(self) -> float:
        """Bytes on the device for each voxel of a tile, as a small one shows."""
        import torch

        probe = np.zeros((round_up(CUDA_PROBE_SIDE, self.multiple),) * 3, dtype=np.float32)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self._replicas.all[0](probe)
        a_voxel = (torch.cuda.max_memory_allocated(self.device) - before) / probe.size
        torch.cuda.empty_cache()
        return max(a_voxel, 1.0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device had no memory left, in any of torch's ways."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )
