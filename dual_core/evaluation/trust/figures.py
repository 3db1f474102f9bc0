"""Figures of the trust report: what was removed, what noise became, and where flips differ."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Mapping

import numpy as np

from dual_core.figures import (
    COLOURS,
    PANEL_IN,
    _draw_scale_bar,
    _new_figure,
    _plain,
    _save,
    central_slice,
    contrast_limits,
    log_power,
    radial_mean,
    slices_figure,
)


def trust_figures(
    volumes: Mapping[str, np.ndarray], folder: Path, stem: str, voxel_size_A: float
) -> Dict[str, str]:
    """Draw the figures of one tomogram.

    Parameters
    ----------
    volumes : mapping
        As in `dual_core.evaluation.trust.examine.Examination`.
    folder, stem : path, str
        Files are ``folder/stem_NAME.png``.
    voxel_size_A : float

    Returns
    -------
    dict
        Name of the figure -> name of its file.
    """
    names = {
        name: f"{stem}_{name}.png"
        for name in ("slices", "spectra", "noise", "same_spectrum", "deviation")
    }
    slices_figure(
        {
            "raw": volumes["raw"],
            "denoised": volumes["denoised"],
            "its share of the raw": volumes["structure"],
            "removed": volumes["removed"],
        },
        folder / names["slices"],
        voxel_size_A,
    )
    power_figure(
        {name: volumes[name] for name in ("raw", "structure", "removed")},
        folder / names["spectra"],
        voxel_size_A,
    )
    pair_figure(
        {"raw": volumes["raw"], "denoised": volumes["denoised"]},
        {"removed, random phases": volumes["noise"], "denoised": volumes["denoised noise"]},
        folder / names["noise"],
        voxel_size_A,
    )
    pair_figure(
        {"raw": volumes["raw"], "denoised": volumes["denoised"]},
        {
            "raw, random phases": volumes["same spectrum"],
            "denoised": volumes["denoised same spectrum"],
        },
        folder / names["same_spectrum"],
        voxel_size_A,
    )
    slices_figure(
        {"denoised": volumes["denoised"], "deviation over flips": volumes["deviation"]},
        folder / names["deviation"],
        voxel_size_A,
    )
    return names


def power_figure(
    volumes: Mapping[str, np.ndarray], path: Path, voxel_size_A: float
) -> Path:
    """Draw power spectra of volumes in one unit: the central xz planes and the radial means.

    Unlike `dual_core.figures.spectra_figure` it standardises nothing, so that parts can be
    compared with their whole.
    """
    figure = _new_figure((len(volumes) + 1.35) * PANEL_IN, PANEL_IN + 0.6)
    ratios = {"width_ratios": [1.0] * len(volumes) + [1.25]}
    axes = figure.subplots(1, len(volumes) + 1, squeeze=False, gridspec_kw=ratios)[0]
    nyquist = 1 / (2 * voxel_size_A)
    planes = {}
    for colour, (label, volume) in zip(COLOURS, volumes.items()):
        spectrum = log_power(volume)
        planes[label] = central_slice(spectrum, "xz")
        # The mean of the power and not of its logarithm: the empty wedge would decide the latter.
        frequency, mean = radial_mean(10**spectrum)
        axes[-1].semilogy(frequency / voxel_size_A, mean, color=colour, linewidth=1.6, label=label)
    low, high = contrast_limits(np.concatenate([plane.ravel() for plane in planes.values()]), 1.0)
    for panel, (label, plane) in zip(axes, planes.items()):
        panel.imshow(
            plane, cmap="magma", vmin=low, vmax=high, origin="lower",
            extent=(-nyquist, nyquist, -nyquist, nyquist),
        )
        panel.set_title(label, fontsize=11)
        panel.set_xlabel("x frequency (1/Å)")
        panel.set(xticks=[-nyquist, 0, nyquist], yticks=[-nyquist, 0, nyquist])
        panel.tick_params(labelsize=8, labelleft=panel is axes[0])
    axes[0].set_ylabel("z frequency (1/Å)")
    axes[-1].set_title("Radial mean", fontsize=11)
    axes[-1].set_xlabel("Spatial frequency (1/Å)")
    axes[-1].set_ylabel("Power")
    axes[-1].set_xlim(0, nyquist)
    _plain(axes[-1])
    axes[-1].legend(fontsize=8, frameon=False)
    return _save(figure, path, None)


def pair_figure(
    real: Mapping[str, np.ndarray],
    empty: Mapping[str, np.ndarray],
    path: Path,
    voxel_size_A: float,
) -> Path:
    """Draw central xy slices of two rows of volumes with the same grey limits in each column.

    The limits are those of the upper row: what is faint in the lower one looks faint.
    """
    columns = len(real)
    ratio = next(iter(real.values())).shape[1] / next(iter(real.values())).shape[2]
    figure = _new_figure(columns * PANEL_IN + 0.4, 2 * (ratio * PANEL_IN + 0.35))
    axes = figure.subplots(2, columns, squeeze=False)
    limits = [contrast_limits(central_slice(volume, "xy")) for volume in real.values()]
    for row, volumes in zip(axes, (real, empty)):
        for panel, (label, volume), (low, high) in zip(row, volumes.items(), limits):
            cut = central_slice(volume, "xy")
            panel.imshow(cut, cmap="gray", vmin=low, vmax=high, origin="lower")
            panel.set(xticks=[], yticks=[])
            panel.set_title(label, fontsize=11)
        _draw_scale_bar(row[0], central_slice(next(iter(volumes.values())), "xy").shape,
                        voxel_size_A)
    return _save(figure, path, None)
