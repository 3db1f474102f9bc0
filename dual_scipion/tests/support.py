"""Tiny tomograms, input sets of a project without running imports, a tiny model.

The sets are made here and not by import protocols, because each launch costs seconds and because
the tests want what no import makes: custom origins, no acquisition, half maps, open sets.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import mrcfile
import numpy as np
from pwem.objects import Transform
from pyworkflow.object import Float, Set
from pyworkflow.protocol.constants import STATUS_FINISHED
from tomo.objects import SetOfTomograms, TomoAcquisition, Tomogram
from tomo.protocols import ProtImportTomograms

from dual_scipion import Plugin
from dual_scipion.objects import DualModel
from dual_scipion.protocols import ProtDualImportModel

VOXEL_SIZE_A = 10.0
SHAPE = (26, 34, 30)  # (z, y, x)
TILTS_DEG = (-60.0, 50.0)


def density(shape: Tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """A bright density of blobs, ``(z, y, x)``."""
    generator = np.random.default_rng(seed)
    grid = np.indices(shape, dtype=np.float32)
    volume = np.zeros(shape, np.float32)
    for _ in range(8):
        centre = generator.uniform(4, np.array(shape) - 4)
        distance = sum((axis - c) ** 2 for axis, c in zip(grid, centre))
        volume += np.exp(-distance / 10)
    return volume


def write_volume(path: Path, volume: np.ndarray, voxel_size_A: float = VOXEL_SIZE_A) -> str:
    """Write an MRC file; return its path."""
    with mrcfile.new(str(path), overwrite=True) as file:
        file.set_data(volume)
        file.voxel_size = voxel_size_A
    return str(path)


def write_tomogram(
    path: Path, shape: Tuple[int, int, int] = SHAPE, seed: int = 0, dtype: str = "float32"
) -> str:
    """Write a noisy volume with dark density; return its path."""
    generator = np.random.default_rng(seed + 100)
    volume = -density(shape, seed) + generator.normal(0, 0.7, shape)
    if dtype == "int8":
        volume = np.clip(30 * volume, -127, 127)
    return write_volume(path, volume.astype(dtype))


def tomogram(
    path: str,
    ts_id: str,
    origin: Optional[Tuple[float, float, float]] = None,
    acquisition: bool = True,
    halves: Sequence[str] = (),
) -> Tomogram:
    """A tomogram of a file; ``origin`` are Scipion's shifts in angstrom."""
    item = Tomogram(tsId=ts_id)
    item.setLocation(path)
    item.setSamplingRate(VOXEL_SIZE_A)
    if acquisition:
        item.setAcquisition(TomoAcquisition(angleMin=TILTS_DEG[0], angleMax=TILTS_DEG[1], step=2))
    if origin is not None:
        transform = Transform()
        transform.setShifts(*origin)
        item.setOrigin(transform)
    item.setHalfMaps(list(halves))
    return item


def rich_tomogram(path: str, ts_id: str, halves: Sequence[str] = ()) -> Tomogram:
    """A tomogram of which everything is set that Scipion knows, and something that it does not."""
    item = tomogram(path, ts_id, origin=(-97.5, 31.25, 12.0), halves=halves)
    for number, (name, value) in enumerate(item.getAcquisition().getAttributes(), start=1):
        if value.get() is None or name not in ("_angleMin", "_angleMax", "_step"):
            value.set(value._convertValue(str(number)))
    item.setCtfCorrected(True)
    item._extraOfAnotherPlugin = Float(0.125)
    item.setObjComment("kept from the session of May")
    with mrcfile.open(path, mode="r+") as file:
        file.header.nxstart, file.header.nystart, file.header.nzstart = -7, 3, 11
    return item


def inherited(item: Any) -> Dict[str, Any]:
    """All that a tomogram, or a set of them, hands on to what is made from it.

    That is everything but the files, and what a set knows of its own items.
    """
    own = {"_filename", "_index", "_halfMapFilenames", "_mapperPath", "_size", "_streamState"}
    own |= {"_hasOddEven", "_isHeterogeneous", "_firstDim", "object.id"}
    found = item.getObjDict(includeBasic=True)
    return {name: value for name, value in found.items() if name.partition("[")[0] not in own}


def start_voxels(path: str) -> Tuple[int, int, int]:
    """``nxstart``, ``nystart`` and ``nzstart`` of an MRC file."""
    with mrcfile.open(path, header_only=True, permissive=True) as file:
        return tuple(int(file.header[f"n{axis}start"]) for axis in "xyz")  # type: ignore


class Inputs:
    """Finished protocols of a project that never ran, with outputs made by hand."""

    def __init__(self, project: Any) -> None:
        self.project = project

    def _protocol(self, kind: type) -> Any:
        protocol = self.project.newProtocol(kind)
        self.project.saveProtocol(protocol)
        protocol.makePathsAndClean()
        return protocol

    def _finish(self, protocol: Any, **outputs: Any) -> None:
        protocol._defineOutputs(**outputs)
        protocol.setStatus(STATUS_FINISHED)
        self.project._storeProtocol(protocol)

    def tomograms(
        self, items: Sequence[Tomogram], voxel_size_A: float = VOXEL_SIZE_A, is_open: bool = False
    ) -> Any:
        """The protocol whose output ``Tomograms`` is a set of these items."""
        protocol = self._protocol(ProtImportTomograms)
        output = SetOfTomograms.create(protocol._getPath(), prefix="tomograms")
        output.setSamplingRate(voxel_size_A)
        for item in (item.clone() for item in items):
            item.cleanObjId()
            item.setSamplingRate(voxel_size_A)
            # Not SetOfTomograms.append, which reads the file: some are broken on purpose.
            Set.append(output, item)
        output._hasOddEven.set(any(item.hasHalfMaps() for item in items))
        output.setStreamState(Set.STREAM_OPEN if is_open else Set.STREAM_CLOSED)
        output.write()
        self._finish(protocol, Tomograms=output)
        output.close()
        return protocol

    def append(self, protocol: Any, item: Tomogram, close: bool) -> None:
        """Add a tomogram to an open set, and close the set if wanted."""
        output = protocol.Tomograms
        output.enableAppend()
        Set.append(output, item)
        output.setStreamState(Set.STREAM_CLOSED if close else Set.STREAM_OPEN)
        output.write()
        self.project._storeProtocol(protocol)
        output.close()

    def model(self, path: str) -> Any:
        """The protocol whose output ``Model`` is the model of this file."""
        protocol = self._protocol(ProtDualImportModel)
        self._finish(protocol, Model=DualModel.fromFile(path))
        return protocol


@lru_cache(maxsize=None)
def tiny_model() -> str:
    """Train for two iterations by the engine's command line; return the path of the model.

    Once for all tests of a process.
    """
    folder = Path(tempfile.mkdtemp(prefix="dual"))
    atexit.register(shutil.rmtree, str(folder), ignore_errors=True)
    noisy = write_tomogram(folder / "noisy.mrc")
    clean = write_volume(folder / "clean.mrc", density())
    run = folder / "run"
    command = [sys.executable, "-m", "dual_core", "train", "--noisy", noisy, "--clean", clean]
    command += ["--output", str(run), "--iterations", "2", "--patch", "24", "--batch", "1"]
    command += ["--device", "cpu", "--tilt-range", "-60", "60", "--quiet"]
    subprocess.run(command, env=Plugin.getEnviron(), check=True)
    return str(run / "model.safetensors")
