"""Volumes and models as a Python user gives them: files or arrays, model files or `DualModel`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence, Union, cast

import numpy as np

from dual_core.errors import DualError
from dual_core.networks.model import DualModel
from dual_core.safety.limits import VOXEL_SIZE_A
from dual_core.volumes.byte_volumes import as_mask
from dual_core.volumes.interface import ArrayVolume, ReadableVolume
from dual_core.volumes.reading import open_volume, volume_statistics, write_volume

PathLike = Union[str, "os.PathLike[str]"]
Given = Union[PathLike, np.ndarray]
SomeGiven = Union[Given, Sequence[Given]]
AnyModel = Union[PathLike, DualModel]


@dataclass(frozen=True)
class Machine:
    """Where the networks run; nothing here changes what they are asked to do.

    Attributes
    ----------
    device : ``auto`` (the first CUDA device, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision : ``auto``, ``float32`` or ``bfloat16``.
    tile : longest side of a tile in voxels, halo included; by default the memory decides.
    halo : context around the core of a tile in voxels; by default chosen with the tile.
    memory_GiB : memory that the tiles are chosen for; by default a share of what is free.
    """

    device: str = "auto"
    precision: str = "auto"
    tile: Optional[int] = None
    halo: Optional[int] = None
    memory_GiB: Optional[float] = None


THIS_MACHINE = Machine()


@dataclass(frozen=True)
class Files:
    """The file to read and the file to write while a task runs.

    Attributes
    ----------
    source, target : of the task; temporary ones where arrays are given or wanted.
    output : the file that stays, if there is one.
    scratch : folder for other temporary files.
    wanted : whether the result is also to be given as an array.
    """

    source: Path
    target: Path
    output: Optional[Path]
    scratch: Path
    wanted: bool

    def array(self) -> Optional[np.ndarray]:
        """The result ``(z, y, x)`` float32, where it is wanted in memory."""
        if not self.wanted:
            return None
        return open_volume(self.target, require_voxel_size=False).load()


@contextlib.contextmanager
def files_of(
    given: Given, voxel_size_A: Optional[float], output: Optional[PathLike], what: str
) -> Iterator[Files]:
    """Files for a task that reads one volume and writes one.

    An array goes through a temporary MRC file in the folder of `tempfile` (``TMPDIR``): the tasks
    read and write by region, so that a volume larger than the memory is no special case.

    Parameters
    ----------
    given : path or ndarray ``(z, y, x)``.
    voxel_size_A : needed for an array.
    output : path of the result, or None for a result in memory.
    what : name of the volume in messages, such as ``tomogram``.

    Raises
    ------
    DualError
        For an array that is no volume. Messages of a task about the temporary file speak of the
        array instead.
    """
    with tempfile.TemporaryDirectory(prefix="dual-") as name:
        folder = Path(name)
        target = folder / "result.mrc" if output is None else Path(output)
        wanted = output is None or isinstance(given, np.ndarray)
        with called(folder, what):
            source = as_file(given, voxel_size_A, folder, what)
            yield Files(source, target, None if output is None else target, folder, wanted)


def as_file(
    given: Given, voxel_size_A: Optional[float], folder: Path, what: str
) -> Path:
    """The path itself, or that of a new file of the array's values in `folder`; float32."""
    if not isinstance(given, np.ndarray):
        return as_path(given, what)
    array, size = checked_array(given, what), voxel_size_of(voxel_size_A, what)
    # Before it is written, for NaN has no place in a file and its message speaks of a result.
    volume_statistics(ArrayVolume(array, size, f"the {what}"))
    path = folder / f"{what.replace(' ', '_')}.mrc"
    write_volume(path, np.asarray(array, dtype=np.float32), size)
    return path


def as_files(
    given: SomeGiven, voxel_size_A: Optional[float], folder: Path, what: str
) -> List[Path]:
    """A file for each of the volumes, see `as_file`; `given` may be one alone."""
    alone = isinstance(given, (str, os.PathLike, np.ndarray)) or not isinstance(given, Iterable)
    several = cast("Iterable[Given]", [given] if alone else given)
    return [
        as_file(one, voxel_size_A, folder, f"{what} {number}")
        for number, one in enumerate(several, start=1)
    ]


def as_path(given: object, what: str) -> Path:
    """The path, or a DualError for something that is none."""
    if not isinstance(given, (str, os.PathLike)):
        raise DualError(
            f"the {what} is a {type(given).__name__}; give a path or a numpy array (z, y, x)"
        )
    return Path(os.fspath(given))


def as_volume(
    given: Given, voxel_size_A: Optional[float], what: str
) -> ReadableVolume:
    """The volume of a path or an array, for reading by region; nothing is copied."""
    if not isinstance(given, np.ndarray):
        return open_volume(as_path(given, what), voxel_size_A=voxel_size_A)
    size = voxel_size_of(voxel_size_A, what)
    return ArrayVolume(checked_array(given, what), size, f"the {what}")


def mask_of(given: Optional[Given]) -> Optional[ReadableVolume]:
    """A mask ``(z, y, x)`` of a path or an array, which needs no voxel size; None for none."""
    if given is None:
        return None
    if isinstance(given, np.ndarray):
        return ArrayVolume(checked_array(given, "mask"), 1.0, "the mask")
    return as_mask(open_volume(as_path(given, "mask"), require_voxel_size=False))


def model_of(model: AnyModel) -> DualModel:
    """The model itself, or the one of a file."""
    if isinstance(model, DualModel):
        return model
    return DualModel.load(as_path(model, "model"))


def checked_array(array: np.ndarray, what: str) -> np.ndarray:
    """The array, if it is a volume of real numbers.

    Raises
    ------
    DualError
        Not three axes, no voxels, or values that are no real numbers. Whether they are finite is
        found out when they are read.
    """
    if array.ndim != 3:
        raise DualError(
            f"the {what} is an array of {array.ndim} dimensions; give one of three, (z, y, x)"
        )
    if array.size == 0:
        raise DualError(f"the {what} is an array of shape {array.shape}; it holds no voxels")
    if array.dtype.kind not in "biuf":
        raise DualError(f"the {what} is an array of {array.dtype}; give real numbers")
    return array


def voxel_size_of(voxel_size_A: Optional[float], what: str) -> float:
    """The voxel size of an array in angstrom, or a DualError where it is missing or impossible."""
    if voxel_size_A is None:
        raise DualError(f"the {what} is an array and has no voxel size; give voxel_size_A")
    if not VOXEL_SIZE_A.hold(voxel_size_A):
        raise DualError(
            f"voxel_size_A of the {what} is {voxel_size_A}; give a number {VOXEL_SIZE_A}"
        )
    return float(voxel_size_A)


@contextlib.contextmanager
def called(folder: Path, what: str) -> Iterator[None]:
    """In messages of errors call a file in the temporary folder what it is to the user."""
    try:
        yield
    except DualError as error:
        told = str(error)
        if str(folder) not in told:
            raise
        for path in sorted(folder.iterdir()):
            told = told.replace(str(path), f"the {what} given as an array")
        raise DualError(told) from error
