"""Equation 5 on independent noise: two copies of a real block whose noise has nothing in common.

A tomogram that is compared with its own reconstruction rewards a denoiser that smuggles the noise
through. So two copies are made (`recorruption`). Dn sees one, and what the linear model makes of
its density, ``H Dn(t + a z)``, is compared with the other, where measured and in units of the
noise. Every draw is fresh, so that nothing can be learnt by heart, and real tomograms train the
denoiser directly.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid, taper
from dual_core.training.pairs.recorruption import RecorruptedPair, Recorruption
from dual_core.volumes.arithmetic import HostArithmetic
from dual_core.volumes.patches import PatchSource

SHELL_EDGES = (0.015, 0.03, 0.05, 0.08, 0.11, 0.15, 0.2, 0.25, 0.32)  # cycles per voxel
COARSEST = 1.5  # coefficients; what is below is the taper's


class RecorruptedPairs:
    """Draws pairs of copies from real tomograms.

    Parameters
    ----------
    model : the linear model, whose noise is drawn.
    blocks : draws blocks of the noisy domain, of any side.
    """

    def __init__(self, model: LinearModel, blocks: PatchSource) -> None:
        self.model = model
        self.side = blocks.side
        self._blocks = blocks
        self._recorruption = Recorruption(model, (blocks.side,) * 3)

    def compute_on(self, arithmetic: HostArithmetic) -> None:
        """Draw with this arithmetic from now on."""
        shape = (self.side,) * 3
        self._recorruption = Recorruption(self.model, shape, arithmetic=arithmetic)

    def draw(self, generator: np.random.Generator) -> RecorruptedPair:
        """A pair of a random block, with fresh noise."""
        return self._recorruption(self._blocks.draw(1, generator), generator)

    def fresh_blocks(self) -> PatchSource:
        """Draws blocks of the same size, without a trace in what is drawn here."""
        return self._blocks.with_side(self.side)

    def tensors(self) -> Dict[str, np.ndarray]:
        """Nothing: pairs are not kept."""
        return {}

    def state(self) -> Dict[str, Any]:
        """What a checkpoint needs, plain values."""
        return {"blocks": self._blocks.state()}

    def restore(self, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""
        self._blocks.restore(state["blocks"])


class RecorruptionLoss:
    """How far a density, brought back into a tomogram, is from the copy that Dn did not see.

    Parameters
    ----------
    model : the linear model.
    side : of the blocks, in voxels.
    device : to compute on.
    kind : ``squared``, the error in units of the noise power, or ``coherence``, 1 minus the
        coherence of both, shell by shell.
    """

    def __init__(
        self, model: LinearModel, side: int, device: torch.device, kind: str = "squared"
    ) -> None:
        shape = (side,) * 3
        self._shape: Sequence[int] = shape
        self._kind = kind
        frequency = half_grid_frequency(side)
        measured = np.ones_like(frequency)
        if model.measured is not None:
            measured = on_grid(model.measured, shape)
        inside = (measured > 0.5) & (frequency * side > COARSEST)
        # Columns inside of the half grid stand for their conjugates too.
        twice = np.full(side // 2 + 1, 2.0)
        twice[0] = twice[-1] = 1.0
        noise = on_grid(model.noise_amplitude, shape) ** 2
        weight = inside * twice / np.maximum(noise, 1e-6)
        self._transfer = _tensor(on_grid(model.transfer, shape), device)
        self._window = _tensor(taper(side), device)
        self._weight = _tensor(weight / (inside * twice).sum(), device)
        shells: List[np.ndarray] = [
            inside & (frequency >= low) & (frequency < high)
            for low, high in zip(SHELL_EDGES, SHELL_EDGES[1:])
        ]
        self._shells = [
            _tensor(shell * twice, device) for shell in shells if shell.sum() > 20
        ]

    def __call__(self, density: Tensor, other: Tensor) -> Tensor:
        """The loss of Dn's output against the unseen copy, both ``(1, 1, side, side, side)``."""
        axes = (-3, -2, -1)
        spectrum = torch.fft.rfftn(density, dim=axes) * self._transfer
        explained = torch.fft.irfftn(spectrum, s=list(self._shape), dim=axes)
        if self._kind == "squared":
            error = torch.fft.rfftn((explained - other) * self._window, dim=axes, norm="ortho")
            return (self._weight * (error.real.square() + error.imag.square())).sum()
        first = torch.fft.rfftn(explained * self._window, dim=axes, norm="ortho")
        second = torch.fft.rfftn(other * self._window, dim=axes, norm="ortho")
        cross = first.real * second.real + first.imag * second.imag
        power = first.real.square() + first.imag.square()
        unseen = second.real.square() + second.imag.square()
        losses = [
            1.0 - (shell * cross).sum()
            / torch.sqrt((shell * power).sum() * (shell * unseen).sum() + 1e-6)
            for shell in self._shells
        ]
        return torch.stack(losses).mean()


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
