"""`project`: a tomogram of a grand model as a microscope would give it, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from dual_core.api.given import Given, PathLike, as_volume
from dual_core.errors import DualError
from dual_core.physics.config import SimulatorConfig
from dual_core.physics.simulate import generator_of, simulate_halves, simulate_tomogram
from dual_core.volumes.reading import Volume, write_volume


@dataclass(frozen=True)
class Projected:
    """A tomogram from a simulated tilt series.

    Attributes
    ----------
    array : ndarray ``(z, y, x)`` float32.
    odd, even : tomograms of two half exposures with independent shot noise, likewise; None where
        they were not asked for.
    settings : everything the microscope was simulated with.
    path : the file that was written, or None; halves lie beside it as ``_odd`` and ``_even``.
    """

    array: np.ndarray
    odd: Optional[np.ndarray]
    even: Optional[np.ndarray]
    settings: SimulatorConfig
    path: Optional[Path]


def project(
    grand_model: Given,
    *,
    voxel_size_A: Optional[float] = None,
    output: Optional[PathLike] = None,
    halves: bool = False,
    seed: int = 0,
    **microscope: Any,
) -> Projected:
    """Simulate a tilt series and reconstruct it by weighted back-projection (``dual project``).

    Parameters
    ----------
    grand_model : path of an MRC file, or ndarray ``(z, y, x)``, density bright, z the beam.
    voxel_size_A : in angstrom; needed for an array, else instead of the header's.
    output : MRC file to write.
    halves : also give the tomograms of two half exposures.
    seed : of the noise; the same seed and grand model give the same tomogram.
    microscope : any attribute of `dual_core.physics.config.SimulatorConfig`, such as
        ``tilt_range=(-50, 70)``, ``tilt_step=2``, ``defocus_um=4``, ``snr=0.3``.

    Raises
    ------
    DualError
        An unknown or impossible setting; a volume that cannot be used.
    """
    unknown = set(microscope) - set(SimulatorConfig.__dataclass_fields__)
    if unknown:
        known = ", ".join(SimulatorConfig.__dataclass_fields__)
        raise DualError(f"project has no setting {', '.join(sorted(unknown))}; there are {known}")
    volume = as_volume(grand_model, voxel_size_A, "grand model")
    config = SimulatorConfig(voxel_size_A=volume.voxel_size_A, **microscope)
    density = volume.load()
    random = generator_of(density, seed)
    odd = even = None
    try:
        if halves:
            series = simulate_halves(density, config, random)
            full, odd, even = series.full, series.odd, series.even
        else:
            full = simulate_tomogram(density, config, random)
    except DualError as error:
        raise DualError(f"{volume.name}: {error}") from error
    path = None if output is None else Path(output)
    if path is not None:
        told: Dict[str, Any] = {}
        if isinstance(volume, Volume):
            told = {"origin_A": volume.facts.origin_A, "start": volume.facts.start}
        for suffix, tomogram in (("", full), ("_odd", odd), ("_even", even)):
            if tomogram is not None:
                to = path.with_name(path.stem + suffix + path.suffix)
                write_volume(to, tomogram, volume.voxel_size_A, **told)
    return Projected(full, odd, even, config, path)
