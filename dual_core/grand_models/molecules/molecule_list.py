"""Which molecules: folders, files, names of phantoms and YAML lists to `MoleculeSpec`.

A YAML list of molecules::

    molecules:
      - {name: ribosome, file: 4v4r.mrc, copies: 20, mass_kDa: 2300, threshold: 20}
      - {name: p97, file: 3cf3.pdb, abundance: 2}
      - {name: barrel_960, abundance: 1}
      - {name: receptor, phantom: antibody_150, copies: 5, membrane_bound: true}
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

from dual_core.errors import DualError
from dual_core.grand_models.molecules.phantoms import PHANTOMS
from dual_core.grand_models.molecules.sources import MoleculeSpec, class_name_of, file_kind
from dual_core.safety.documents import read_yaml
from dual_core.safety.shown import shown

RESERVED_NAMES = ("background", "membrane", "gold", "microtubule", "actin", "crowd")

_KEYS = ("name", "file", "phantom", "copies", "abundance", "mass_kDa", "threshold",
         "voxel_size_A", "assembly", "membrane_bound")


def resolve_molecules(given: Sequence[Union[str, Path]]) -> List[MoleculeSpec]:
    """Molecules from what the user gave; all phantoms when nothing is given.

    Parameters
    ----------
    given : sequence of str or path
        Folders (every molecule in them, sorted by name), PDB, mmCIF and MRC files, YAML lists
        and names of phantoms, in any mixture. The order gives the class numbers.

    Raises
    ------
    DualError
        If something is missing, unknown or named twice.
    """
    specs: List[MoleculeSpec] = []
    if not given:
        return [MoleculeSpec(name) for name in PHANTOMS]
    for item in given:
        path = Path(item)
        if path.is_dir():
            files = sorted(entry for entry in path.iterdir()
                           if entry.is_file() and file_kind(entry) is not None)
            if not files:
                raise DualError(f"{path}: no molecules (PDB, mmCIF, MRC) in this folder")
            specs.extend(MoleculeSpec(class_name_of(entry), entry) for entry in files)
        elif path.suffix.lower() in (".yaml", ".yml"):
            specs.extend(read_molecule_list(path))
        elif str(item) in PHANTOMS and not path.exists():
            specs.append(MoleculeSpec(str(item)))
        elif not path.exists() and file_kind(path) is None:
            raise DualError(f"{item}: no such file, and the built-in molecules are "
                            f"{', '.join(PHANTOMS)}")
        else:
            specs.append(MoleculeSpec(class_name_of(path), path))
    check_names(specs)
    return specs


def check_names(specs: Sequence[MoleculeSpec]) -> None:
    """Raise DualError for class names given twice or reserved."""
    twice = [name for name, times in Counter(spec.name for spec in specs).items() if times > 1]
    if twice:
        raise DualError(f"class name {twice[0]!r} is given twice; give every molecule another "
                        "name (in a YAML list: name)")
    for spec in specs:
        if spec.name in RESERVED_NAMES:
            raise DualError(f"class name {spec.name!r} is reserved; call the molecule otherwise")


def read_molecule_list(path: Path) -> List[MoleculeSpec]:
    """Molecules from a YAML list; files are relative to the list's folder.

    Raises
    ------
    DualError
        If the list cannot be read, a key, a class name or a file is unknown, or a value is
        impossible.
    """
    content = read_yaml(path)
    entries = content.get("molecules") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise DualError(f"{path}: no list of molecules; write 'molecules:' and one "
                        "'- {name: ..., file: ...}' a line under it")
    specs = [_spec(entry, path, number) for number, entry in enumerate(entries, start=1)]
    check_names(specs)
    return specs


def _spec(entry: Any, path: Path, number: int) -> MoleculeSpec:
    where = f"{path}, molecule {number}"
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, dict):
        raise DualError(f"{where}: not a mapping; write '- {{name: ..., file: ...}}'")
    unknown = [str(key) for key in entry if key not in _KEYS]
    if unknown:
        raise DualError(f"{where}: unknown key {shown(unknown[0])}; known are {', '.join(_KEYS)}")
    file = None if entry.get("file") is None else path.parent / str(entry["file"])
    name = entry.get("name")
    if name is None and file is not None:
        name = class_name_of(file)
    if name is None:
        raise DualError(f"{where}: has no name")
    name = str(name)
    phantom = None if entry.get("phantom") is None else str(entry["phantom"])
    if file is None and (phantom or name) not in PHANTOMS:
        raise DualError(f"{where}: unknown class name {shown(phantom or name)}; give its file, or "
                        f"one of the built-in molecules {', '.join(PHANTOMS)}")
    if file is not None and phantom is not None:
        raise DualError(f"{where}: has both a file and a phantom; give one of them")
    assembly = entry.get("assembly")
    return MoleculeSpec(
        name=name, path=file, phantom=phantom, copies=_copies(entry, where),
        abundance=_number(entry, "abundance", where, zero=True) or 0.0
        if "abundance" in entry else 1.0,
        mass_kDa=_number(entry, "mass_kDa", where),
        threshold=_number(entry, "threshold", where, zero=True),
        voxel_size_A=_number(entry, "voxel_size_A", where),
        assembly=None if assembly is None else str(assembly),
        membrane_bound=bool(entry.get("membrane_bound", False)))


def _copies(entry: Dict[str, Any], where: str) -> Optional[int]:
    value = entry.get("copies")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DualError(f"{where}: copies is {shown(value)}; give a whole number >= 0")
    return value


def _number(entry: Dict[str, Any], key: str, where: str, zero: bool = False) -> Optional[float]:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
            math.isfinite(value)) or value < 0 or (value == 0 and not zero):
        raise DualError(f"{where}: {key} is {shown(value)}; give a number "
                        f"{'>= 0' if zero else '> 0'}")
    return float(value)
