"""Can a small network tell real patches from synthetic ones? The classifier two-sample test.

After Lopez-Paz & Oquab, *Revisiting Classifier Two-Sample Tests* (ICLR 2017): a classifier is
trained on one part of the data and its accuracy on another part is a measure of the difference,
0.5 where there is none to be found. The parts are halves of every volume with a gap
between them, so that no voxel is in both. Real and synthetic patches are drawn from the same
places (relative to the volume), so that the place tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterator, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from dual_core.errors import DualError
from dual_core.volumes.patches import FLIPS_ASYMMETRIC

SMALLEST_PATCH = 16
_POOL = 4


@dataclass(frozen=True)
class TwoSampleConfig:
    """How the classifier is trained and tested.

    Attributes
    ----------
    patch
        Side of a patch, a multiple of 8. The gap between the halves is half of it.
    iterations, batch
        Steps, and patches of each class in a step.
    tested
        Patches of each class and fold whose classes are guessed.
    clip
        Standardised intensities are cut here: gold beads that a file type has clipped and others
        that it has not are no difference worth finding.
    seed
        Same seed, same result (on one kind of device).
    """

    patch: int = 32
    iterations: int = 100
    batch: int = 12
    tested: int = 160
    learning_rate: float = 2e-3
    clip: float = 6.0
    seed: int = 0


USUAL = TwoSampleConfig()
# Sees what is coarser, such as fringes and streaks; of fewer patches, since each takes eightfold.
LARGE = TwoSampleConfig(patch=64, batch=4, tested=80)


@dataclass(frozen=True)
class TwoSampleResult:
    """Accuracy on unseen halves: mean of the folds, its standard error, and the folds.

    Values a little below 0.5 mean the same as 0.5: since whole volumes are standardised, what one
    half has more of than another volume its other half has less of, and the guess is then wrong.
    """

    accuracy: float
    standard_error: float
    folds: Tuple[float, ...]


class PatchClassifier(nn.Module):
    """Patches ``(b, 1, z, y, x)`` to one logit each: features in space and in the log spectrum."""

    taper: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.space = nn.Sequential(
            nn.Conv3d(1, 16, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm3d(16),
            nn.ReLU(inplace=True),
            nn.Conv3d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm3d(32),
            nn.ReLU(inplace=True),
            nn.Conv3d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm3d(32),
            nn.ReLU(inplace=True),
        )
        window = torch.sin(torch.pi * (torch.arange(side) + 0.5) / side) ** 2
        taper = window[:, None, None] * window[:, None] * window
        self.register_buffer("taper", taper, persistent=False)
        cells = (side // _POOL) ** 2 * (side // (2 * _POOL))
        self.spectrum = nn.Sequential(
            nn.BatchNorm1d(cells, affine=False), nn.Linear(cells, 32), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(32 + 2 * 32, 1))

    def forward(self, patches: Tensor) -> Tensor:
        features = self.space(patches).flatten(2)
        spectrum = self.spectrum(self.log_power(patches))
        pooled = torch.cat([features.mean(2), features.amax(2), spectrum], 1)
        logits: Tensor = self.head(pooled)[:, 0]
        return logits

    def log_power(self, patches: Tensor) -> Tensor:
        """Log power of every direction and frequency, averaged over 4 x 4 x 4 coefficients."""
        power = torch.fft.rfftn(patches[:, 0] * self.taper, dim=(1, 2, 3)).abs().square()
        half = patches.shape[-1] // 2
        centred = torch.fft.fftshift(power, dim=(1, 2))[..., :half]
        cells: Tensor = torch.log(nn.functional.avg_pool3d(centred[:, None], _POOL) + 1e-6)
        return cells.flatten(1)


def two_sample_test(
    real: Sequence[np.ndarray],
    synthetic: Sequence[np.ndarray],
    config: TwoSampleConfig,
    flips: Sequence[Tuple[int, ...]] = FLIPS_ASYMMETRIC,
    device: str = "cpu",
) -> TwoSampleResult:
    """Train classifiers on one half of the volumes and test them on the other, both ways.

    Parameters
    ----------
    real, synthetic : sequences of ndarray, (z, y, x)
        Standardised as whole volumes, bright density. Shapes may differ.
    config : TwoSampleConfig
        The patch is made smaller where the volumes ask for it.
    flips
        That leave the missing wedge where it is: of `dual_core.volumes.patches`.
    device : str
        For `torch.device`.

    Returns
    -------
    TwoSampleResult
        Four folds: halves along each of the two longest axes, each half once for testing; two
        where only one axis is long enough.

    Raises
    ------
    DualError
        If a volume is too small for two halves.
    """
    shapes = [volume.shape for volume in (*real, *synthetic)]
    side = choose_patch(shapes, config.patch)
    config = replace(config, patch=side)
    needed = 2 * side + side // 2
    shortest = [min(shape[axis] for shape in shapes) for axis in range(3)]
    axes = [axis for axis in np.argsort(shortest)[:0:-1] if shortest[axis] >= needed]
    groups = [[np.clip(v, -config.clip, config.clip) for v in group] for group in (real, synthetic)]
    accuracies = []
    for number, (axis, trained) in enumerate((axis, half) for axis in axes for half in (0, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * config.seed + number)
            rng = np.random.default_rng([config.seed, number])
            accuracies.append(
                _one_fold(groups, int(axis), trained, config, flips, rng, torch.device(device))
            )
    error = float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies)))
    return TwoSampleResult(float(np.mean(accuracies)), error, tuple(accuracies))


def choose_patch(shapes: Sequence[Sequence[int]], wanted: int) -> int:
    """The largest side, a multiple of 8 up to ``wanted``, of which two and a gap fit.

    Raises
    ------
    DualError
        If that is below 16.
    """
    thinnest = min(min(shape) for shape in shapes)
    longest = max(min(shape[axis] for shape in shapes) for axis in range(3))
    side = min(wanted, thinnest, int(longest / 2.5)) // 8 * 8
    if side < SMALLEST_PATCH:
        raise DualError(
            f"the volumes are too small for the classifier: it needs {SMALLEST_PATCH} voxels "
            f"along each axis and {int(2.5 * SMALLEST_PATCH)} along the longest; give larger "
            "volumes or --no-classifier"
        )
    return side


def _one_fold(
    groups: Sequence[Sequence[np.ndarray]],
    axis: int,
    trained: int,
    config: TwoSampleConfig,
    flips: Sequence[Tuple[int, ...]],
    rng: np.random.Generator,
    device: torch.device,
) -> float:
    """Accuracy on one half after training on the other."""
    network = PatchClassifier(config.patch).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.iterations
    )
    loss_of = nn.BCEWithLogitsLoss()
    for _ in range(config.iterations):
        patches, classes = _draw(groups, axis, trained, config, config.batch, flips, rng)
        loss = loss_of(network(patches.to(device)), classes.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    right: List[Tensor] = []
    with torch.no_grad():
        for count in _portions(config.tested, 4 * config.batch):
            patches, classes = _draw(groups, axis, 1 - trained, config, count, (), rng)
            right.append((network(patches.to(device)).cpu() > 0) == (classes > 0.5))
    return float(torch.cat(right).float().mean())


def _portions(total: int, most: int) -> Iterator[int]:
    for start in range(0, total, most):
        yield min(most, total - start)


def _draw(
    groups: Sequence[Sequence[np.ndarray]],
    axis: int,
    half: int,
    config: TwoSampleConfig,
    count: int,
    flips: Sequence[Tuple[int, ...]],
    rng: np.random.Generator,
) -> Tuple[Tensor, Tensor]:
    """``count`` patches of each class from one half: patches and classes (1 is real)."""
    side = config.patch
    patches = np.empty((2 * count, 1, side, side, side), np.float32)
    for index in range(count):
        # One relative place, one share of the list and one turn for both classes.
        place, which = rng.random(3), rng.random()
        turned = [axes for axes in flips if rng.random() < 0.5]
        for number, group in enumerate(groups):
            volume = group[int(which * len(group))]
            region = []
            for a, length in enumerate(volume.shape):
                first, last = 0, length - side
                if a == axis and half == 0:
                    last = length // 2 - side // 4 - side
                elif a == axis:
                    first = length // 2 + side // 4
                at = first + int(place[a] * (last - first + 1))
                region.append(slice(at, at + side))
            patch = volume[tuple(region)]
            for axes in turned:
                patch = np.flip(patch, axes)
            patches[2 * index + number, 0] = patch
    classes = torch.tensor([1.0, 0.0]).repeat(count)
    return torch.from_numpy(patches), classes
