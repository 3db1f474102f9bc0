"""Networks that begin with the weights of another model, brought to this run's units."""

from __future__ import annotations

import logging
from typing import Optional, Tuple

import numpy as np
import torch
from torch import nn

from dual_core.errors import DualError
from dual_core.networks.generators import NetworkConfig, UNet
from dual_core.networks.model import DualModel
from dual_core.noise_model.linear_simulator import LinearSimulator

logger = logging.getLogger(__name__)

PAIRS = 6  # blocks of the linear model that the output's scale is fitted on


def start_from(
    model: DualModel, path: str, simulator: Optional[LinearSimulator], seed: int
) -> None:
    """Give a new model the weights of another one.

    The denoiser always; Gs, the noise encoder and decoder where the other model has them in the
    same sizes and on the same contrast. A general denoiser puts out protein as 1 and background as
    0; this run's clean domain is standardised otherwise. So the head is scaled by a least-squares
    fit on pairs of the linear model.

    Parameters
    ----------
    model : of this run, untrained; changed in place.
    path : of the other model, or ``general``.
    simulator : of this run's linear model; without it the scale stays.
    seed : of the pairs.

    Raises
    ------
    DualError
        A file that cannot be read, or a denoiser of other sizes.
    """
    other = DualModel.load(path)
    if _denoiser_sizes(other.config) != _denoiser_sizes(model.config):
        raise DualError(
            f"the denoiser of {path} has other layers (channels {list(other.config.channels)}) "
            f"than this training's ({list(model.config.channels)}); leave out --from, or train "
            "with the method and preset of that model"
        )
    model.denoiser.load_state_dict(other.denoiser.state_dict())
    taken = ["denoiser"]
    turned = other.card.contrast != model.card.contrast
    if turned:
        _turn_input(model.denoiser)
    if not other.card.denoises_only and not turned and other.config == model.config:
        for name in ("structural_generator", "noise_encoder", "noise_decoder"):
            getattr(model, name).load_state_dict(getattr(other, name).state_dict())
            taken.append(name)
    if simulator is not None:
        fit_head(model.denoiser, simulator, np.random.default_rng([seed, PAIRS]))
    logger.info("begun from %s: %s", path, ", ".join(taken).replace("_", " "))


def fit_head(
    denoiser: UNet, simulator: LinearSimulator, generator: np.random.Generator
) -> None:
    """Scale a denoiser's output to the densities of a linear model, by least squares.

    Parameters
    ----------
    denoiser : whose head is changed.
    simulator : gives the pairs; what it draws later does not change.
    generator : of these pairs.
    """
    state = simulator.state()
    outputs, wanted = [], []
    device = next(denoiser.parameters()).device
    for _ in range(PAIRS):
        pair = simulator.simulate(generator)
        given = torch.from_numpy(pair.tomogram[np.newaxis, np.newaxis]).to(device)
        with torch.no_grad():
            outputs.append(denoiser(given)[0, 0].cpu().numpy().ravel())
        wanted.append(pair.density.ravel())
    simulator.restore({}, state)
    found, truth = np.concatenate(outputs).astype(float), np.concatenate(wanted).astype(float)
    variance = float(found.var())
    if variance <= 0.0:
        return
    scale = float(np.mean((found - found.mean()) * (truth - truth.mean()))) / variance
    shift = float(truth.mean() - scale * found.mean())
    with torch.no_grad():
        denoiser.head.weight.mul_(scale)
        bias = denoiser.head.bias
        if bias is not None:
            bias.mul_(scale).add_(shift)


def _turn_input(denoiser: UNet) -> None:
    """Make a network see -t as it saw t."""
    first = next(layer for layer in denoiser.modules() if isinstance(layer, nn.Conv3d))
    with torch.no_grad():
        first.weight.neg_()


def _denoiser_sizes(config: NetworkConfig) -> Tuple[Tuple[int, ...], int, bool]:
    return config.channels, config.stem_stride, config.output_filter
