"""The command ``dual denoise`` with a real model: outputs, failures and bad usage."""

import errno

import numpy as np
import pytest
from local_mean import correlation, phantom, read, standardised, unpadded_pass, write


def test_command_with_a_real_model(tmp_path, model_file, dual):
    from dual_core.networks.model import DualModel

    one = write(tmp_path / "one.mrc", phantom(seed=1))
    two = write(tmp_path / "two.rec", phantom(seed=2))
    output = tmp_path / "new" / "out"
    arguments = ("denoise", "--model", model_file, one, two, "--output", output, "--device", "cpu",
                 "--contrast", "bright", "--precision", "float32")
    status, said, _ = dual(*arguments)
    assert status == 0, said
    first, second, *_ = said.splitlines()
    assert first == f"model {model_file}: 10.00 A/voxel, 0 iterations, bright density"
    assert second.startswith("device cpu")
    assert ": 1 tile of" in said
    names = {"one_denoised.mrc", "two_denoised.mrc", "denoise.jsonl", "denoise.yaml"}
    assert {p.name for p in output.iterdir()} == names | {"denoise.status.json"}
    # The volume is smaller than a tile: compare with the network on all of it.
    volume = phantom(seed=1)
    model = DualModel.load(model_file)
    d = unpadded_pass(model.denoiser, standardised(volume.astype(float)).astype(np.float32),
                      model.multiple)
    assert abs(correlation(read(output / "one_denoised.mrc"), d)) > 1 - 1e-5

    stamp = (output / "one_denoised.mrc").stat().st_mtime_ns
    status, said, _ = dual(*arguments, "--resume")
    assert status == 0 and said.count("skipped") == 2
    assert (output / "one_denoised.mrc").stat().st_mtime_ns == stamp
    status, said, _ = dual(*arguments, "--resume", "--strength", "0.5")
    assert status == 0 and "skipped" not in said

    # The dumped options repeat the run.
    status, _, _ = dual("denoise", "--config", output / "denoise.yaml")
    assert status == 0


def test_command_goes_on_after_a_failure(tmp_path, model_file, dual):
    good = write(tmp_path / "good.mrc", phantom())
    cut = tmp_path / "cut.mrc"
    cut.write_bytes(good.read_bytes()[:5000])
    arguments = ["denoise", "--model", model_file, "--output", tmp_path / "o", "--device", "cpu"]
    status, said, _ = dual(*arguments, cut, tmp_path / "absent.mrc", good)
    assert status == 1
    assert "2 of 3 tomograms failed" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert (tmp_path / "o" / "good_denoised.mrc").exists()
    # Of a single one the error says it all, once.
    status, said, _ = dual(*arguments, cut)
    assert status == 2 and said.count("error") == 1 and said.count(str(cut)) == 1


@pytest.mark.parametrize("words, change", [
    ("at z, y, x = 3, 4, 5", lambda v: v.__setitem__((3, 4, 5), np.nan)),
    ("every voxel is 3", lambda v: v.fill(3)),
])
@pytest.mark.parametrize("voxel_size_A", [10.0, 14.0])
def test_of_an_unusable_volume_one_line_is_said(
        tmp_path, model_file, dual, words, change, voxel_size_A):
    volume = phantom()
    change(volume)
    source = write(tmp_path / "t.mrc", volume, voxel_size_A)
    for strength in (0, 1):
        status, said, _ = dual("denoise", source, "--model", model_file, "--device", "cpu", "-q",
                               "--output", tmp_path / "o", "--strength", strength)
        assert status == 2 and words in said and said.count("\n") == 1


def test_a_full_disk_is_one_line(tmp_path, model_file, dual, monkeypatch):
    source = write(tmp_path / "t.mrc", phantom())

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dual_core.volumes.writer.os.pwrite", full)
    status, said, _ = dual("denoise", source, "--model", model_file, "--device", "cpu", "-q",
                           "--output", tmp_path / "o")
    assert status == 2 and "no disk space left" in said and said.count("\n") == 1
    assert not list((tmp_path / "o").glob(".*"))


@pytest.mark.parametrize("change, words", [
    (["--model", "absent.safetensors"], "absent.safetensors"),
    (["--model", "."], "folder without a model.safetensors"),
    (["--device", "cuda:77"], "cuda:77"),
    (["--strength", "2"], "--strength"),
    (["--tile", "8", "--halo", "8"], "halo"),
    (["--voxel-size", "-1"], "--voxel-size"),
])
def test_bad_usage_is_one_line(tmp_path, model_file, dual, change, words):
    source = write(tmp_path / "t.mrc", phantom())
    status, said, _ = dual("denoise", source, "--output", tmp_path / "o", "--model", model_file,
                           *change)
    assert status == 2
    assert words in said and said.startswith("dual: error: ") and said.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_not_a_model_is_refused(tmp_path, dual):
    source = write(tmp_path / "t.mrc", phantom())
    status, said, _ = dual("denoise", source, "--output", tmp_path / "o", "--model", source)
    assert status == 2 and "not a DUAL model" in said
