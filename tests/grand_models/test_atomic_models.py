"""Atomic models: the biological assembly, the hand, and files that are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.molecules.sources import MoleculeSpec, load_molecule

VOXEL_A = 10.0
PDB_LINE = ("ATOM  {serial:5d}  CA  ALA A{residue:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00"
            "           C  \n")
TWO_FOLD = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000       80.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
"""


def write_pdb(path: Path, remark: str = TWO_FOLD) -> None:
    points = np.random.default_rng(2).uniform(0.0, 30.0, (400, 3)) * (1.0, 0.4, 2.0)
    lines = [PDB_LINE.format(serial=n + 1, residue=n + 1, x=x, y=y, z=z)
             for n, (x, y, z) in enumerate(points)]
    path.write_text(remark + "".join(lines) + "END\n", encoding="ascii")


def test_the_biological_assembly_is_built(tmp_path):
    pytest.importorskip("gemmi")
    write_pdb(tmp_path / "two.pdb")
    whole = load_molecule(MoleculeSpec("two", tmp_path / "two.pdb"), VOXEL_A, 20.0)
    half = load_molecule(MoleculeSpec("one", tmp_path / "two.pdb", assembly="none"), VOXEL_A, 20.0)
    assert whole.mass_kDa == pytest.approx(2.0 * half.mass_kDa)
    # 400 residues of which only the carbon is there, and the hydrogens of an alanine.
    assert half.mass_kDa == pytest.approx(0.4 * (12.011 + 5 * 1.008), rel=0.01)
    two_fold = ndimage.rotate(whole.density, 180.0, axes=(1, 2), reshape=False)
    assert np.corrcoef(two_fold.ravel(), whole.density.ravel())[0, 1] > 0.8
    with pytest.raises(DualError, match="no biological assembly '7'"):
        load_molecule(MoleculeSpec("x", tmp_path / "two.pdb", assembly="7"), VOXEL_A, 20.0)


def test_an_atomic_model_keeps_its_hand_and_axes(tmp_path):
    gemmi = pytest.importorskip("gemmi")
    write_pdb(tmp_path / "one.pdb", remark="")
    molecule = load_molecule(MoleculeSpec("one", tmp_path / "one.pdb"), 4.0, 8.0)
    atoms = [atom.pos.tolist() for chain in gemmi.read_structure(str(tmp_path / "one.pdb"))[0]
             for residue in chain for atom in residue]
    positions = np.array(atoms) - np.mean(atoms, axis=0)
    index = positions[:, ::-1] / molecule.voxel_size_A + np.array(molecule.centre)
    at_atoms = ndimage.map_coordinates(molecule.density, index.T, order=1)
    mirrored = (positions * (-1.0, 1.0, 1.0))[:, ::-1] / molecule.voxel_size_A
    elsewhere = ndimage.map_coordinates(molecule.density, (mirrored + molecule.centre).T, order=1)
    assert at_atoms.mean() > 1.1 * elsewhere.mean()
    assert (at_atoms > 0.0).all()


@pytest.mark.parametrize("text", [
    "", "nothing of the kind\n" * 4,
    "ATOM      1  CA  ALA A   1      xx.xxx  11.000  12.000  1.00 20.00           C\n",
    "ATOM      1  CA  ALA A   1      10.000  11.0",
])
@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_a_broken_atomic_model_is_one_clear_line(tmp_path, text, suffix):
    pytest.importorskip("gemmi")
    path = tmp_path / f"broken.{suffix}"
    path.write_text(text, encoding="ascii")
    with pytest.raises(DualError, match="broken") as caught:
        load_molecule(MoleculeSpec("broken", path), VOXEL_A, 20.0)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_without_gemmi_the_error_says_what_to_install(tmp_path, monkeypatch):
    write_pdb(tmp_path / "one.pdb")
    monkeypatch.setitem(__import__("sys").modules, "gemmi", None)
    with pytest.raises(DualError, match=r"pip install 'scipion-em-dual\[molecules\]'"):
        load_molecule(MoleculeSpec("one", tmp_path / "one.pdb"), VOXEL_A, 20.0)
