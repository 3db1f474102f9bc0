"""One denoised tomogram: its grid, contrast, units and voxel size, and what is refused."""

import mrcfile
import numpy as np
import pytest
from local_mean import Smooth, correlation, denoise, fake_model, phantom, read, standardised, write

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.tasks.denoise import DenoiseOptions, make_runner  # noqa: E402

# --- one tomogram -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 37, 23), (2, 30, 17), (3, 5, 4)])
def test_output_is_on_the_grid_of_the_input(tmp_path, shape):
    source = write(tmp_path / "t.mrc", phantom(shape), 7.84, origin=(10, -20, 30))
    steps = []
    denoise(source, tmp_path / "o.mrc", fake_model(voxel_size_A=7.84), tile=16, halo=4,
            progress=lambda done, total: steps.append((done, total)))
    assert mrcfile.validate(str(tmp_path / "o.mrc"))
    with mrcfile.open(tmp_path / "o.mrc") as file:
        assert file.data.dtype == np.float32 and file.data.shape == shape
        np.testing.assert_allclose(float(file.voxel_size.x), 7.84, rtol=1e-5)
        assert file.header.origin.tolist() == (10, -20, 30)
        np.testing.assert_allclose(file.header.dmean, file.data.mean(), rtol=1e-5)
    assert steps[-1][0] == steps[-1][1] == len(
        make_runner(fake_model(), device="cpu", tile=16, halo=4).plan(shape)
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mrc", "t.mrc"]


def test_tile_size_does_not_change_the_result(tmp_path):
    source = write(tmp_path / "t.mrc", phantom())
    denoise(source, tmp_path / "a.mrc", tile=12, halo=4)
    denoise(source, tmp_path / "b.mrc", tile=128)
    np.testing.assert_allclose(read(tmp_path / "a.mrc"), read(tmp_path / "b.mrc"), rtol=1e-5)


@pytest.mark.parametrize("given", ["auto", "dark"])
@pytest.mark.parametrize("output_contrast, sign", [("as-input", -1), ("as-model", 1)])
def test_contrast_of_the_input_is_turned_and_kept(tmp_path, given, output_contrast, sign):
    """A network that is not odd shows whether it was fed bright density."""

    class Rectified(Smooth):
        def forward(self, volume):
            return torch.relu(super().forward(volume) - 1)

    shape = (24, 40, 32)
    bright = phantom(shape, shift=0.0) ** 1
    blobs = np.where(standardised(bright) > 2.5, 6 * standardised(bright), standardised(bright))
    dark = write(tmp_path / "d.mrc", (-blobs).astype(np.float32))
    light = write(tmp_path / "b.mrc", blobs.astype(np.float32))
    model = fake_model(Rectified())
    report = denoise(
        dark,
        tmp_path / "do.mrc",
        model,
        DenoiseOptions(contrast=given, output_contrast=output_contrast),
    )
    assert report.contrast == "dark"
    denoise(light, tmp_path / "bo.mrc", model, DenoiseOptions(contrast="bright"))
    expected = sign * read(tmp_path / "bo.mrc")
    np.testing.assert_allclose(read(tmp_path / "do.mrc"), expected, rtol=1e-4, atol=1e-4)


def test_affine_change_of_the_input_changes_the_output_likewise(tmp_path):
    """Statistics from the data: low-intensity and offset data come out the same."""
    volume = phantom(scale=1.0, shift=0.0)
    denoise(write(tmp_path / "a.mrc", volume), tmp_path / "ao.mrc")
    denoise(write(tmp_path / "b.mrc", 1e-4 * volume + 0.01), tmp_path / "bo.mrc")
    expected = read(tmp_path / "ao.mrc") * 1e-4 + 0.01
    np.testing.assert_allclose(read(tmp_path / "bo.mrc"), expected, rtol=0, atol=1e-7)


def test_integers_are_read(tmp_path):
    volume = np.clip(np.rint(phantom(scale=10, shift=0)), -127, 127).astype(np.int8)
    denoise(write(tmp_path / "a.mrc", volume), tmp_path / "ao.mrc")
    denoise(write(tmp_path / "b.mrc", volume.astype(np.float32)), tmp_path / "bo.mrc")
    np.testing.assert_array_equal(read(tmp_path / "ao.mrc"), read(tmp_path / "bo.mrc"))


@pytest.mark.parametrize("message, change", [
    ("NaN", lambda v: v.__setitem__((3, 4, 5), np.nan)),
    ("every voxel", lambda v: v.fill(3)),
])
def test_unusable_volumes_are_refused(tmp_path, message, change):
    volume = phantom()
    change(volume)
    with pytest.raises(DualError, match=message):
        denoise(write(tmp_path / "t.mrc", volume), tmp_path / "o.mrc")
    assert [p.name for p in tmp_path.iterdir()] == ["t.mrc"]


def test_what_existed_stays_when_the_model_fails(tmp_path):
    class Broken(Smooth):
        def forward(self, volume):
            return super().forward(volume) * float("nan")

    source = write(tmp_path / "t.mrc", phantom())
    (tmp_path / "o.mrc").write_bytes(b"before")
    with pytest.raises(DualError, match="not finite"):
        denoise(source, tmp_path / "o.mrc", fake_model(Broken()))
    assert (tmp_path / "o.mrc").read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mrc", "t.mrc"]


def test_constant_and_inverted_output_are_warned_of(tmp_path, caplog):
    source = write(tmp_path / "t.mrc", phantom())
    denoise(source, tmp_path / "c.mrc", fake_model(Smooth(gain=0.0)),
            DenoiseOptions(strength=0.5, contrast="bright"))
    assert "constant" in caplog.text
    assert correlation(read(tmp_path / "c.mrc"), read(source)) > 0.99
    denoise(source, tmp_path / "i.mrc", fake_model(Smooth(gain=-1.0)))
    assert "anti-correlated" in caplog.text
    assert correlation(read(tmp_path / "i.mrc"), read(source)) < 0


# --- voxel size -------------------------------------------------------------------------------


def test_other_voxel_size_comes_back_on_the_grid_of_the_input(tmp_path, caplog):
    """A smooth volume passes an identity network and both resamplings nearly unharmed."""
    z, y, x = np.indices((25, 41, 38))
    volume = (np.sin(z / 6) + np.cos(y / 7) * np.sin(x / 8)).astype(np.float32)
    identity = fake_model(torch.nn.Identity(), radius=0, voxel_size_A=12.0)
    source = write(tmp_path / "t.mrc", volume, 10.5, origin=(1, 2, 3))
    with caplog.at_level("INFO"):
        report = denoise(source, tmp_path / "o.mrc", identity, tile=16, halo=0)
    assert report.resampled and "resampled" in caplog.text
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
    with mrcfile.open(tmp_path / "o.mrc") as file:
        result = file.data
        assert result.shape == volume.shape and file.header.origin.tolist() == (1, 2, 3)
        np.testing.assert_allclose(float(file.voxel_size.x), 10.5, rtol=1e-5)
        inside = (slice(4, -4),) * 3
        assert abs(result - volume)[inside].max() < 0.05
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mrc", "t.mrc"]


def test_foreign_voxel_size_is_warned_of_and_can_be_overridden(tmp_path, caplog):
    source = write(tmp_path / "t.mrc", phantom(), 5.0)
    denoise(source, tmp_path / "o.mrc")
    (warning,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert "its voxels are 5 A and not 10 A" in warning
    caplog.clear()
    report = denoise(source, tmp_path / "o.mrc",
                     options=DenoiseOptions(contrast="bright", voxel_size_A=10.03))
    assert not report.resampled
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
    with mrcfile.open(tmp_path / "o.mrc") as file:
        np.testing.assert_allclose(float(file.voxel_size.x), 10.03, rtol=1e-5)
