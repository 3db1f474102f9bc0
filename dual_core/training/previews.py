"""Pictures of a run in progress: what the networks make of a tomogram and of a grand model."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import torch

from dual_core.figures import slices_figure, spectra_figure
from dual_core.networks.model import DualModel
from dual_core.noise_model.full_power.coloured_noise import MARGIN, ColouredNoise
from dual_core.noise_model.noise_field import NoiseField, mask_values
from dual_core.training.data import TrainingData
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import Triple

FOLDER = "previews"
LARGEST_SIDE = 128  # voxels of the region that is shown


def draw_previews(model: DualModel, data: TrainingData, run: Path, iteration: int) -> None:
    """Write slices and spectra of raw, denoised, grand model and simulated into ``previews/``.

    Parameters
    ----------
    model : the averaged model.
    data : both domains; the middle of the first volume of each is shown.
    run : training directory.
    iteration : for the file names.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    tomogram = _middle(data.noisy.volumes[0], model.multiple)
    density = _middle(data.clean.volumes[0], model.multiple)
    device = next(model.parameters()).device
    with torch.no_grad():
        denoised = model.denoiser(_tensor(tomogram, device))
        if data.profile is None:
            noisy = density + _noise(model).read((0, 0, 0), _triple(density.shape))
            simulated = _array(model.structural_generator(_tensor(noisy, device)))
        else:
            noise = ColouredNoise(_noise(model), data.profile)
            seen = noise.structure_of(np.pad(density, MARGIN, mode="symmetric"))
            structure = _array(model.structural_generator(_tensor(seen, device)))
            simulated = noise.added_to(noise.corrected(structure, seen), (0, 0, 0))
    pictures = {
        "raw": tomogram,
        "denoised": _array(denoised),
        "grand model": density,
        "simulated": simulated,
    }
    title = f"iteration {iteration}"
    name = f"{iteration:07d}"
    slices_figure(pictures, folder / f"slices_{name}.png", data.voxel_size_A, title=title)
    spectra_figure(pictures, folder / f"spectra_{name}.png", data.voxel_size_A, title=title)


def _middle(entry: StandardisedVolume, multiple: int) -> np.ndarray:
    """The middle of a volume, as large as is quickly shown, sides multiples of `multiple`."""
    shape = entry.volume.shape
    size = [max(multiple, min(length, LARGEST_SIDE) // multiple * multiple) for length in shape]
    start = [(length - extent) // 2 for length, extent in zip(shape, size)]
    return entry.read(_triple(start), _triple(size))


def _noise(model: DualModel) -> NoiseField:
    """The noise of one code, the same at every iteration."""
    code = np.random.RandomState(0).standard_normal(model.config.code_size)
    return NoiseField(mask_values(model.noise_decoder, code), seed=0)


def _tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array)[None, None].to(device)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor[0, 0].float().cpu().numpy()


def _triple(values: Sequence[int]) -> Triple:
    return values[0], values[1], values[2]
