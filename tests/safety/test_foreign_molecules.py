"""Atomic models as they come: copies as models, waters of force fields, conformers, traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, List, Tuple

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.grand_models.molecules.atomic import atomic_density
from dual_core.grand_models.molecules.maps import map_density
from dual_core.grand_models.molecules.sources import MoleculeSpec, load_molecule
from dual_core.volumes.reading import write_volume

gemmi = pytest.importorskip("gemmi")

Atom = Tuple[str, str, int, Tuple[float, float, float], float, str]
VOXEL_A, SIGMA_A = 4.0, 2.0


def line(number: int, atom: Atom, residue: str = "ALA") -> str:
    name, element, place, (x, y, z), occupancy, alternate = atom
    return (f"ATOM  {number:5d}  {name:<3s}{alternate or ' '}{residue:<4s}A{place:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{10.0:6.2f}          {element:>2s}")


def alanine(place: int, at: Tuple[float, float, float], occupancy: float = 1.0,
            alternate: str = "") -> List[Atom]:
    shifts = {"N": (0, 0, 0), "CA": (1.5, 0, 0), "C": (2.2, 1.3, 0), "O": (1.6, 2.4, 0),
              "CB": (2.0, -0.8, 1.2)}
    return [(name, name[0], place, tuple(a + b for a, b in zip(at, shift)), occupancy, alternate)
            for name, shift in shifts.items()]


def chain(shift: float = 0.0, **more: Any) -> List[Atom]:
    return [atom for n in range(12) for atom in alanine(n + 1, (3.8 * n, shift, 0.0), **more)]


def write(path: Path, *models: Iterable[Atom], extra: str = "", head: str = "") -> Path:
    text = head
    for number, model in enumerate(models, 1):
        body = "\n".join(line(at, atom) for at, atom in enumerate(model, 1))
        text += f"MODEL     {number:4d}\n{body}\nENDMDL\n" if len(models) > 1 else body + "\n"
    path.write_text(text + extra + "END\n")
    return path


def mass(path: Path, **more: Any) -> float:
    return atomic_density(path, VOXEL_A, SIGMA_A, **more)[1]


@pytest.fixture()
def alone(tmp_path) -> float:
    return mass(write(tmp_path / "one.pdb", chain()))


def test_models_that_are_copies_are_taken_together_and_views_of_one_are_not(tmp_path, alone):
    path = write(tmp_path / "two.pdb", chain(), chain(40.0), chain(80.0))
    density, weight, note = atomic_density(path, VOXEL_A, SIGMA_A)
    assert weight == pytest.approx(3 * alone)
    assert "3 models" in note
    assert density.sum() * VOXEL_A**3 == pytest.approx(3000 * alone, rel=1e-3)
    path = write(tmp_path / "nmr.pdb", chain(), chain(0.7))
    assert mass(path) == pytest.approx(alone)
    assert "first of 2 models" in atomic_density(path, VOXEL_A, SIGMA_A)[2]


@pytest.mark.parametrize("name", ["HOH", "SOL", "TIP3", "WAT"])
def test_waters_of_any_name_weigh_nothing(tmp_path, alone, name):
    water = "\n".join(line(n, ("O", "O", n, (n * 3.0, 30.0, 0.0), 1.0, ""), name)
                      for n in range(100, 160))
    assert mass(write(tmp_path / "w.pdb", chain(), extra=water + "\n")) == pytest.approx(alone)


@pytest.mark.parametrize("occupancy", [(0.5, 0.5), (0.3, 0.7)])
def test_alternate_locations_weigh_as_much_as_one(tmp_path, alone, occupancy):
    both = [atom for a, b in zip(chain(0.0, occupancy=occupancy[0], alternate="A"),
                                 chain(1.0, occupancy=occupancy[1], alternate="B"))
            for atom in (a, b)]
    assert mass(write(tmp_path / "ab.pdb", both)) == pytest.approx(alone)


def test_an_assembly_that_names_what_is_not_there_is_made_of_the_rest(tmp_path, alone, caplog):
    structure = gemmi.read_structure(str(write(tmp_path / "one.pdb", chain())))
    structure.setup_entities()
    generator = gemmi.Assembly.Gen()
    generator.subchains = [*(part.subchain_id() for part in structure[0].subchains()), "Zxp"]
    operator = gemmi.Assembly.Operator()
    operator.transform = gemmi.Transform()
    generator.operators.append(operator)
    assembly = gemmi.Assembly("1")
    assembly.generators.append(generator)
    structure.assemblies.append(assembly)
    path = tmp_path / "a.cif"
    structure.make_mmcif_document().write_file(str(path))
    assert "Zxp" in path.read_text()
    assert mass(path) == pytest.approx(alone)
    assert "Zxp" in caplog.text


def test_a_trace_of_the_chain_is_told(tmp_path, caplog):
    trace = [atom for atom in chain() if atom[0] == "CA"]
    mass(write(tmp_path / "ca.pdb", trace))
    assert "mass_kDa" in caplog.text


@pytest.mark.parametrize(
    "atoms",
    [[("CA", "C", 1, (0.0, 0.0, 0.0), 1.0, "")], [("H", "H", 1, (0.0, 0.0, 0.0), 1.0, "")],
     [("CA", "C", 1, (0.0, 0.0, 0.0), 1.0, ""), ("CA", "C", 2, (9999.0, 9999.0, 9999.0), 1.0, "")]],
    ids=["one", "hydrogen", "far"],
)
def test_few_atoms_give_a_density_or_one_line(tmp_path, atoms):
    path = write(tmp_path / "few.pdb", atoms)
    try:
        density, weight, _ = atomic_density(path, VOXEL_A, SIGMA_A)
    except DualError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(density).all() and weight > 0
        assert density.size < 10**7


@pytest.mark.parametrize("value", ["   1e+30", "  -1e+90", "     inf", "     nan", "       ?"])
def test_coordinates_that_make_no_sense_are_refused(tmp_path, value):
    path = write(tmp_path / "c.pdb", chain())
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:30] + value + lines[3][38:]
    path.write_text("\n".join(lines))
    with pytest.raises(DualError, match="c.pdb"):
        mass(path)


def test_an_assembly_with_undefined_numbers_is_refused(tmp_path):
    head = "REMARK 350 BIOMOLECULE: 1\nREMARK 350 APPLY THE FOLLOWING TO CHAINS: A\n" + "".join(
        f"REMARK 350   BIOMT{row}   1  NaN  0.000000  0.000000        0.00000\n"
        for row in (1, 2, 3)
    )
    with pytest.raises(DualError, match="b.pdb"):
        mass(write(tmp_path / "b.pdb", chain(), head=head))


@pytest.mark.parametrize("column", [13, 17, 21, 26])
@pytest.mark.parametrize("alternate", ["", "A"])
def test_names_that_are_no_text_are_refused_or_do_not_matter(tmp_path, column, alternate):
    path = write(tmp_path / "latin.pdb", chain(0.0, alternate=alternate))
    lines = path.read_bytes().split(b"\n")
    lines[4] = lines[4][:column] + b"\xe1" + lines[4][column + 1 :]
    path.write_bytes(b"\n".join(lines))
    try:
        assert mass(path) > 0
    except DualError as error:
        assert "latin.pdb" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("mass_kDa", [1e-3, 0.05])
def test_molecules_without_weight_on_their_grid_are_refused(tmp_path, mass_kDa):
    spec = MoleculeSpec("thin", path=write(tmp_path / "thin.pdb", chain()), mass_kDa=mass_kDa)
    with pytest.raises(DualError, match="mass_kDa"):
        load_molecule(spec, 20.0, 80.0)


@pytest.mark.parametrize("value", [3e38, 1e20])
@pytest.mark.parametrize("share", [1e-3, 0.5])
def test_maps_beyond_what_can_be_computed_with_are_refused(tmp_path, value, share):
    values = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < share] = value
    write_volume(tmp_path / "map.mrc", values, 10.0)
    with pytest.raises(DualError, match="map.mrc"):
        map_density(tmp_path / "map.mrc", 10.0, 30.0)
