"""Subtomogram averaging with RELION 3.1: its files, its programs, what came out.

RELION is an independent program (Debian package ``relion``); it runs on the CPU. Each particle is a
box of its own, and the missing wedge is given to it as the "CTF volume" of each particle: 1 where
the tilt series measured a Fourier coefficient and 0 in the wedge. So the wedge counts neither in
the comparison with the reference nor in the average.

Arrays are ``(z, y, x)``; RELION's centre of a box of ``n`` voxels is voxel ``n // 2``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Sequence

import mrcfile
import numpy as np

from dual_core.volumes.geometry import wedge_mask

REFINE, RECONSTRUCT = "relion_refine", "relion_reconstruct"
PARTICLES, WEDGE, REFERENCE = "particles.star", "wedge.mrc", "reference.mrc"
OPTICS = """\
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
1 tomograms 300 2.7 0.1 {voxel_size_A:.4f} {box} 3

# version 30001

data_particles

loop_
"""
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")


def require_relion() -> None:
    """End with one line where RELION is missing."""
    missing = [program for program in (REFINE, RECONSTRUCT) if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} not found: apt-get install relion")


def write_map(path: Path, volume: np.ndarray, voxel_size_A: float) -> None:
    """Write a volume as RELION reads it."""
    with mrcfile.new(str(path), overwrite=True) as file:
        file.set_data(volume.astype(np.float32))
        file.voxel_size = voxel_size_A


def read_map(path: Path) -> np.ndarray:
    """Read a volume of RELION's."""
    with mrcfile.open(str(path), permissive=True) as file:
        return np.array(file.data, dtype=np.float32)


def write_particles(
    folder: Path, boxes: Sequence[np.ndarray], voxel_size_A: float, seed: int = 0
) -> None:
    """Write boxes, the wedge, and the list of particles, each with a random orientation.

    The orientations are only used where a reference is made of the particles themselves.
    """
    box = boxes[0].shape[0]
    (folder / "boxes").mkdir(parents=True, exist_ok=True)
    wedge = np.fft.fftshift(wedge_mask((box, box, box)))
    write_map(folder / WEDGE, wedge, voxel_size_A)
    rng = np.random.default_rng(seed)
    columns: Dict[str, List[str]] = {"rlnImageName": [], "rlnCtfImage": [], "rlnOpticsGroup": []}
    for at, particle in enumerate(boxes):
        path = folder / "boxes" / f"{at:04d}.mrc"
        write_map(path, particle, voxel_size_A)
        columns["rlnImageName"].append(str(path))
        columns["rlnCtfImage"].append(str(folder / WEDGE))
        columns["rlnOpticsGroup"].append("1")
    around, turn = rng.uniform(-180, 180, (2, len(boxes)))
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, len(boxes))))
    for name, angles in zip(ANGLES, (around, tilt, turn)):
        columns[name] = [f"{angle:.3f}" for angle in angles]
    lines = [f"_{name} #{at}" for at, name in enumerate(columns, start=1)]
    lines += [" ".join(row) for row in zip(*columns.values())]
    text = OPTICS.format(voxel_size_A=voxel_size_A, box=box) + "\n".join(lines) + "\n"
    (folder / PARTICLES).write_text(text, encoding="utf-8")


def run(folder: Path, program: str, *arguments: object) -> None:
    """Run a program of RELION's; its output goes into a file beside the results."""
    command = [program, *map(str, arguments)]
    with open(folder / f"{program}.log", "w", encoding="utf-8") as log:
        log.write(" ".join(command) + "\n")
        log.flush()
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{program} failed with status {done.returncode}: see {log.name}")


def reconstruct(folder: Path) -> Path:
    """The average of the particles in the orientations of their list, wedge corrected."""
    path = folder / REFERENCE
    listed = ("--i", folder / PARTICLES, "--o", path)
    run(folder, RECONSTRUCT, *listed, "--ctf", "--3d_rot", "--pad", 1)
    return path


def refine(
    folder: Path, reference: Path, iterations: int, threads: int, *options: object
) -> np.ndarray:
    """Align and average; the map after the last iteration."""
    given = ("--i", folder / PARTICLES, "--o", folder / "run", "--ref", reference)
    scheme = ("--K", 1, "--iter", iterations, "--ctf", "--norm", "--oversampling", 1, "--pad", 1)
    masking = ("--flatten_solvent", "--zero_mask", "--random_seed", 1)
    run(folder, REFINE, *given, *scheme, *masking, "--j", threads, "--pool", 8, *options)
    return read_map(folder / f"run_it{iterations:03d}_class001.mrc")
