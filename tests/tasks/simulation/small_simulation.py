"""A tiny model, a small grand model, and the simulation of a tomogram from them."""

import mrcfile
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.tasks.simulate import SimulateOptions, simulate_tomogram  # noqa: E402
from dual_core.tasks.simulation.density_map import open_density  # noqa: E402
from dual_core.tasks.simulation.noise_codes import draw_noise  # noqa: E402
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner  # noqa: E402

VOXEL_SIZE_A = 10.0
SHAPE = (21, 40, 70)
LONG = (14, 22, 125)
MEAN, DEVIATION = 0.4, 0.9


def make_model(seed=3, **card):
    """A tiny model whose weights are all at work (Gs begins as the identity)."""
    torch.manual_seed(seed)
    config = NetworkConfig(
        channels=(3, 4),
        noise_channels=(2, 3),
        code_size=4,
        noise_side=8,
        discriminator_channels=(2, 2),
    )
    facts = {"voxel_size_A": VOXEL_SIZE_A, "contrast": "bright"}
    domain = {"clean_mean": MEAN, "clean_deviation": DEVIATION}
    card = ModelCard(**{"network": plain_config(config), **facts, **domain, **card})
    model = DualModel(config, card)
    with torch.no_grad():
        for parameter in model.structural_generator.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def density(shape=SHAPE, seed=0):
    random = np.random.default_rng(seed)
    blobs = np.zeros(shape)
    z, y, x = np.indices(shape)
    for _ in range(8):
        c = [random.uniform(0, n) for n in shape]
        blobs += np.exp(-((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) / 12)
    return (DEVIATION * (blobs - blobs.mean()) / blobs.std() + MEAN).astype(np.float32)


def write(path, array, voxel_size_A=VOXEL_SIZE_A, origin=(0, 0, 0)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = voxel_size_A
        file.header.origin = origin
    return path


def read(path):
    with mrcfile.open(path) as file:
        return np.array(file.data, dtype=np.float32)


def simulate(source, output, model, number=1, seed=0, options=None, progress=None, **runner):
    runner.setdefault("precision", "float32")
    options = options or SimulateOptions(contrast="bright", output_contrast="bright")
    opened = open_density(source, model.card, options.contrast, options.standardise,
                          options.voxel_size_A)
    noise = draw_noise(model.config.code_size, seed, opened.content, number)
    return simulate_tomogram(
        opened, output, model, SimulationRunner(model, "cpu", **runner), noise, options, progress
    )


def whole_pass(model, volume, noise, margin=64):
    """Equation 1 in one pass: mirrored density, and noise that goes on outside."""
    multiple = model.structural_generator.multiple
    width = [(margin, -(-n // multiple) * multiple - n + margin) for n in volume.shape]
    padded = (volume - np.float32(model.card.clean_mean)) / np.float32(model.card.clean_deviation)
    for axis, pair in enumerate(width):
        pad = [(0, 0)] * 3
        pad[axis] = pair
        padded = np.pad(padded, pad, mode="reflect")
    padded = padded + noise.field(model).read((-margin,) * 3, padded.shape)
    with torch.no_grad():
        result = model.structural_generator(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return result[tuple(slice(margin, margin + n) for n in volume.shape)]
