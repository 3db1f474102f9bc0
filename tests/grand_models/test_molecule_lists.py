"""Lists of molecules: names, numbers and files, and mistakes in them."""

from __future__ import annotations

import pytest

from dual_core.errors import DualError
from dual_core.grand_models.molecules.molecule_list import read_molecule_list, resolve_molecules
from dual_core.grand_models.molecules.phantoms import PHANTOMS


def test_a_yaml_list_gives_names_numbers_and_files(tmp_path):
    (tmp_path / "list.yaml").write_text(
        "molecules:\n"
        "  - {name: one, file: a.mrc, copies: 3, mass_kDa: 500, threshold: 2.5}\n"
        "  - {file: b.pdb, abundance: 2}\n"
        "  - barrel_960\n"
        "  - {name: receptor, phantom: antibody_150, membrane_bound: true}\n", encoding="utf-8")
    one, two, three, four = read_molecule_list(tmp_path / "list.yaml")
    assert (one.name, one.path, one.copies, one.mass_kDa, one.threshold) == (
        "one", tmp_path / "a.mrc", 3, 500.0, 2.5)
    assert (two.name, two.abundance, two.copies) == ("b", 2.0, None)
    assert (three.name, three.path) == ("barrel_960", None)
    assert (four.phantom, four.membrane_bound) == ("antibody_150", True)


@pytest.mark.parametrize("entry, complaint", [
    ("{name: ribosomme, copies: 3}", "unknown class name 'ribosomme'"),
    ("{name: a, phantom: nothing}", "unknown class name 'nothing'"),
    ("{name: barrel_960, copys: 3}", "unknown key 'copys'"),
    ("{name: barrel_960, copies: -3}", "copies"),
    ("{name: barrel_960, copies: many}", "copies"),
    ("{name: barrel_960, abundance: .nan}", "abundance"),
    ("{name: barrel_960}\n  - {name: barrel_960}", "given twice"),
    ("{name: gold, phantom: barrel_960}", "reserved"),
    ("{name: [", "not valid YAML"),
    ("17", "not a mapping"),
])
def test_mistakes_in_a_yaml_list_are_one_clear_line(tmp_path, entry, complaint):
    (tmp_path / "list.yaml").write_text(f"molecules:\n  - {entry}\n", encoding="utf-8")
    with pytest.raises(DualError, match=complaint) as caught:
        read_molecule_list(tmp_path / "list.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_and_names_given_twice(tmp_path):
    for name in ("b.mrc", "a.pdb", "notes.txt"):
        (tmp_path / name).touch()
    assert [spec.name for spec in resolve_molecules([tmp_path])] == ["a", "b"]
    with pytest.raises(DualError, match="'a' is given twice"):
        resolve_molecules([tmp_path, tmp_path / "a.pdb"])
    assert len(resolve_molecules([])) == len(PHANTOMS)
