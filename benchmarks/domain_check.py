"""Are tomograms unlike those of a training told from those that are like them?

    python benchmarks/domain_check.py --data ../shared/data

Makes the range that a card holds of several sets of tomograms, and compares all tomograms with
each: those of the sets, with noise of their own spectrum added, and filtered. Prints the noise
against the training's, the misfit of the spectrum in dB, and what `dual denoise` would say.
docs/denoising.md has the figures. The folder holds ``shrec_like``, ``shrec_halves``,
``ribosome_like`` and ``real``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Dict, Iterator, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.networks.card import ModelCard
from dual_core.noise_model.domain.profile import facts_of, measure_range, noise_factor
from dual_core.tasks.domain_check import outside
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import open_volume

EXTREME = 5.0  # deviations, as `dual_core.volumes.described` has it


def entry(array: np.ndarray) -> StandardisedVolume:
    """Standardised, with gold cut."""
    mean, deviation = float(array.mean()), float(array.std())
    cut = np.clip(array, mean - EXTREME * deviation, mean + EXTREME * deviation)
    return StandardisedVolume(ArrayVolume(cut, 10.0), float(cut.mean()), float(cut.std()))


def load(path: Path) -> np.ndarray:
    """A whole volume."""
    return open_volume(path).load()


def noise_of(tomogram: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What of a tomogram is not the truth, scaled shell by shell where it was measured."""
    one, other = scipy.fft.rfftn(tomogram), scipy.fft.rfftn(truth)
    z, y, x = (np.fft.fftfreq(n) for n in tomogram.shape)
    x = np.fft.rfftfreq(tomogram.shape[2])
    frequency = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2)
    seen = np.abs(z)[:, None, None] <= np.abs(x) * np.tan(np.radians(60)) + 0 * frequency
    shell = np.rint(frequency * 100).astype(int)
    scale = np.bincount(shell[seen], (one * other.conj()).real[seen], shell.max() + 1)
    scale /= np.maximum(np.bincount(shell[seen], np.abs(other[seen]) ** 2, shell.max() + 1), 1e-9)
    signal = scipy.fft.irfftn(np.where(seen, scale[shell] * other, 0), s=tomogram.shape)
    return tomogram - signal


def another(noise: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise of the same spectrum with other phases."""
    white = scipy.fft.rfftn(random.standard_normal(noise.shape))
    return scipy.fft.irfftn(scipy.fft.rfftn(noise) * white / np.abs(white), s=noise.shape)


def tomograms(data: Path) -> Iterator[Tuple[str, np.ndarray]]:
    """Name and voxels of all that is compared."""
    random = np.random.default_rng(1)
    for number in range(4):
        yield f"cells {number}", load(data / "shrec_like" / f"tomo_{number}.mrc")
    for number in (8, 9):
        array = load(data / "shrec_like" / f"tomo_{number}.mrc")
        noise = noise_of(array, -load(data / "shrec_like" / f"grand_{number}.mrc"))
        yield f"cells {number}", array
        for times in (2, 3):
            more = np.sqrt(times**2 - 1) * another(noise, random)
            yield f"cells {number}, noise x {times}", array + more
        yield f"cells {number}, Gaussian", gaussian_filter(array, 1.0)
    for number in range(3):
        halves = (data / "shrec_halves" / f"tomo_{number}_{half}.mrc" for half in ("even", "odd"))
        yield f"halves {number}", sum(load(path) for path in halves)
    for number in range(4):
        array = load(data / "ribosome_like" / f"tomo_{number}.mrc")
        yield f"ribosomes {number}", array
    yield "ribosomes 3, noise x 3", array + np.sqrt(8) * another(array, random)
    for number in range(3):
        array = load(data / "real" / f"insitu_{number}_full.mrc")
        yield f"in situ {number}", array.swapaxes(1, 2)


def main() -> int:
    """Compare every tomogram with every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    entries = {name: entry(array) for name, array in tomograms(parser.parse_args().data)}
    facts = {name: facts_of(one) for name, one in entries.items()}
    sets: Dict[str, Tuple[str, ...]] = {
        "four cells": tuple(f"cells {n}" for n in range(4)), "cell 0": ("cells 0",),
        "cell 3": ("cells 3",), "halves 2": ("halves 2",),
        "four of ribosomes": tuple(f"ribosomes {n}" for n in range(4)),
        "ribosomes 3": ("ribosomes 3",), "in situ": tuple(f"in situ {n}" for n in range(3)),
    }
    for title, names in sets.items():
        known = measure_range([entries[name] for name in names], [10.0])
        card = ModelCard(10.0, "bright", {}, trained_on=known)
        print(f"\ntrained on {title}: {known}")
        for name, one in facts.items():
            factor, misfit = noise_factor(one.profile, known.structure_power, known.noise_power)
            told = ", ".join(outside(card, one, 10.0)) or "-"
            print(f"{name:24s} noise {factor / known.noise[1]:6.2f}, {misfit:4.1f} dB: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
