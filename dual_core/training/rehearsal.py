"""Steps of one network alone, on pairs that are known: the linear model's, or turned tomograms."""
from __future__ import annotations

import contextlib
from typing import Any, Callable, ContextManager, Dict, Iterator, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dual_core import equations
from dual_core.networks.model import DualModel
from dual_core.training.config import TrainingConfig
from dual_core.training.pairs.recorrupted import RecorruptionLoss
from dual_core.training.parallel.ranks import ALONE, Ranks

GRADIENT_NORM = 5.0
RECORRUPTED = "recorrupted"  # the optimiser of Dn on real blocks


class Rehearsals:
    """The rehearsals of Dn and Gs, each with an optimiser of its own.

    Parameters
    ----------
    model : whose networks are trained.
    config : the training configuration.
    bfloat16 : whether the U-Nets run in bfloat16 autocast.
    stepped : called with the decay of the averaged weights after each step.
    ranks : the processes that train together.
    """

    def __init__(
        self,
        model: DualModel,
        config: TrainingConfig,
        bfloat16: bool,
        stepped: Callable[[float], None],
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.config = config
        self.bfloat16 = bfloat16
        self._stepped = stepped
        self._ranks = ranks
        self.optimisers: Dict[str, torch.optim.AdamW] = {
            name: new_optimiser([getattr(model, name)], config)
            for name in ("denoiser", "structural_generator")
        }
        if config.recorrupted:
            self.optimisers[RECORRUPTED] = new_optimiser([model.denoiser], config)

    def denoiser(self, tomogram: Tensor, density: Tensor) -> float:
        """Train Dn alone on pairs of the linear model; the loss (equation 4)."""
        network = self.model.denoiser
        with autocast(tomogram.device, self.bfloat16):
            denoised = network(tomogram).float()
        loss = equations.reconstruction_loss(density, denoised)
        return self._step(loss, "denoiser")

    def generator(
        self,
        tomogram: Tensor,
        density: Tensor,
        noise: Tensor,
        own_noise: Optional[Tensor],
        structure: Optional[Tensor],
        code: Tensor,
    ) -> float:
        """Train Gs alone to make the linear model's tomogram from density and noise; the loss.

        Where the noise is measured Gs gets the structure alone, and the noise is added.
        """
        network = self.model.structural_generator
        seen = structure
        if seen is None:
            with torch.no_grad():
                seen = density + equations.permute_noise(self.model.noise_decoder(code), noise)
        with autocast(tomogram.device, self.bfloat16):
            simulated = network(seen).float()
        if own_noise is not None:
            simulated = simulated + own_noise
        loss = equations.mean_squared_error(tomogram, simulated).mean()
        if self.config.spectrum_weight:
            spectrum = equations.spectrum_loss(tomogram, simulated)
            loss = loss + self.config.spectrum_weight * spectrum
        return self._step(loss, "structural_generator")

    def wedge(self, tomogram: Tensor, turned: Tensor, learn: Tensor) -> float:
        """Train Dn alone to put back what a turned block has lost; the loss.

        ``learn`` ``(1, z, y, x)`` says which coefficients those are. What fills them from outside
        the wedge is structure, since noise there tells nothing of the noise inside.
        """
        network = self.model.denoiser
        with autocast(tomogram.device, self.bfloat16):
            filled = network(tomogram).float()
        spectrum = torch.fft.fftn(filled - turned, dim=(-3, -2, -1), norm="ortho")
        error = (spectrum.real.square() + spectrum.imag.square())[:, 0]
        inside = learn.expand_as(error)
        loss = error[inside].mean() + self.config.beside_wedge_weight * error[~inside].mean()
        return self._step(loss, "denoiser")

    def recorrupted(self, seen: Tensor, other: Tensor, loss_of: RecorruptionLoss) -> float:
        """Train Dn alone on a copy of a real block against another one; the loss."""
        with autocast(seen.device, self.bfloat16):
            density = self.model.denoiser(seen).float()
        return self._step(loss_of(density, other), "denoiser", RECORRUPTED)

    def _step(self, loss: Tensor, name: str, optimiser: str = "") -> float:
        """One step of one network, unless the loss is not finite; the loss."""
        value = self._ranks.mean({"loss": float(loss.detach())})["loss"]
        if np.isfinite(value):
            network: nn.Module = getattr(self.model, name)
            network.zero_grad(set_to_none=True)
            loss.backward()
            self._ranks.average_gradients(network.parameters())
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
            self.optimisers[optimiser or name].step()
            self._stepped(self.config.average_decay)
        return value


def new_optimiser(networks: Sequence[nn.Module], config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over the parameters of some networks, fused where this torch can on their device."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    values: Dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": config.betas,
        "eps": 1e-8,
        "weight_decay": config.weight_decay,
    }
    try:
        return torch.optim.AdamW(parameters, fused=True, **values)
    except (RuntimeError, TypeError):  # on a CPU from torch 2.4 on
        return torch.optim.AdamW(parameters, **values)


def autocast(device: torch.device, bfloat16: bool) -> ContextManager[Any]:
    """bfloat16 arithmetic where it is wanted."""
    if not bfloat16:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def share_gradient(volume: Tensor, share: float) -> Tensor:
    """The same values, with `share` times the gradient going back."""
    if share == 1.0:
        return volume
    fixed = volume.detach()
    return fixed if share == 0.0 else fixed + share * (volume - fixed)


@contextlib.contextmanager
def fixed(network: nn.Module) -> Iterator[None]:
    """What is computed in this block has no gradient for the weights of a network."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
