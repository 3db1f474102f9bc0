"""A small 3D U-Net that names the class of every voxel: the judge of ``segmentation.py``.

Not a product: just enough of a segmenter to ask whether simulated tomograms are good to learn from.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dual_core.networks.devices import fast_bfloat16
from dual_core.tiles.plan import plan_for_side
from dual_core.tiles.stream import run_tiled

CLASSES = ("background", "membrane", "large complexes", "small complexes", "gold")
# Values of shrec_like/class_*.mrc, split by molecular weight: 540 kDa and more (TRiC, 26S
# proteasome, ClpB, rubisco, p97, mitochondrial ribosome), and 240 kDa and less.
LARGE, SMALL = (1, 2, 3, 4, 5, 13), (6, 7, 8, 9, 10, 11, 12)
MEMBRANE, GOLD = 14, 15
LARGE_KDA = 400.0  # between those
HALO = 12


@dataclass(frozen=True)
class SegmenterConfig:
    """How to train.

    Attributes
    ----------
    iterations, batch, patch
        Steps, patches a step, side of a patch in voxels.
    centred
        Share of patches around a voxel of a class drawn at random (gold is 0.04 % of a cell); the
        others lie anywhere.
    """

    iterations: int = 400
    batch: int = 2
    patch: int = 48
    channels: Tuple[int, int, int] = (16, 32, 64)
    learning_rate: float = 2e-3
    centred: float = 0.7
    seed: int = 0


def five_classes(class_mask: np.ndarray) -> np.ndarray:
    """Values of a class mask 0..15 as numbers of `CLASSES`, uint8."""
    table = np.zeros(16, np.uint8)
    table[MEMBRANE], table[GOLD] = 1, 4
    table[list(LARGE)], table[list(SMALL)] = 2, 3
    return table[np.rint(class_mask).astype(np.intp)]


def classes_of_packed(class_mask: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """The classes of a cell of ``dual pack``, uint8; filaments and crowd are background.

    Parameters
    ----------
    class_mask : of the cell.
    record : what ``pack_N.yaml`` says of it.
    """
    table = np.zeros(256, np.uint8)
    numbers = record["classes"]
    table[numbers["membrane"]], table[numbers["gold"]] = 1, 4
    for molecule in record["molecules"]:
        table[numbers[molecule["name"]]] = 2 if molecule["mass_kDa"] >= LARGE_KDA else 3
    return table[np.rint(class_mask).astype(np.intp)]


def with_one_molecule(classes: np.ndarray) -> np.ndarray:
    """The same with large and small complexes as one class."""
    return np.where(classes == 3, np.uint8(2), classes)


def standardised(tomogram: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1, cut at 8 deviations: gold must not be the only thing to see."""
    return np.clip((tomogram - tomogram.mean()) / tomogram.std(), -8, 8).astype(np.float32)


class Segmenter(nn.Module):
    """``(b, 1, z, y, x)`` to logits ``(b, 5, z, y, x)``; sides multiples of 4."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        a, b, c = channels
        self.first, self.second = _block(1, a), _block(a, b, 2)
        self.third = _block(b, c, 2)
        self.shrink_third, self.up_second = nn.Conv3d(c, b, 1), _block(2 * b, b)
        self.shrink_second, self.up_first = nn.Conv3d(b, a, 1), _block(2 * a, a)
        self.head = nn.Conv3d(a, len(CLASSES), 1)

    def forward(self, volume: Tensor) -> Tensor:
        first = self.first(volume)
        second = self.second(functional.max_pool3d(first, 2))
        third = self.third(functional.max_pool3d(second, 2))
        second = self.up_second(torch.cat([second, _doubled(self.shrink_third(third))], 1))
        first = self.up_first(torch.cat([first, _doubled(self.shrink_second(second))], 1))
        logits: Tensor = self.head(first)
        return logits


def _block(inputs: int, outputs: int, number: int = 1) -> nn.Sequential:
    layers: List[nn.Module] = []
    for index in range(number):
        layers += [
            nn.Conv3d(outputs if index else inputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class Examples:
    """Random patches of labelled tomograms, flipped; all flips keep a symmetric wedge."""

    def __init__(
        self, pairs: Sequence[Tuple[np.ndarray, np.ndarray]], config: SegmenterConfig
    ) -> None:
        self._pairs = pairs
        self._config = config
        self._rng = np.random.default_rng(config.seed)
        self._places = [
            [np.flatnonzero(labels == one) for one in range(len(CLASSES))] for _, labels in pairs
        ]
        counts = sum(np.bincount(labels.ravel(), minlength=len(CLASSES)) for _, labels in pairs)
        self.share = np.asarray(counts, np.float64) / np.sum(counts)

    def draw(self) -> Tuple[Tensor, Tensor]:
        """A batch: ``(b, 1, z, y, x)`` float32 and classes ``(b, z, y, x)``."""
        patches = [self._patch() for _ in range(self._config.batch)]
        volumes = torch.from_numpy(np.stack([volume for volume, _ in patches])[:, None])
        return volumes, torch.from_numpy(np.stack([labels for _, labels in patches])).long()

    def _patch(self) -> Tuple[np.ndarray, np.ndarray]:
        rng, side = self._rng, self._config.patch
        which = int(rng.integers(len(self._pairs)))
        volume, labels = self._pairs[which]
        start = [int(rng.integers(length - side + 1)) for length in volume.shape]
        if rng.random() < self._config.centred:
            places = self._places[which][int(rng.integers(1, len(CLASSES)))]
            if places.size:
                centre = np.unravel_index(places[rng.integers(places.size)], volume.shape)
                shift = rng.integers(-side // 4, side // 4 + 1, size=3)
                start = [
                    int(np.clip(at + move - side // 2, 0, length - side))
                    for at, move, length in zip(centre, shift, volume.shape)
                ]
        region = tuple(slice(at, at + side) for at in start)
        flips = [axis for axis in range(3) if rng.random() < 0.5]
        return (
            np.flip(volume[region], flips).copy(),
            np.flip(labels[region], flips).copy(),
        )


def train(
    pairs: Sequence[Tuple[np.ndarray, np.ndarray]],
    config: SegmenterConfig,
    tell: Callable[[str], None] = print,
) -> Segmenter:
    """Train on (standardised tomogram, classes) pairs; same seed, same segmenter."""
    torch.manual_seed(config.seed)
    device = torch.device("cpu")
    network = Segmenter(config.channels).to(memory_format=torch.channels_last_3d)
    examples = Examples(pairs, config)
    # Rare classes count more, but not in full: gold would drown the rest.
    weight = torch.from_numpy((examples.share.clip(1e-4) ** -0.5).astype(np.float32))
    weight /= weight.mean()
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.iterations, pct_start=0.1
    )
    started, recent = time.monotonic(), []
    for iteration in range(1, config.iterations + 1):
        volumes, labels = examples.draw()
        with _arithmetic(device):
            logits = network(volumes.contiguous(memory_format=torch.channels_last_3d))
        logits = logits.float()
        loss = functional.cross_entropy(logits, labels, weight) + dice_loss(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(float(loss.detach()))
        if iteration % 100 == 0 or iteration == config.iterations:
            seconds = time.monotonic() - started
            tell(f"  iteration {iteration}: loss {np.mean(recent[-100:]):.3f}, {seconds:.0f} s")
    return network.eval()


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 minus the mean soft Dice of the classes that are there, over the batch."""
    probability = logits.softmax(1)
    truth = functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).to(probability.dtype)
    axes = (0, 2, 3, 4)
    both, either = (probability * truth).sum(axes), (probability + truth).sum(axes)
    present = truth.sum(axes) > 0
    return 1 - ((2 * both + 1) / (either + 1))[present].mean()


@torch.no_grad()
def segment(network: Segmenter, tomogram: np.ndarray, side: int = 72) -> np.ndarray:
    """Classes of every voxel of a standardised tomogram, uint8, by overlapping tiles."""
    result = np.zeros(tomogram.shape, np.uint8)

    def read(start: Tuple[int, ...], size: Tuple[int, ...]) -> np.ndarray:
        return tomogram[tuple(slice(a, a + n) for a, n in zip(start, size))]

    def write(start: Tuple[int, ...], block: np.ndarray) -> None:
        result[tuple(slice(a, a + n) for a, n in zip(start, block.shape))] = block

    def classes(tile: np.ndarray) -> np.ndarray:
        volume = torch.from_numpy(np.ascontiguousarray(tile))[None, None]
        with _arithmetic(torch.device("cpu")):
            logits = network(volume.contiguous(memory_format=torch.channels_last_3d))
        return logits[0].float().argmax(0).numpy().astype(np.float32)

    run_tiled(read, write, plan_for_side(tomogram.shape, side, HALO, 4), classes)
    return result


def dice(found: np.ndarray, truth: np.ndarray) -> List[float]:
    """Dice coefficient of each of `CLASSES`; 1 where a class is in neither."""
    scores = []
    for one in range(len(CLASSES)):
        a, b = found == one, truth == one
        total = int(a.sum()) + int(b.sum())
        scores.append(2 * int((a & b).sum()) / total if total else 1.0)
    return scores


def _arithmetic(device: torch.device) -> contextlib.AbstractContextManager:
    fast = fast_bfloat16(device)
    return torch.autocast("cpu", torch.bfloat16) if fast else contextlib.nullcontext()
