"""The command ``dual info``: what it tells of models, volumes and folders."""

import pytest
import yaml
from local_mean import VOXEL_SIZE_A, phantom, write


def test_info_of_a_model_and_of_a_volume(tmp_path, model_file, dual):
    status, _, out = dual("info", model_file)
    card = yaml.safe_load(out)
    assert status == 0 and card["voxel_size_A"] == 10.0 and card["contrast"] == "bright"
    assert card["network"]["channels"] == [2, 3]
    assert out.startswith("summary: 10.00 A/voxel") and list(card)[-1] == "network"
    volume = phantom()
    status, _, out = dual("info", write(tmp_path / "t.mrc", volume, 7.5))
    facts = yaml.safe_load(out)
    assert status == 0 and facts["shape_zyx"] == list(volume.shape)
    assert facts["voxel_size_A"] == 7.5 and facts["contrast"] in ("dark", "bright")
    assert facts["mean"] == pytest.approx(volume.mean(), rel=1e-4)
    assert f"shape_zyx: {list(volume.shape)}\n" in out and "origin_xyz_A: [0.0" in out
    assert dual("info", tmp_path / "absent.mrc")[0] == 2


def test_info_leads_on_from_folders_and_warns_of_unset_voxel_sizes(tmp_path, model_file, dual):
    status, _, out = dual("info", model_file.parent)
    assert status == 0 and yaml.safe_load(out)["network"]["channels"] == [2, 3]
    status, said, _ = dual("info", tmp_path)
    assert status == 2 and "is a folder" in said
    source = write(tmp_path / "t.mrc", phantom(), 1.0)
    assert "never set" in dual("info", source)[1]
    assert "never set" not in dual("info", source, "--voxel-size", 1)[1]


def test_info_of_several_files_and_of_a_folder_is_a_table(tmp_path, model_file, dual, capsys):
    write(tmp_path / "one.mrc", phantom(sign=-1))
    write(tmp_path / "two.mrc", phantom(shape=(18, 19, 20)), 30.0)
    status, _, table = dual("info", tmp_path / "one.mrc", tmp_path / "two.mrc", model_file)
    head, one, two, model = (line.split() for line in table.splitlines())
    assert status == 0 and head[:2] == ["name", "kind"]
    assert one[2:7] == ["20", "x", "37", "x", "23"] and one[7] == f"{VOXEL_SIZE_A:g}"
    assert "dark" in one and "bright" in two
    assert one[-2:] == ["fits", model_file.name] and "fits no model here" in " ".join(two)
    assert model[1] == "model" and "iterations" in model
    status, _, again = dual("info", tmp_path)
    assert status == 0 and [line.split()[0] for line in again.splitlines()[1:]] == [
        str(tmp_path / name) for name in ("one.mrc", "two.mrc")
    ]
    # One that cannot be read does not hide the others.
    (tmp_path / "broken.mrc").write_bytes(b"no volume")
    status, _, told = dual("info", tmp_path)
    assert status == 1 and "unreadable" in told and "two.mrc" in told
    alone = dual("info", "--table", tmp_path / "one.mrc")[2].splitlines()[1]
    assert alone.split() in [line.split() for line in told.splitlines()]
