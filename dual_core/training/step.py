"""One training iteration: the generators' losses, then the discriminators' (equations 1 to 9)."""
from __future__ import annotations

import contextlib
import copy
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from dual_core import equations
from dual_core.networks.discriminators import Discriminator
from dual_core.networks.model import DualModel
from dual_core.networks.noise import RunningStandardisation
from dual_core.training.checkpoint import optimiser_tensors, restore_optimiser
from dual_core.training.config import TrainingConfig
from dual_core.training.monitor import all_finite
from dual_core.training.pairs.batch import Batch, Generated
from dual_core.training.parallel.ranks import ALONE, Ranks
from dual_core.training.rehearsal import (
    GRADIENT_NORM,
    RECORRUPTED,
    Rehearsals,
    autocast,
    fixed,
    new_optimiser,
    share_gradient,
)


class Trainer:
    """Networks, averaged weights and optimisers, and how they take one step.

    Parameters
    ----------
    model : the networks to train, on the device to train on.
    config : the training configuration.
    bfloat16 : whether the two U-Nets run in bfloat16 autocast.
    ranks : the processes that train together.
    filters : h of structure and c of measured noise, on the half grid of a patch.

    Notes
    -----
    Only the U-Nets, where all the time goes, run in bfloat16. The small networks stay in float32:
    oneDNN's bfloat16 weight gradient of a 3 x 3 x 3 convolution over a 2 x 2 x 2 map reads memory
    that was never written (torch 2.13), and discriminators and the noise decoder have such maps.
    """

    def __init__(
        self,
        model: DualModel,
        config: TrainingConfig,
        bfloat16: bool,
        ranks: Ranks = ALONE,
        filters: Optional[Tuple[Tensor, Tensor]] = None,
    ) -> None:
        self.model = model
        self.config = config
        self.bfloat16 = bfloat16
        self.ranks = ranks
        self.filters = filters
        self.device = next(model.parameters()).device
        self.averaged = copy.deepcopy(nn.ModuleDict(self._averaged_parts())).requires_grad_(False)
        self._generators = list(self._averaged_parts().values())
        self._discriminators = [model.noisy_discriminator, model.clean_discriminator]
        self.generator_optimiser = new_optimiser(self._generators, config)
        self.discriminator_optimiser = new_optimiser(self._discriminators, config)
        self.rehearsals = Rehearsals(model, config, bfloat16, self._average, ranks)
        self._optimisers = {
            "generators": self.generator_optimiser,
            "discriminators": self.discriminator_optimiser,
            **self.rehearsals.optimisers,
        }
        self._averaged_steps = 0
        self.codes = torch.zeros(0, config.network.code_size, device=self.device)

    def step(self, batch: Batch, progress: float) -> Dict[str, float]:
        """Train on one batch; the loss terms and diagnostics.

        Parameters
        ----------
        batch : patches of both domains, on the trainer's device.
        progress : 0 to 1, how much of the run is done; sets the learning rate.

        Notes
        -----
        Nothing is changed by a batch that makes a number that is not finite.
        """
        rate = self.config.learning_rate_at(progress)
        for name, optimiser in self._optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = rate * self._rate_of(name)
        settling = progress >= self.config.settle_from and self.config.generator_rehearsals > 0
        values, fake_tomogram, fake_density = self._train_generators(batch, settling)
        if all_finite(values):
            values["loss_discriminators"] = self._train_discriminators(
                batch, fake_tomogram, fake_density
            )
        return values

    def _rate_of(self, optimiser: str) -> float:
        """The learning rate of an optimiser, in learning rates."""
        if optimiser == RECORRUPTED:
            return self.config.recorrupted_rate
        return self.config.rehearsal_rate if optimiser in self.rehearsals.optimisers else 1.0

    def _train_generators(
        self, batch: Batch, settling: bool
    ) -> Tuple[Dict[str, float], Tensor, Tensor]:
        # What trains by its rehearsals alone needs no gradient here; those behind it still get
        # theirs.
        generator = self.model.structural_generator
        with fixed(generator) if settling else contextlib.nullcontext():
            made = self._generate(batch)
        codes = self._pooled(made.encoded)
        terms = self._losses(batch, made, codes)
        weights = self.config.loss_weights
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        values = self.ranks.mean(_numbers({**terms, "loss": total, **_diagnostics(batch, made)}))
        if all_finite(values):
            values["gradient_norm"] = self._step_generators(total)
        return values, made.fake_tomogram.detach(), made.fake_density.detach()

    def _generate(self, batch: Batch) -> Generated:
        """From each domain to the other and back (equations 1 and 2)."""
        config, model = self.config, self.model
        seen, own = batch.structure, batch.own_noise
        if seen is None:
            mask = equations.permute_noise(model.noise_decoder(batch.code), batch.noise)
            seen = batch.density + mask
        encoded = self._encoded(batch.tomogram)
        # Outside of bfloat16, like the other small networks; see the notes of this class.
        mask_again = model.noise_decoder(encoded)
        with autocast(self.device, self.bfloat16):
            fake_density = model.denoiser(batch.tomogram).float()
            fake_tomogram = model.structural_generator(seen).float()  # equation 1
            if own is not None:
                fake_tomogram = fake_tomogram + own
            density_again = model.denoiser(
                share_gradient(fake_tomogram, config.clean_cycle_share)
            ).float()
            structure = share_gradient(fake_density, config.noisy_cycle_share)
            again, added = equations.structure_and_noise(structure, mask_again, self.filters)
            tomogram_again = model.structural_generator(again).float() + added  # equation 2
        return Generated(encoded, fake_density, fake_tomogram, density_again, tomogram_again)

    def _encoded(self, tomogram: Tensor) -> Tensor:
        """The noise codes of this batch, standardised by what all processes have."""
        standardise = self.model.noise_encoder.standardise
        if not isinstance(standardise, RunningStandardisation):
            return self.model.noise_encoder(tomogram)
        standardise.across = self.ranks.mean_tensor
        try:
            return self.model.noise_encoder(tomogram)
        finally:
            standardise.across = None  # copies of the networks have no part in it

    def _pooled(self, encoded: Tensor) -> Tensor:
        """The noise codes of this batch of all processes and those before it, ``(n, K)``."""
        encoded = self.ranks.of_all(encoded)
        # The earlier codes have no gradient: this batch's stands for all of them.
        share = 1.0 + len(self.codes) / len(encoded)
        codes = torch.cat([self.codes, share_gradient(encoded, share)])
        self.codes = codes.detach()[-self.config.code_pool :]
        return codes

    def _losses(self, batch: Batch, made: Generated, codes: Tensor) -> Dict[str, Tensor]:
        """The terms of the generators' loss, each without its weight."""
        model = self.model
        terms = {
            "loss_density": equations.reconstruction_loss(batch.density, made.density_again),
            "loss_tomogram": equations.reconstruction_loss(batch.tomogram, made.tomogram_again),
            "loss_adversarial_t": self._adversarial(model.noisy_discriminator, made.fake_tomogram),
            "loss_adversarial_v": self._adversarial(model.clean_discriminator, made.fake_density),
            "loss_noise_code": equations.noise_code_loss(codes),
        }
        if batch.linear_tomogram is not None:
            terms["loss_calibration"] = equations.mean_squared_error(
                batch.linear_tomogram, made.fake_tomogram
            ).mean()
        return terms

    def _step_generators(self, total: Tensor) -> float:
        """Step down the gradient of the loss, unless it is not finite; its largest norm."""
        self.generator_optimiser.zero_grad(set_to_none=True)
        total.backward()
        self.ranks.average_gradients(self._parameters(self._generators))
        self.ranks.average_buffers(self._generators)
        # Each network by itself: one that runs wild would throttle the others.
        norms = [
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM).to(self.device)
            for network in self._generators  # one without gradients has its norm on the host
        ]
        norm = float(torch.stack(norms).max())
        if np.isfinite(norm):
            self.generator_optimiser.step()
            self._average(self.config.average_decay)
        return norm

    def drop_gradients(self) -> None:
        """Give back what gradients hold, after an iteration that was not finished."""
        self.model.zero_grad(set_to_none=True)

    def _train_discriminators(
        self, batch: Batch, fake_tomogram: Tensor, fake_density: Tensor
    ) -> float:
        kind = self.config.adversarial
        noisy, clean = self.model.noisy_discriminator, self.model.clean_discriminator
        loss = equations.discriminator_loss(noisy(batch.tomogram), noisy(fake_tomogram), kind)
        loss = loss + equations.discriminator_loss(clean(batch.density), clean(fake_density), kind)
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(self._parameters(self._discriminators))
        for network in self._discriminators:
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        self.discriminator_optimiser.step()
        return self.ranks.mean({"loss": float(loss.detach())})["loss"]

    def _adversarial(self, discriminator: Discriminator, fake: Tensor) -> Tensor:
        with fixed(discriminator):
            return equations.adversarial_loss(discriminator(fake), self.config.adversarial)

    def averaged_model(self) -> DualModel:
        """A copy of the model in which the averaged weights stand: the one to use and to save."""
        model = copy.deepcopy(self.model)
        model.load_state_dict({**model.state_dict(), **self.averaged.state_dict()})
        return model.eval()

    def weights(self) -> List[Tensor]:
        """All that is trained, and the averages of it."""
        return [*self.model.parameters(), *self.averaged.state_dict().values()]

    def tensors(self) -> Dict[str, Tensor]:
        """Every tensor that a checkpoint needs, by name."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        found.update(
            {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        )
        for name, optimiser in self._optimisers.items():
            found.update(optimiser_tensors(optimiser, name))
        found["codes"] = self.codes
        return found

    def plain_state(self) -> Dict[str, Any]:
        """The rest of what a checkpoint needs, plain values."""
        return {"averaged_steps": self._averaged_steps}

    def restore(self, tensors: Dict[str, Tensor], plain: Dict[str, Any]) -> None:
        """Put back what `tensors` and `plain_state` gave."""
        for prefix, module in (("model.", self.model), ("averaged.", self.averaged)):
            module.load_state_dict(
                {
                    name[len(prefix) :]: value
                    for name, value in tensors.items()
                    if name.startswith(prefix)
                }
            )
        for name, optimiser in self._optimisers.items():
            restore_optimiser(optimiser, tensors, name)
        self.codes = tensors["codes"].to(self.device)
        self._averaged_steps = int(plain["averaged_steps"])

    @staticmethod
    def _parameters(networks: Sequence[nn.Module]) -> Iterator[nn.Parameter]:
        return (parameter for network in networks for parameter in network.parameters())

    def _averaged_parts(self) -> Dict[str, nn.Module]:
        model = self.model
        return {
            "denoiser": model.denoiser,
            "structural_generator": model.structural_generator,
            "noise_encoder": model.noise_encoder,
            "noise_decoder": model.noise_decoder,
        }

    def _average(self, decay: float) -> None:
        """Exponential moving average of the weights; short at first, so that it can start."""
        self._averaged_steps += 1
        decay = min(decay, (1 + self._averaged_steps) / (10 + self._averaged_steps))
        current = nn.ModuleDict(self._averaged_parts())
        with torch.no_grad():
            # One kernel for many weights: a GPU would wait for each by itself.
            torch._foreach_lerp_(
                list(self.averaged.parameters()), list(current.parameters()), 1.0 - decay
            )
            for moment, buffer in zip(self.averaged.buffers(), current.buffers()):
                moment.copy_(buffer)


def _numbers(scalars: Dict[str, Tensor]) -> Dict[str, float]:
    """Their values, for which a GPU is waited for once."""
    values = torch.stack([scalar.detach().float() for scalar in scalars.values()]).tolist()
    return dict(zip(scalars, values))


def _diagnostics(batch: Batch, made: Generated) -> Dict[str, Tensor]:
    """Correlations and deviations for the history; no part of the loss."""
    with torch.no_grad():
        pairs = {
            "cc_density": (batch.density, made.density_again),
            "cc_tomogram": (batch.tomogram, made.tomogram_again),
            "cc_denoised": (batch.tomogram, made.fake_density),
            "cc_simulated": (made.fake_tomogram, made.density_again),
        }
        values = {name: equations.correlation(*pair).mean() for name, pair in pairs.items()}
        values["deviation_denoised"] = made.fake_density.std()
        values["deviation_simulated"] = made.fake_tomogram.std()
    return values
