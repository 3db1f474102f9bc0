"""The part of a tomogram that a denoised one explains, written as a volume.

The tomogram less the density always shows structure, since contrast transfer and missing wedge
stand between them. The tomogram less ``s H D`` is what denoising removed: noise, if all is well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Optional, Tuple

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.explained import ExplainedVolume
from dual_core.volumes.described.describe import keep_blank
from dual_core.volumes.interface import ReadableVolume, Triple
from dual_core.volumes.reading import Volume, VolumeWriter

# Voxels (z, y, x); with the margin of `ExplainedVolume` about 300 MiB while it is filtered.
BLOCK = (128, 192, 192)


def write_explained(
    density: ReadableVolume,
    volume: Volume,
    linear: LinearModel,
    model_voxel_size_A: float,
    tilt_axis: str,
    output: Path,
    blank: Optional[ReadableVolume] = None,
) -> None:
    """Write ``s H D + c`` in the tomogram's intensities and with its header, float32.

    Parameters
    ----------
    density : the denoised tomogram D, on the tomogram's grid, in any units.
    volume : the tomogram.
    linear : the model's H, of the model's voxel size.
    model_voxel_size_A : in angstrom.
    tilt_axis : of the volumes, ``y`` or ``x``.
    output : path of the MRC file.
    blank : volume of bool, optional
        Where it is true the output is the tomogram, so that nothing is removed there.
    """
    explained = ExplainedVolume(density, volume, linear, model_voxel_size_A, tilt_axis)
    facts = volume.facts
    with VolumeWriter(
        output, volume.shape, volume.voxel_size_A, facts.origin_A, start=facts.start
    ) as writer:
        for start, size in _blocks(volume.shape):
            block = explained.read(start, size)
            if blank is not None:
                keep_blank(block, start, volume, blank)
            writer.write(start, block)


def _blocks(shape: Triple) -> Iterator[Tuple[Triple, Triple]]:
    for z in range(0, shape[0], BLOCK[0]):
        for y in range(0, shape[1], BLOCK[1]):
            for x in range(0, shape[2], BLOCK[2]):
                start = z, y, x
                size = [min(most, n - at) for most, n, at in zip(BLOCK, shape, start)]
                yield start, (size[0], size[1], size[2])
