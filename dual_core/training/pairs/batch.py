"""What one iteration trains on, and what the generators make of it."""
from __future__ import annotations

from typing import NamedTuple, Optional

from torch import Tensor


class Batch(NamedTuple):
    """What one iteration trains on.

    ``tomogram`` and ``density`` are t_r and v_r, ``(b, 1, z, y, x)``, standardised; ``noise`` of
    the same shape orders the permutation of equation 1; ``code`` ``(b, K)`` is z; and
    ``linear_tomogram`` what the linear model makes of ``density`` and ``noise``, if there is one,
    and ``own_noise`` and ``structure`` what it makes of ``noise`` and ``density``.
    """

    tomogram: Tensor
    density: Tensor
    noise: Tensor
    code: Tensor
    linear_tomogram: Optional[Tensor] = None
    own_noise: Optional[Tensor] = None
    structure: Optional[Tensor] = None


class Generated(NamedTuple):
    """What the generators make of a batch.

    ``encoded`` ``(b, K)`` is the noise code of the tomogram; the rest is ``(b, 1, z, y, x)``: the
    tomogram denoised, a tomogram of the density, and both brought back to their own domain.
    """

    encoded: Tensor
    fake_density: Tensor
    fake_tomogram: Tensor
    density_again: Tensor
    tomogram_again: Tensor
