"""A denoiser that is a local mean, noisy blobs for it, and how files and arrays are compared."""

import types

import mrcfile
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner  # noqa: E402

VOXEL_SIZE_A = 10.0


class Smooth(torch.nn.Module):
    """A 'trained' denoiser: a local mean, in units of its own."""

    def __init__(self, gain=3.0, shift=0.5):
        super().__init__()
        self.gain, self.shift = gain, shift

    def forward(self, volume):
        padded = torch.nn.functional.pad(volume, (1,) * 6, mode="replicate")
        return self.gain * torch.nn.functional.avg_pool3d(padded, 3, stride=1) + self.shift


def fake_model(network=None, radius=1, multiple=4, voxel_size_A=VOXEL_SIZE_A, contrast="bright"):
    return types.SimpleNamespace(
        denoiser=network or Smooth(),
        multiple=multiple,
        receptive_radius=radius,
        card=ModelCard(voxel_size_A, contrast, {}),
    )


def phantom(shape=(20, 37, 23), seed=0, sign=1, scale=7.0, shift=100.0):
    """Blobs in noise, in arbitrary units."""
    random = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    blobs = np.zeros(shape)
    for _ in range(4):
        c = [random.uniform(0, n) for n in shape]
        blobs += np.exp(-((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) / 18)
    noisy = 3 * blobs + random.normal(size=shape)
    return (sign * scale * noisy + shift).astype(np.float32)


def write(path, array, voxel_size_A=VOXEL_SIZE_A, origin=(0, 0, 0)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = voxel_size_A
        file.header.origin = origin
    return path


def read(path):
    with mrcfile.open(path) as file:
        return file.data.astype(np.float32)


def denoise(source, output, model=None, options=None, progress=None, **runner):
    model = model or fake_model()
    runner.setdefault("device", "cpu")
    runner.setdefault("precision", "float32")
    return denoise_tomogram(
        source,
        output,
        model.card,
        make_runner(model, **runner),
        options or DenoiseOptions(contrast="bright"),
        progress,
    )


def standardised(array):
    return (array - array.mean()) / array.std()


def correlation(one, other):
    return float(np.mean(standardised(one.astype(float)) * standardised(other.astype(float))))


def unpadded_pass(network, volume, multiple):
    """One pass over the volume as it is, but for zeros up to a multiple."""
    padded = np.pad(volume, [(0, -n % multiple) for n in volume.shape])
    with torch.no_grad():
        result = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return result[tuple(slice(n) for n in volume.shape)]


class Hungry(Smooth):
    """Runs out of memory on tiles longer than 40."""

    def __init__(self, message="CUDA out of memory. Tried to allocate"):
        super().__init__()
        self.message, self.sides = message, []

    def forward(self, volume):
        self.sides.append(max(volume.shape))
        if self.sides[-1] > 40:
            raise RuntimeError(self.message)
        return super().forward(volume)
