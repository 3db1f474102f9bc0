"""Equation 5 on independent noise: two copies of a real block whose noise has nothing in common.

A tomogram that is compared with its own reconstruction rewards a denoiser that smuggles the noise
through. So two copies are made, ``t + a z`` and ``t - z / a``, where z is drawn with the measured
noise power: their noises are uncorrelated (Pang et al., Recorrupted-to-Recorrupted, CVPR 2021). Dn
sees one, and what the linear model makes of its density, ``H Dn(t + a z)``, is compared with the
other, where measured and in units of the noise. Every draw is fresh, so that nothing can be learnt
by heart, and real tomograms train the denoiser directly.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid, taper
from dual_core.volumes.patches import PatchSource

STRENGTH = 0.5  # a; the copy that Dn sees has 1 + a^2 times the noise
FINE = 0.32  # cycles per voxel beyond which there is noise alone
LOCAL = 6.0  # voxels over which the noise's strength is measured
LEVEL_RANGE = (0.3, 3.0)  # of the noise power about a voxel, in the mean
# Where N is not known exactly, it is rather drawn too strong: copies whose noise is anticorrelated
# make a result smooth, those that share noise make it noisy.
EXCESS = 1.15
SHELL_EDGES = (0.015, 0.03, 0.05, 0.08, 0.11, 0.15, 0.2, 0.25, 0.32)  # cycles per voxel
COARSEST = 1.5  # coefficients; what is below is the taper's


class RecorruptedPair(NamedTuple):
    """Two copies of a block, ``(1, 1, side, side, side)`` float32, with independent noise."""

    seen: np.ndarray
    other: np.ndarray


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
        self._amplitude = on_grid(model.noise_amplitude, (blocks.side,) * 3)
        self._fine = (half_grid_frequency(blocks.side) >= FINE).astype(np.float32)
        self._excess = 1.0 if model.source == "halves" else EXCESS

    def draw(self, generator: np.random.Generator) -> RecorruptedPair:
        """A pair of a random block, with fresh noise."""
        return self.corrupt(self._blocks.draw(1, generator), generator)

    def corrupt(self, block: np.ndarray, generator: np.random.Generator) -> RecorruptedPair:
        """Two copies of a block ``(1, 1, side, side, side)``."""
        white = generator.standard_normal(block.shape, dtype=np.float32)
        noise = self._filtered(white, self._amplitude)
        noise *= self._local_deviation(block, noise)
        return RecorruptedPair(block + STRENGTH * noise, block - noise / STRENGTH)

    def _local_deviation(self, block: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """How strong the noise is about each voxel, in the drawn noise's deviation.

        The highest frequencies hold next to no structure. Where noise is drawn weaker than it is,
        the two copies have a part of it in common, and Dn would learn to let it through.
        """
        sigma = (0.0, 0.0, LOCAL, LOCAL, LOCAL)
        own, drawn = (
            gaussian_filter(self._filtered(part, self._fine) ** 2, sigma, mode="reflect")
            for part in (block, noise)
        )
        level = own / np.maximum(drawn.mean(), 1e-9)
        return np.sqrt(self._excess * np.clip(level, *LEVEL_RANGE)).astype(np.float32)

    @staticmethod
    def _filtered(block: np.ndarray, response: np.ndarray) -> np.ndarray:
        axes = (-3, -2, -1)
        spectrum = np.fft.rfftn(block, axes=axes) * response
        return np.fft.irfftn(spectrum, s=block.shape[-3:], axes=axes).astype(np.float32)

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
