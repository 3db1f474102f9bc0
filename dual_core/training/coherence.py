"""Half coherence while a model is trained: does it know more of the specimen than a filter?

Some blocks of the tomograms are drawn once, each with two copies of independent noise that no step
of the training sees (`dual_core.training.pairs.recorruption`). Now and then the averaged denoiser
gets one copy, and its result, seen through the transfer, is held against the other: its coherence
with it, shell by shell, over that of the first copy itself. A filter has the ratio 1. Losses can
fall while it does, when the networks agree on a story that the data do not tell.
"""

from __future__ import annotations

import logging
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import scipy.fft
import torch

from dual_core.networks.model import DualModel
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid, taper
from dual_core.training.pairs.recorrupted import SHELL_EDGES, RecorruptedPairs
from dual_core.training.pairs.recorruption import RecorruptedPair, Recorruption
from dual_core.volumes.patches import PatchSource

logger = logging.getLogger(__name__)

NAME = "half_coherence"
TIMES = 10  # over a run
BLOCKS = 3
JUDGED = (0.2, 0.95)  # raw coherence of the shells that count
FALLS = 0.05  # below its best
RED = 0.95

Denoiser = Callable[[np.ndarray], np.ndarray]


class CoherenceCheck:
    """The blocks and their copies, and what was found so far.

    Parameters
    ----------
    model : the linear model.
    blocks : draws blocks of the noisy domain.
    seed : of the blocks and their noise.
    """

    @classmethod
    def beside(cls, pairs: Optional[RecorruptedPairs], seed: int) -> Optional[CoherenceCheck]:
        """A check on blocks of the same tomograms; None where a training has no such pairs."""
        return None if pairs is None else cls(pairs.model, pairs.fresh_blocks(), seed)

    def __init__(self, model: LinearModel, blocks: PatchSource, seed: int) -> None:
        shape = (blocks.side,) * 3
        generator = np.random.default_rng([seed, 11])
        drawn = [block[0] for block in blocks.draw(BLOCKS, generator)]
        copies = Recorruption(model, shape, strength=1.0)  # each has twice the noise, as a half
        self._pairs: List[RecorruptedPair] = [copies(block, generator) for block in drawn]
        self._transfer = on_grid(model.transfer, shape)
        self._window = taper(blocks.side)
        frequency = half_grid_frequency(blocks.side)
        measured = np.ones_like(frequency, dtype=bool)
        if model.measured is not None:
            measured = on_grid(model.measured, shape) > 0.5
        self._shells = [
            measured & (frequency >= low) & (frequency < high)
            for low, high in zip(SHELL_EDGES, SHELL_EDGES[1:])
        ]
        raw = self._coherence([pair.seen for pair in self._pairs])
        self._raw = raw
        self._judged = (raw >= JUDGED[0]) & (raw <= JUDGED[1])
        self._best: Optional[Dict[str, float]] = None
        self._told = False
        self.last: Optional[float] = None

    def ratio(self, denoise: Denoiser) -> Optional[float]:
        """Mean over the shells that can be judged; None where there are none.

        Parameters
        ----------
        denoise : ``(1, 1, side, side, side)`` -> the same, the density.
        """
        if not self._judged.any():
            return None
        results = []
        for pair in self._pairs:
            density = denoise(pair.seen[np.newaxis, np.newaxis])[0, 0]
            spectrum = scipy.fft.rfftn(density) * self._transfer
            results.append(scipy.fft.irfftn(spectrum, s=density.shape))
        found = self._coherence(results)
        return float(np.mean(found[self._judged] / self._raw[self._judged]))

    def of_model(
        self, model: DualModel, values: Mapping[str, float]
    ) -> Tuple[Dict[str, float], List[str]]:
        """The ratio by its name in the history, and the warnings that it gives cause for.

        Parameters
        ----------
        model : with the averaged weights.
        values : loss terms of this iteration.
        """
        device = next(model.denoiser.parameters()).device

        def denoise(block: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                density = model.denoiser(torch.from_numpy(block).to(device))
                result: np.ndarray = density.float().cpu().numpy()
            return result

        ratio = self.ratio(denoise)
        if ratio is None or not np.isfinite(ratio):
            return {}, []
        self.last = ratio
        return {NAME: ratio}, self.look({**values, NAME: ratio})

    def look(self, values: Dict[str, float]) -> List[str]:
        """Warnings that a history's entry with the ratio in it gives cause for, once.

        It is told when the ratio falls while the loss on known pairs improves.
        """
        if self._best is None or values[NAME] >= self._best[NAME]:
            self._best = dict(values)
            return []
        loss = "loss_rehearsal"
        improves = loss in values and values[loss] <= self._best.get(loss, np.inf)
        if self._told or not improves or values[NAME] > self._best[NAME] - FALLS:
            return []
        self._told = True
        message = (
            f"the half coherence ratio fell from {self._best[NAME]:.2f} to {values[NAME]:.2f} "
            "while the losses improve: the model learns the clean domain by heart and forgets the "
            "tomograms; train shorter, or give a clean domain that is more like them"
        )
        logger.warning(message)
        return [message]

    def _coherence(self, volumes: Sequence[np.ndarray]) -> np.ndarray:
        """Of volumes with the copies that were not seen, shell by shell."""
        sums = np.zeros((3, len(self._shells)))
        for volume, pair in zip(volumes, self._pairs):
            first, second = (
                scipy.fft.rfftn(part * self._window, norm="ortho") for part in (volume, pair.other)
            )
            products = (
                first.real * second.real + first.imag * second.imag,
                first.real**2 + first.imag**2,
                second.real**2 + second.imag**2,
            )
            for row, product in zip(sums, products):
                row += [float(product[shell].sum()) for shell in self._shells]
        result: np.ndarray = sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-30))
        return result


def told_at_the_end(ratio: float) -> str:
    """A sentence for the log on the last ratio of a run."""
    verdict = "more than" if ratio >= 1.0 else "about what" if ratio >= RED else "less than"
    return (
        f"half coherence ratio {ratio:.2f}: the result knows {verdict} a filter "
        + ("knows of the specimen" if ratio >= RED else "does; see docs/trust.md")
    )
