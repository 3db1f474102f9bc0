"""Pictures of results that look wrong, each made on purpose, for docs/when-it-looks-wrong.md.

    python benchmarks/symptoms.py --output docs/images

Packs cells, simulates their tomograms and trains three small models: one as it should be, one whose
clean domain lacks membranes and gold, and one whose denoiser has no filter at its end. It takes
some ten minutes on two CPU cores; models that are there (--work) are not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Dict, List

import numpy as np
from scipy.ndimage import gaussian_filter

import dual_core
from dual_core.figures import slices_figure
from dual_core.volumes.reading import open_volume

SIZE_A = 10.0
SHAPE = (64, 128, 128)
TILTS = (-60.0, 60.0)


def cells(folder: Path, rich: bool, count: int, seed: int) -> List[Path]:
    """Grand models; the rich ones have vesicles and gold."""
    if not list(folder.glob("grand_model_*.mrc")):
        more = {"vesicles": 1, "gold": 4, "vesicle_radius_nm": (14.0, 20.0)} if rich else {}
        dual_core.pack(
            shape=SHAPE, voxel_size_A=SIZE_A, count=count, seed=seed, output=folder, **more
        )
    return sorted(folder.glob("grand_model_*.mrc"))


def model(
    folder: Path, noisy: List[Path], clean: List[Path], config: dual_core.TrainingConfig
) -> Path:
    """The model of a folder, trained if it is not there."""
    path = folder / "model.safetensors"
    if not path.exists():
        dual_core.train(noisy, clean, folder, config=config, overwrite=True)
    return path


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/output/symptoms"))
    args = parser.parse_args()
    work, output = args.work, args.output
    noisy = []
    for number, path in enumerate(cells(work / "specimen", True, 3, 1)):
        noisy.append(work / f"tomo_{number}.mrc")
        if not noisy[-1].exists():
            dual_core.project(path, output=noisy[-1], tilt_range=TILTS, snr=0.4, seed=5)
    truth = open_volume(cells(work / "specimen", True, 3, 1)[0]).load()
    rich, poor = cells(work / "rich", True, 3, 2), cells(work / "poor", False, 3, 3)
    # Shorter than any preset, and the denoiser alone: enough for pictures.
    quick = dual_core.preset_config(
        "quick", tilt_range_deg=TILTS, iterations=40, batch=2, generator_rehearsals=0,
        recorrupted=0,
    )
    small = dataclasses.replace(quick.network, channels=(12, 24, 48))
    good = model(work / "good", noisy, rich, quick)
    lacking = model(work / "lacking", noisy, poor, dataclasses.replace(quick, network=small))
    short = model(work / "short", noisy, rich, dataclasses.replace(quick, iterations=3))
    network = dataclasses.replace(small, output_filter=False)
    plain = dataclasses.replace(quick, iterations=15, network=network)
    gridded = model(work / "gridded", noisy, rich, plain)

    raw = open_volume(noisy[0]).load()
    right = dual_core.denoise(raw, good, voxel_size_A=SIZE_A).array
    assert right is not None

    def draw(name: str, volumes: Dict[str, np.ndarray]) -> None:
        # Gold would take the whole grey scale.
        shown = {name: np.clip(v, *np.percentile(v, [0.7, 99.3])) for name, v in volumes.items()}
        slices_figure(shown, output / f"wrong_{name}.png", SIZE_A)

    def other(**options: object) -> np.ndarray:
        given = {"voxel_size_A": SIZE_A, "model": good, **options}
        array = dual_core.denoise(raw, **given).array
        assert array is not None
        return array

    draw("contrast", {"raw": raw, "right": right, "wrong contrast": other(contrast="bright")})
    cut = dual_core.Machine(tile=32, halo=0)
    draw("seams", {"raw": raw, "right": right, "tiles without halo": other(machine=cut)})
    draw("voxel_size", {"raw": raw, "right": right, "a third of the voxel size": other(
        voxel_size_A=SIZE_A / 3)})
    draw("lacking", {"raw": raw, "right": right, "poor clean domain": other(model=lacking)})
    draw("short", {"raw": raw, "right": right, "3 iterations": other(model=short)})
    draw("grid", {"raw": raw, "right": right, "without the last filter": other(model=gridded)})
    draw("strength", {"raw": raw, "right": right, "strength 0.3": other(strength=0.3)})
    draw("removed", {"raw": raw, "right": right, "removed": raw - right})
    smooth = gaussian_filter(raw, 2.0)
    twice = dual_core.denoise(smooth, good, voxel_size_A=SIZE_A).array
    assert twice is not None
    draw("filtered", {"filtered first": smooth, "its result": twice, "right": right})
    draw("wedge", {"raw": raw, "right": right, "truth": -truth})
    tilted = np.ascontiguousarray(np.swapaxes(raw, 0, 1))
    lying = dual_core.denoise(tilted, good, voxel_size_A=SIZE_A).array
    assert lying is not None
    draw("turned", {"raw": raw, "right": right, "beam along y": np.swapaxes(lying, 0, 1)})


if __name__ == "__main__":
    main()
