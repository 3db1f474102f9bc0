"""Equations 1 and 3 to 9 of the paper, made numerically safe.

Every function computes in float32 or finer whatever the autocast type of its inputs, returns
float32, and stays finite with finite gradients for perfect matches, constant patches and batches
smaller than the code.
"""
from __future__ import annotations

import functools
from typing import Optional, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-6  # inside the logarithms of equations 4 and 5, and under their square roots
POWER_FLOOR = 1e-3  # of white noise's power; bands below it count as empty
DIRECTION_STEP_DEG = 5.0
FINE_RINGS = 16  # as many are one coefficient wide, the others two
HEIGHT_STEP = 4.0  # coefficients along the tilt axis


def permute_noise(mask: Tensor, order: Tensor) -> Tensor:
    """The permutation P of equation 1: each patch's voxels in a random order.

    Parameters
    ----------
    mask : ``(b, 1, z, y, x)``, the noise decoder's output.
    order : independent random numbers of any distribution. The mask's values are put where
        `order` has the same rank, which is a permutation drawn evenly. Of the mask's shape, or
        larger: then each value is put in several places.

    Returns
    -------
    The values in the shape of `order`, at random places: no structure can hide in them.
    """
    values = mask.flatten(1).sort(dim=1).values
    places = order.flatten(1).argsort(dim=1)  # of the voxel with each rank
    count = places.shape[1]
    if count != values.shape[1]:
        ranks = torch.arange(count, device=values.device) * values.shape[1] // count
        values = values[:, ranks]
    return torch.empty_like(values).scatter(1, places, values).view_as(order)


def coloured(noise: Tensor, response: Tensor) -> Tensor:
    """Noise of mean 0 and deviation 1 through a filter c of measured noise, ``(b, 1, z, y, x)``.

    Parameters
    ----------
    noise : ``(b, 1, z, y, x)``, of any mean and deviation.
    response : of c, on the half grid of the shape, ``(z, y, x // 2 + 1)``.
    """
    centred = noise.float() - noise.float().mean(dim=(-3, -2, -1), keepdim=True)
    deviation = torch.sqrt(centred.square().mean(dim=(-3, -2, -1), keepdim=True) + EPSILON)
    return filtered(centred / deviation, response)


def structure_and_noise(
    density: Tensor, mask: Tensor, filters: Optional[Tuple[Tensor, Tensor]]
) -> Tuple[Tensor, Union[Tensor, float]]:
    """What Gs is given of a density and a noise mask, and what is added to its output.

    As printed in the paper their sum and nothing; where `filters`, h and c, are given, the density
    through h and the noise through c.
    """
    if filters is None:
        return density + mask, 0.0
    return filtered(density, filters[0]), coloured(mask, filters[1])


def filtered(volume: Tensor, response: Tensor) -> Tensor:
    """A volume ``(b, 1, z, y, x)`` through a filter given on the half grid of its shape."""
    spectrum = torch.fft.rfftn(volume.float(), dim=(-3, -2, -1)) * response
    return torch.fft.irfftn(spectrum, s=volume.shape[-3:], dim=(-3, -2, -1))


def mean_squared_error(real: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean of the squared difference of each patch, ``(b,)``."""
    return (real.float() - reconstructed.float()).flatten(1).square().mean(dim=1)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of each patch with its partner, ``(b,)``; 0 for constant patches."""
    first = first.float().flatten(1)
    second = second.float().flatten(1)
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    covariance = (first * second).mean(dim=1)
    # The epsilon stands under the root: the root's gradient at 0 is infinite.
    deviations = torch.sqrt(
        (first.square().mean(dim=1) + EPSILON) * (second.square().mean(dim=1) + EPSILON)
    )
    return covariance / deviations


def reconstruction_loss(real: Tensor, reconstructed: Tensor) -> Tensor:
    """Equation 4 (density maps) and equation 5 (tomograms), averaged over the batch.

    log(||real - reconstructed||^2) + log(1 - correlation). The norm is taken per voxel, which
    shifts the loss by a constant. The correlation is at most 1 but for rounding, hence the clamp.
    """
    distance = torch.log(mean_squared_error(real, reconstructed) + EPSILON)
    mismatch = (1.0 - correlation(real, reconstructed)).clamp(min=0.0)
    return (distance + torch.log(mismatch + EPSILON)).mean()


def spectrum_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared difference of the logarithms of two batches' power, band by band.

    A network trained for the squared error puts out the mean of what is possible, which has less
    power than each possibility. This term gives it back.

    Parameters
    ----------
    real, fake : ``(b, 1, z, y, x)`` of one shape. Bands are the parts of rings about the tilt axis
        y: near that axis the ramp of the reconstruction leaves little noise, whatever the height
        along y. They count by the root of their coefficients. The faces are tapered: else the
        jump from face to face fills the missing wedge.
    """
    shape = real.shape[-3], real.shape[-2], real.shape[-1]
    bands, counts = _bands(shape, real.device)
    taper = _taper(shape, real.device)
    weights = counts.sqrt() / counts.sqrt().sum()
    powers = []
    for volume in (real, fake):
        spectrum = torch.fft.fftn(volume.float()[:, 0] * taper, dim=(-3, -2, -1), norm="ortho")
        power = (spectrum.real.square() + spectrum.imag.square()).mean(dim=0).flatten()
        total = torch.zeros_like(counts).index_add(0, bands, power)
        powers.append(torch.log(total / counts + POWER_FLOOR))
    return (weights * (powers[0] - powers[1]).square()).sum()


@functools.lru_cache(maxsize=8)
def _taper(shape: Tuple[int, int, int], device: torch.device) -> Tensor:
    """A window that is small at the faces, with a mean square of 1."""
    window = torch.ones(shape, device=device)
    for axis, length in enumerate(shape):
        sine = torch.sin(torch.pi * (torch.arange(length, device=device) + 0.5) / length)
        window = window * sine.view([-1 if other == axis else 1 for other in range(3)])
    return window / window.square().mean().sqrt()


@functools.lru_cache(maxsize=8)
def _bands(shape: Tuple[int, int, int], device: torch.device) -> Tuple[Tensor, Tensor]:
    """The band of each coefficient of a full spectrum, and how many coefficients each holds."""
    axes = [torch.fft.fftfreq(length, device=device) * max(shape) for length in shape]
    kz, ky, kx = torch.meshgrid(*axes, indexing="ij")
    distance = torch.sqrt(kz**2 + kx**2)
    fine = torch.round(distance)
    ring = torch.where(fine < FINE_RINGS, fine, FINE_RINGS + torch.round(distance / 2)).long()
    height = torch.round(ky.abs() / HEIGHT_STEP).long()
    direction = torch.rad2deg(torch.atan2(kz, kx)).remainder(180.0) / DIRECTION_STEP_DEG
    steps = int(180.0 / DIRECTION_STEP_DEG)
    # Next to the axis there are too few coefficients to tell directions apart.
    direction = torch.where(fine < 2, 0.0, direction).long().clamp(max=steps - 1)
    key = (ring * (max(shape) + 1) + height) * steps + direction
    _, bands, counts = torch.unique(key.flatten(), return_inverse=True, return_counts=True)
    return bands, counts.float()


def discriminator_loss(
    real: Sequence[Tensor], fake: Sequence[Tensor], kind: str = "cross-entropy"
) -> Tensor:
    """Equations 6 and 7 for one discriminator: -log(1 - D(fake)) - log(D(real)).

    Parameters
    ----------
    real, fake : logits of each branch of the discriminator.
    kind : ``cross-entropy``, the paper's loss, computed on logits; or ``least-squares`` (LSGAN).
    """
    losses = []
    for real_logits, fake_logits in zip(real, fake):
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        if kind == "cross-entropy":
            loss = functional.softplus(fake_logits).mean()
            loss = loss + functional.softplus(-real_logits).mean()
        else:
            loss = (real_logits - 1.0).square().mean() + fake_logits.square().mean()
        losses.append(loss)
    return torch.stack(losses).mean()


def adversarial_loss(fake: Sequence[Tensor], kind: str = "cross-entropy") -> Tensor:
    """One term of equation 8: -log(D(fake)), averaged over the discriminator's branches."""
    losses = []
    for logits in fake:
        logits = logits.float()
        if kind == "cross-entropy":
            losses.append(functional.softplus(-logits).mean())
        else:
            losses.append((logits - 1.0).square().mean())
    return torch.stack(losses).mean()


def noise_code_loss(codes: Tensor, shrinkage: float = 0.1) -> Tensor:
    """Equation 9: KL(N(0, I) || N(mean, covariance)) of the noise codes, divided by K.

    Parameters
    ----------
    codes : ``(n, K)``, the codes of this batch and of as many recent ones as are at hand.
    shrinkage : weight of the unit matrix that is blended into the covariance, so that it is
        positive definite for n <= K and its estimate from few samples is not punished.
    """
    # In float32 the shrinkage is lost beside the covariance of codes that have run away (1e4),
    # which then is not positive definite; and autocast leaves float64 products alone.
    codes = codes.double()
    count, size = codes.shape
    mean = codes.mean(dim=0)
    centred = codes - mean
    covariance = centred.T @ centred / max(count - 1, 1)
    unit = torch.eye(size, dtype=codes.dtype, device=codes.device)
    factor = torch.linalg.cholesky((1.0 - shrinkage) * covariance + shrinkage * unit)
    log_determinant = 2.0 * torch.log(torch.diagonal(factor)).sum()
    trace = torch.linalg.solve_triangular(factor, unit, upper=False).square().sum()
    distance = torch.linalg.solve_triangular(factor, mean[:, None], upper=False).square().sum()
    return (0.5 * (trace + distance - size + log_determinant) / size).float()
