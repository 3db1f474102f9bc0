"""`pack`: grand models of molecules, membranes, gold and filaments, with their labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import numpy as np

from dual_core.api.given import PathLike
from dual_core.errors import DualError
from dual_core.grand_models.config import STRUCTURES, PackConfig
from dual_core.grand_models.molecules.molecule_list import resolve_molecules
from dual_core.grand_models.molecules.sources import Molecule
from dual_core.grand_models.pack import (
    leave_out_too_large,
    load_molecules,
    pack_grand_model,
    write_grand_model,
)


@dataclass(frozen=True)
class Packed:
    """A grand model: a noise-free cell, and what is where in it.

    Attributes
    ----------
    array : ndarray ``(z, y, x)`` float32: density in dalton per cubic angstrom, bright.
    class_mask, instance_mask : ndarrays ``(z, y, x)`` of int: 0 is background. These and `array`
        are None where files were written: many grand models need not fit into the memory.
    classes : number of each class in the class mask.
    names : class of each particle.
    positions : ndarray ``(n, 3)``: centres of the particles, ``(z, y, x)`` in voxels from 0.
    occupancy : part of the sample that molecules fill, 0 to 1.
    voxel_size_A : in angstrom.
    path : the grand model's file, or None.
    labels : files of the masks and lists: ``class_mask``, ``instance_mask``, ``csv``, ``star``
        and ``record``; empty where nothing is written.
    """

    array: Optional[np.ndarray]
    class_mask: Optional[np.ndarray]
    instance_mask: Optional[np.ndarray]
    classes: Dict[str, int]
    names: Tuple[str, ...]
    positions: np.ndarray
    occupancy: float
    voxel_size_A: float
    path: Optional[Path]
    labels: Dict[str, Path]


def pack(
    molecules: Union[PathLike, Sequence[PathLike]] = (),
    *,
    voxel_size_A: float = 10.0,
    shape: Tuple[int, int, int] = (128, 256, 256),
    count: int = 1,
    only_molecules: bool = False,
    output: Optional[PathLike] = None,
    **settings: Any,
) -> Tuple[Packed, ...]:
    """Pack grand models, as ``dual pack`` does.

    Parameters
    ----------
    molecules : folders, PDB, mmCIF or MRC files, YAML lists or names of built-in molecules, one or
        several; by default all built-in ones that fit.
    voxel_size_A : of the grand models, in angstrom.
    shape : ``(z, y, x)`` in voxels.
    count : number of grand models; each is packed anew.
    only_molecules : no membranes, filaments and crowd but those asked for; without it a cell has
        what cells have, in proportion to its volume.
    output : folder for the files, made if need be. Without it the result is in memory only.
    settings : any other attribute of `dual_core.grand_models.config.PackConfig`, such as
        ``occupancy=0.1``, ``number=20``, ``vesicles=2``, ``gold=10``, ``thickness_nm=150``,
        ``seed=1``.

    Returns
    -------
    tuple of Packed
        One for each grand model.

    Raises
    ------
    DualError
        A molecule that cannot be read, an unknown setting, something that does not fit.
    """
    given = [molecules] if isinstance(molecules, (str, os.PathLike)) else list(molecules)
    unknown = set(settings) - set(PackConfig.__dataclass_fields__)
    if unknown:
        known = ", ".join(PackConfig.__dataclass_fields__)
        raise DualError(f"pack has no setting {', '.join(sorted(unknown))}; there are {known}")
    if count < 1:
        raise DualError(f"count is {count}; give at least 1")
    if not only_molecules:
        settings = {**dict.fromkeys((*STRUCTURES, "crowd")), **settings}
    specs = tuple(resolve_molecules([str(one) for one in given]))
    config = PackConfig(specs, shape, voxel_size_A, **settings)
    loaded = load_molecules(config)
    if not given:
        config, loaded = leave_out_too_large(config, loaded)
    folder = None if output is None else Path(output)
    return tuple(_packed(config, loaded, index, folder) for index in range(count))


def _packed(
    config: PackConfig, molecules: Sequence[Molecule], index: int, folder: Optional[Path]
) -> Packed:
    model = pack_grand_model(config, molecules, index)
    canvas, files = model.canvas, {}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        files = write_grand_model(model, config, molecules, folder, index)
    names = tuple(one.name for one in canvas.particles)
    positions = np.array([one.centre_voxel for one in canvas.particles]).reshape(-1, 3)
    path = files.pop("grand_model", None)
    return Packed(
        canvas.density if folder is None else None,
        canvas.classes if folder is None else None,
        canvas.instances if folder is None else None,
        config.classes,
        names,
        positions,
        model.occupancy,
        config.voxel_size_A,
        path,
        files,
    )
