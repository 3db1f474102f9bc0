"""What a density explains of a tomogram: the density seen through the tomogram's own transfer.

A tomogram less the density itself always shows structure, since contrast transfer and missing wedge
stand between them. What is to look like noise is the tomogram less ``H D``.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import on_grid
from dual_core.tiles.plan import as_triple
from dual_core.volumes.interface import ReadableVolume, Triple, read_with_margin

MARGIN = 32  # voxels about a region; what reaches further is the sharp edge of the wedge alone
MIDDLE = 192  # voxels along each axis of the part that the scale is fitted on


class ExplainedVolume:
    """``s H d + c`` of a density volume d, read region by region, in the tomogram's intensities.

    Parameters
    ----------
    density : the denoised tomogram, in any units.
    tomogram : of the same shape; scale s and offset c fit it by least squares, in the middle.
    model : the linear model, of the tilt axis y; voxel sizes may differ.
    voxel_size_A : of the linear model.
    tilt_axis : of the volumes, ``y`` or ``x``.
    """

    def __init__(
        self,
        density: ReadableVolume,
        tomogram: ReadableVolume,
        model: LinearModel,
        voxel_size_A: float,
        tilt_axis: str = "y",
    ) -> None:
        self.name = density.name
        self.shape = density.shape
        self.voxel_size_A = density.voxel_size_A
        self._density = density
        self._model = model
        self._turned = tilt_axis == "x"
        # On another voxel size the same frequency in 1/A is another place of the grid.
        self._zoom = density.voxel_size_A / voxel_size_A
        self._scale, self._offset, self._mean = 1.0, 0.0, 0.0
        self._found: Optional[Tuple[Triple, np.ndarray]] = None
        size = as_triple([min(length, MIDDLE) for length in self.shape])
        start = as_triple([(n - part) // 2 for n, part in zip(self.shape, size)])
        self._mean = float(density.read(start, size).mean(dtype=np.float64))
        explained = self.read(start, size).astype(np.float64).ravel()
        wanted = tomogram.read(start, size).astype(np.float64).ravel()
        variance = float(explained.var())
        if variance > 0:
            centred = explained - explained.mean()
            self._scale = float(centred @ wanted) / (variance * wanted.size)
        self._offset = float(wanted.mean() - self._scale * explained.mean())

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """A region, float32."""
        padded = read_with_margin(self._density.read, self.shape, start, size, MARGIN)
        padded -= np.float32(self._mean)
        if self._turned:
            padded = padded.swapaxes(1, 2)
        shape = as_triple(padded.shape)
        spectrum = scipy.fft.rfftn(padded) * self._response(shape)
        filtered = scipy.fft.irfftn(spectrum, s=shape)
        if self._turned:
            filtered = filtered.swapaxes(1, 2)
        inside = tuple(slice(MARGIN, MARGIN + n) for n in size)
        result: np.ndarray = (self._scale * filtered[inside] + self._offset).astype(np.float32)
        return result

    def load(self) -> np.ndarray:
        """The whole volume, float32."""
        return self.read((0, 0, 0), self.shape)

    def _response(self, shape: Triple) -> np.ndarray:
        # Of the last shape: neighbouring regions have the same.
        if self._found is None or self._found[0] != shape:
            self._found = shape, self._response_on(shape)
        return self._found[1]

    def _response_on(self, shape: Triple) -> np.ndarray:
        if abs(self._zoom - 1.0) < 0.01:
            return on_grid(self._model.transfer, shape)
        # A grid that is finer by the ratio of the voxel sizes, of which the coarse part is used.
        scaled = as_triple([max(int(round(n / self._zoom)), 8) for n in shape])
        coarse = on_grid(self._model.transfer, scaled)
        response = np.zeros((shape[0], shape[1], shape[2] // 2 + 1), dtype=np.float32)
        places = [np.rint(np.fft.fftfreq(n) * n).astype(int) for n in shape[:2]]
        z, y = (
            np.where(np.abs(place) < n // 2, place % n, n // 2)
            for place, n in zip(places, scaled[:2])
        )
        x = np.minimum(np.arange(shape[2] // 2 + 1), coarse.shape[2] - 1)
        response[:] = coarse[np.ix_(z, y, x)]
        return response
