"""One network on one device or on several: tiles go to whichever is free."""

from __future__ import annotations

import contextlib
import copy
import queue
from typing import TYPE_CHECKING, ContextManager, Iterator, Optional, Sequence

import numpy as np

if TYPE_CHECKING:
    import torch

    from dual_core.tiles.lean_unet import LeanUNet


class Replica:
    """A network on a device.

    Parameters
    ----------
    network : torch.nn.Module
        ``(1, 1, z, y, x) -> (1, 1, z, y, x)``; moved to the device.
    device : torch.device
    bfloat16 : bool
        On a CPU only where all layers of a U-Net can.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device, bfloat16: bool) -> None:
        import torch

        self.device = device
        self.bfloat16 = bfloat16
        self.network = network.eval().to(  # type: ignore[call-overload]
            device, memory_format=torch.channels_last_3d
        )
        self._lean: Optional[LeanUNet] = None
        if device.type == "cpu":
            self._lean = _lean(self.network, bfloat16)
            if self._lean is not None:
                self.bfloat16 = self._lean.kind == torch.bfloat16

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Float32 ``(z, y, x)`` -> the same."""
        import torch

        volume = torch.from_numpy(np.ascontiguousarray(tile, dtype=np.float32))
        if self._lean is not None:
            return self._lean(volume).numpy()
        with torch.inference_mode(), self._autocast():
            batch = volume[None, None]
            # With one channel both layouts are the same bytes, but not to the convolution.
            batch = batch.to(self.device).contiguous(memory_format=torch.channels_last_3d)
            return self.network(batch)[0, 0].float().cpu().numpy()

    def _autocast(self) -> ContextManager[object]:
        import torch

        if not self.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


class Replicas:
    """The same network on each of some devices; called by as many threads, or by one.

    Parameters
    ----------
    network : torch.nn.Module
    devices : sequence of torch.device
        Of one kind. One CPU is used by all threads that call; every other replica by one at a time.
    bfloat16 : bool
    """

    def __init__(
        self, network: torch.nn.Module, devices: Sequence[torch.device], bfloat16: bool
    ) -> None:
        others = [copy.deepcopy(network) for _ in devices[1:]]
        self.all = [
            Replica(one, device, bfloat16) for one, device in zip([network, *others], devices)
        ]
        self._shared = len(devices) == 1 and devices[0].type == "cpu"
        self._free: queue.Queue[Replica] = queue.Queue()
        for replica in self.all:
            self._free.put(replica)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def bfloat16(self) -> bool:
        """Whether they calculate in it."""
        return self.all[0].bfloat16

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Run one tile on a device that is free; waits for one."""
        if self._shared:
            return self.all[0](tile)
        with self._one() as replica:
            return replica(tile)

    @contextlib.contextmanager
    def _one(self) -> Iterator[Replica]:
        replica = self._free.get()
        try:
            yield replica
        finally:
            self._free.put(replica)


def _lean(network: torch.nn.Module, bfloat16: bool) -> Optional[LeanUNet]:
    """The faster evaluator of a U-Net; None for other networks."""
    import torch

    from dual_core.networks.generators import UNet
    from dual_core.tiles.lean_unet import LeanUNet, right_in_bfloat16

    if not isinstance(network, UNet):
        return None
    right = bfloat16 and right_in_bfloat16(network)
    return LeanUNet(network, torch.bfloat16 if right else torch.float32)
