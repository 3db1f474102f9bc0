"""`DualModel`: the six networks and their card; saved to and loaded from one safetensors file."""
from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple, Union

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from dual_core.errors import DualError
from dual_core.networks.card import CARD_KEY, MEND, ModelCard, model_file, read_card
from dual_core.networks.discriminators import Discriminator
from dual_core.networks.generators import NetworkConfig, UNet
from dual_core.networks.noise import NoiseDecoder, NoiseEncoder
from dual_core.safety.checks import checked
from dual_core.safety.leftovers import temporary_name

LINEAR = "linear_model."  # what the names of its tensors in a model file begin with

PathLike = Union[str, "os.PathLike[str]"]


class DualModel(nn.Module):
    """The six networks of figure 1 under the paper's names.

    Attributes
    ----------
    denoiser : Dn, tomogram -> density map.
    structural_generator : Gs, density map plus noise -> tomogram.
    noise_encoder : E, tomogram -> noise code.
    noise_decoder : Gn, noise code -> noise mask.
    noisy_discriminator, clean_discriminator : Dt and Dv.
    card : `ModelCard`.
        A model whose card says that it denoises only has the denoiser alone.
    linear : the linear model that the tomograms were measured to follow, see
        `dual_core.noise_model.linear_file`; empty for models that were trained without one.
    """

    def __init__(self, config: NetworkConfig, card: ModelCard) -> None:
        super().__init__()
        self.config = config
        self.card = card
        self.linear: Dict[str, torch.Tensor] = {}
        self.denoiser = UNet(
            config.channels, config.stem_stride, output_filter=config.output_filter
        )
        if card.denoises_only:
            self._innermost()
            return
        self.structural_generator = UNet(
            config.channels, config.stem_stride, config.generator_refinement, input_gain=1.0
        )
        self.noise_encoder = NoiseEncoder(
            config.noise_channels, config.code_size, config.standardised_codes
        )
        self.noise_decoder = NoiseDecoder(
            config.noise_channels, config.code_size, config.noise_side
        )
        self.noisy_discriminator = _discriminator(config)
        self.clean_discriminator = _discriminator(config)
        self._innermost()

    def _innermost(self) -> None:
        """Channels innermost: convolutions in 3D are 2 to 4 times as fast on a CPU so."""
        nn.Module.to(self, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @property
    def multiple(self) -> int:
        """What the sides of the U-Nets' input must be multiples of."""
        return self.denoiser.multiple

    @property
    def receptive_radius(self) -> int:
        """Distance in voxels beyond which the input cannot change the denoiser's output."""
        return self.denoiser.receptive_radius

    def save(self, path: PathLike) -> None:
        """Write networks and card, atomically.

        Raises
        ------
        DualError
            When the file cannot be written.
        """
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        weights.update({LINEAR + name: tensor for name, tensor in self.linear.items()})
        write_atomically(Path(path), save(weights, {CARD_KEY: self.card.to_json()}))

    @classmethod
    def load(cls, path: PathLike, device: Union[str, torch.device] = "cpu") -> DualModel:
        """Read a model. Only numbers are read: nothing in the file is ever run.

        ``general`` is the model that comes with the package.

        Raises
        ------
        DualError
            When the file is missing, damaged, no DUAL model, or of a newer format.
        """
        path = model_file(path)
        card = read_card(path)
        config = network_config(card.network, f"the card of {path}")
        try:
            weights = load_file(str(path))
            linear = {
                name[len(LINEAR) :]: weights.pop(name)
                for name in list(weights)
                if name.startswith(LINEAR)
            }
            weights = {name: tensor.float() for name, tensor in weights.items()}
            _require_fit(weights, config, card.denoises_only)
            model = cls(config, card)
            model.linear = linear
            model.load_state_dict(weights)
        except (
            SafetensorError, RuntimeError, LookupError, TypeError, ValueError, AttributeError
        ) as error:
            reason = f" ({error})" if type(error) is ValueError else ""
            raise DualError(
                f"{path} is damaged and cannot be loaded{reason}; copy it again"
            ) from error
        return model.to(device).eval()


def save_denoiser(
    network: nn.Module, card: ModelCard, path: PathLike, dtype: torch.dtype = torch.float32
) -> None:
    """Write a model that denoises only: one network and the card.

    Parameters
    ----------
    network : the denoiser.
    card : whose task is ``denoise``.
    dtype : of the numbers in the file; they are read as float32 again.

    Raises
    ------
    DualError
        When the file cannot be written.
    """
    weights = {
        f"denoiser.{name}": tensor.detach().to(dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    write_atomically(Path(path), save(weights, {CARD_KEY: card.to_json()}))


def network_config(values: Mapping[str, Any], where: str = "the card") -> NetworkConfig:
    """The network configuration from the plain values of a card.

    Raises
    ------
    DualError
        For a value that is unknown, of another type, or larger than any network of DUAL.
    """
    return checked(NetworkConfig, values, where, MEND, refuse_unknown=True)


def _require_fit(
    weights: Mapping[str, torch.Tensor], config: NetworkConfig, denoiser_alone: bool = False
) -> None:
    """See that weights are usable, and enough for a configuration before it is allocated.

    The bound counts only some of the layers. To build the networks on torch's device ``meta`` and
    compare all shapes would be exact, and takes three seconds of imports.
    """
    nonzero = {name.partition(".")[0]: False for name in weights}
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} is not finite")
        nonzero[name.partition(".")[0]] |= bool(tensor.any())
    empty = [network for network, found in nonzero.items() if not found]
    if empty or not nonzero:
        raise ValueError(f"all weights of {', '.join(empty) or 'it'} are 0")
    least = 27 * sum(width**2 for width in config.channels)
    if not denoiser_alone:
        least += _least_of_the_others(config)
    if least > sum(tensor.numel() for tensor in weights.values()):
        raise ValueError("the configuration asks for larger networks")


def _least_of_the_others(config: NetworkConfig) -> int:
    """Fewer weights than the networks beside the denoiser have."""
    noise, judges = config.noise_channels, config.discriminator_channels
    base = config.noise_side // 2 ** len(noise)
    least = 27 * sum(width**2 for width in config.channels)
    least += sum(27 * one * other for one, other in zip(noise, noise[1:]))
    least += config.code_size * noise[-1] * base**3
    return least + 64 * sum(one * other for one, other in zip((1, *judges), judges))


def plain_config(config: NetworkConfig) -> Dict[str, Any]:
    """The network configuration as plain values for a card."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is whole or absent.

    Raises
    ------
    DualError
        When the disk is full or the folder cannot be written.
    """
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DualError(
            f"{path} cannot be written ({error.strerror}); free disk space or choose another folder"
        ) from error
    finally:
        # Gone already after success; and where the folder is none, there is nothing to remove.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _discriminator(config: NetworkConfig) -> Discriminator:
    channels: Tuple[int, ...] = config.discriminator_channels
    return Discriminator(channels, config.discriminator_scales, config.spectral_norm)
