"""A picture of the general model at work: raw, denoised at once, and the truth or the other half.

    python benchmarks/general_picture.py --output docs/images/general.png

Denoises shrec_like/tomo_9, real/insitu_1_even and real/13pf_MT with --model general and default
options.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import DATA, dual
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from dual_core.volumes.reading import open_volume

ROWS = (  # tomogram, options, what it is compared with, its sign in the picture
    ("shrec_like/tomo_9.mrc", (), ("truth", "shrec_like/grand_9.mrc"), -1.0),
    ("real/insitu_1_even.mrc", ("--contrast", "bright", "--tilt-axis", "x"),
     ("other half, filtered", "real/insitu_1_odd.mrc"), 1.0),
    ("real/13pf_MT.mrc", ("--contrast", "bright"), None, 1.0),
)


def main() -> None:
    """Denoise and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=Path("general.png"))
    parser.add_argument("--model", default="general")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    figure = Figure(figsize=(9.0, 9.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ROWS), 3)
    with TemporaryDirectory() as name:
        for row, (path, options, other, sign) in zip(axes, ROWS):
            source = args.data / path
            dual(["denoise", "--model", args.model, source, "--output", name, *options, "--quiet"],
                 args.threads)
            raw = sign * open_volume(source).load()
            denoised = sign * open_volume(Path(name) / f"{source.stem}_denoised.mrc").load()
            if other is None:
                third = {"raw, Gaussian of 1.5 voxels": gaussian_filter(raw, 1.5)}
            else:
                volume = open_volume(args.data / other[1]).load()
                third = {other[0]: gaussian_filter(volume, 1.5) if "half" in other[0] else volume}
            shown = {"raw": raw, "general model": denoised, **third}
            for panel, (label, volume) in zip(row, shown.items()):
                section = volume[len(volume) // 2]
                low, high = np.percentile(section, (1.0, 99.7))
                panel.imshow(section, cmap="gray_r", vmin=low, vmax=high, origin="lower")
                panel.set(xticks=[], yticks=[])
                panel.set_title(f"{source.stem}: {label}", fontsize=8)
    figure.savefig(args.output, dpi=75)


if __name__ == "__main__":
    main()
