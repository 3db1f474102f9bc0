"""A picture of realism: radial spectra, angular profiles and histograms, a line a group."""

from __future__ import annotations

import contextlib
import os
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.evaluation.realism.examine import Portrait
from dual_core.evaluation.realism.statistics_judge import Judgement
from dual_core.figures import COLOURS
from dual_core.safety.leftovers import temporary_name
from dual_core.safety.shown import plain_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def portraits_figure(
    portraits: Mapping[str, Portrait],
    path: Path,
    voxel_size_A: float,
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
) -> Path:
    """Draw the curves of groups of volumes; the first, the real one, is black and on top.

    The missing wedge is the shaded part of the middle panel.

    Raises
    ------
    DualError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    radial, angular, intensity = figure.subplots(1, 3, squeeze=False)[0]
    colours = ["black", *(colour for colour, _ in zip(cycle(COLOURS[:-1]), portraits))]
    for number, (colour, (label, one)) in enumerate(zip(colours, portraits.items())):
        style = {"color": colour, "label": label, "linewidth": 2.2 if number == 0 else 1.4,
                 "zorder": 2.5 if number == 0 else 3}
        radial.semilogy(one.frequency_per_voxel / voxel_size_A, one.radial_power, **style)
        angular.plot(one.angle_deg, one.angular_power, **style)
        intensity.semilogy(one.intensity, np.where(one.histogram > 0, one.histogram, np.nan),
                           **style)
    for low, high in ((-90, tilt_range[0]), (tilt_range[1], 90)):
        angular.axvspan(low, high, color="#eeeeee", zorder=0)
    radial.set(title="Radial spectrum", xlabel="spatial frequency (1/Å)", ylabel="power")
    angular.set(title="By direction (missing wedge shaded)", xlim=(-90, 90),
                xticks=range(-90, 91, 30), xlabel="angle to x, along the tilt axis (degrees)",
                ylabel="mean log₁₀ power")
    intensity.set(title="Intensities", xlabel="deviations from the mean", ylabel="share of voxels")
    for panel in (radial, angular, intensity):
        panel.grid(color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    radial.legend(fontsize=8, frameon=False)
    return _saved(figure, path)


def judgements_figure(
    judgements: Mapping[str, Judgement], path: Path, voxel_size_A: float
) -> Path:
    """Draw where groups differ from the real ones: by direction and frequency, a panel a group.

    Raises
    ------
    DualError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.8 + 3.4 * len(judgements), 3.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(judgements), squeeze=False)[0]
    for panel, (name, one) in zip(panels, judgements.items()):
        shown = panel.imshow(
            one.apart, vmin=-2, vmax=2, cmap="RdBu_r", aspect="auto", origin="lower",
            extent=(-90, 90, -0.5, len(one.apart) - 0.5),
        )
        panel.set(
            title=f"{name}: {one.accuracy:.2f}", xlabel="angle to x (degrees)",
            xticks=range(-90, 91, 45), yticks=range(len(one.apart)),
            yticklabels=[f"{voxel_size_A / f:.0f} Å" for f in one.frequency_per_voxel],
        )
    figure.colorbar(shown, ax=panels[-1], label="power above the real (deviations of a block)")
    return _saved(figure, path)


def _saved(figure: Figure, path: Path) -> Path:
    temporary = temporary_name(path)
    try:
        plain_labels(figure)
        figure.savefig(temporary, format="png")
        os.replace(temporary, path)
    except OSError as error:
        raise DualError(f"{path}: cannot be written ({error.strerror}); make room") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return path
