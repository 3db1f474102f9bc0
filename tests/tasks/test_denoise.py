"""Properties of denoising: tiles, contrast, strength, voxel size, several files."""

import errno
import json
import math
import types

import mrcfile
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.networks import devices  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import UNet  # noqa: E402
from dual_core.tasks.batch import BatchRecord, Job, plan_jobs, run_jobs  # noqa: E402
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner  # noqa: E402
from dual_core.tiles import runner as runner_module  # noqa: E402
from dual_core.tiles.runner import choose_halo  # noqa: E402
from dual_core.tiles.stream import run_tiled  # noqa: E402

VOXEL_SIZE_A = 10.0


class Smooth(torch.nn.Module):
    """A 'trained' denoiser: a local mean, in units of its own."""

    def __init__(self, gain=3.0, shift=0.5):
        super().__init__()
        self.gain, self.shift = gain, shift

    def forward(self, volume):
        padded = torch.nn.functional.pad(volume, (1,) * 6, mode="replicate")
        return self.gain * torch.nn.functional.avg_pool3d(padded, 3, stride=1) + self.shift


def fake_model(network=None, radius=1, multiple=4, voxel_size_A=VOXEL_SIZE_A, contrast="bright"):
    return types.SimpleNamespace(
        denoiser=network or Smooth(),
        multiple=multiple,
        receptive_radius=radius,
        card=ModelCard(voxel_size_A, contrast, {}),
    )


def phantom(shape=(20, 37, 23), seed=0, sign=1, scale=7.0, shift=100.0):
    """Blobs in noise, in arbitrary units."""
    random = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    blobs = np.zeros(shape)
    for _ in range(4):
        c = [random.uniform(0, n) for n in shape]
        blobs += np.exp(-((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) / 18)
    noisy = 3 * blobs + random.normal(size=shape)
    return (sign * scale * noisy + shift).astype(np.float32)


def write(path, array, voxel_size_A=VOXEL_SIZE_A, origin=(0, 0, 0)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = voxel_size_A
        file.header.origin = origin
    return path


def read(path):
    with mrcfile.open(path) as file:
        return file.data.astype(np.float32)


def denoise(source, output, model=None, options=None, progress=None, **runner):
    model = model or fake_model()
    runner.setdefault("device", "cpu")
    runner.setdefault("precision", "float32")
    return denoise_tomogram(
        source,
        output,
        model.card,
        make_runner(model, **runner),
        options or DenoiseOptions(contrast="bright"),
        progress,
    )


def standardised(array):
    return (array - array.mean()) / array.std()


def correlation(one, other):
    return float(np.mean(standardised(one.astype(float)) * standardised(other.astype(float))))


# --- tiles and network ------------------------------------------------------------------------


def run_in_memory(runner, volume):
    """The tiles of a runner, put together."""
    output = np.full(volume.shape, np.nan, np.float32)

    def put(start, array):
        output[tuple(slice(a, a + n) for a, n in zip(start, array.shape))] = array

    def get(start, size):
        return volume[tuple(slice(a, a + n) for a, n in zip(start, size))]

    run_tiled(get, put, runner.plan(volume.shape), runner)
    return output


def unpadded_pass(network, volume, multiple):
    """One pass over the volume as it is, but for zeros up to a multiple."""
    padded = np.pad(volume, [(0, -n % multiple) for n in volume.shape])
    with torch.no_grad():
        result = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return result[tuple(slice(n) for n in volume.shape)]


@pytest.mark.parametrize(
    "channels, shape, tile",
    [
        ((2, 3), (19, 67, 23), 40),
        ((2, 3), (1, 50, 17), 32),
        ((2, 3), (3, 4, 35), 26),
        ((2, 2, 2), (3, 5, 120), 76),
    ],
)
def test_tiled_equals_a_whole_volume_pass(channels, shape, tile):
    """As a patch of training is passed: the convolutions alone say what lies beyond a face."""
    torch.manual_seed(0)
    network = UNet(channels)
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    model = fake_model(network, network.receptive_radius, network.multiple)
    halo = network.receptive_radius
    runner = make_runner(model, device="cpu", precision="float32", tile=tile, halo=halo)
    assert len(runner.plan(shape)) > 1
    whole = unpadded_pass(network, volume, network.multiple)
    assert abs(run_in_memory(runner, volume) - whole).max() <= 1e-4 * whole.std()


@pytest.mark.parametrize("stem_stride, side", [(1, 76), (2, 152)])
def test_chosen_halo_is_within_a_thousandth(stem_stride, side):
    """What the choice of the halo rests on: it is shorter than the receptive radius."""
    torch.manual_seed(0)
    network = UNet((4, 6, 8), stem_stride)
    model = fake_model(network, network.receptive_radius, network.multiple)
    volume = np.random.default_rng(1).normal(size=(2, 3, 300)).astype(np.float32)
    runner = make_runner(model, device="cpu", precision="float32", tile=side)
    assert runner.halo < network.receptive_radius and len(runner.plan(volume.shape)) > 1
    whole = unpadded_pass(network, volume, network.multiple)
    assert abs(run_in_memory(runner, volume) - whole).max() <= 1e-3 * whole.std()


def test_choice_of_the_halo(caplog):
    assert choose_halo(29, 144, 4) == 24
    assert choose_halo(61, 192, 8) == 48
    assert choose_halo(1, 144, 4) == 4
    for side in range(8, 300, 4):
        assert 2 * choose_halo(61, side, 4) + 4 <= side
    model = fake_model(radius=29)
    make_runner(model, device="cpu").plan((300, 300, 300))
    assert not caplog.records
    make_runner(model, device="cpu", tile=48).plan((300, 300, 300))
    assert "halo of 16 voxels is short" in caplog.text


def test_tile_without_room_for_the_halo_is_refused():
    with pytest.raises(DualError, match="at least 36"):
        make_runner(fake_model(), device="cpu", tile=32, halo=16)


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpu:", "cuda:x", ""])
def test_device_that_is_not_there_is_an_error(name):
    with pytest.raises(DualError, match="device"):
        devices.choose_device(name)


def test_cuda_asked_for_and_absent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose_device("auto").type == "cpu"
    with pytest.raises(DualError, match="cuda"):
        devices.choose_device("cuda")


def test_precision_is_checked_and_bfloat16_close():
    with pytest.raises(DualError, match="precision"):
        make_runner(fake_model(), device="cpu", precision="half")
    torch.manual_seed(0)
    model = fake_model(UNet((4, 6)), 10, 2)
    tile = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    exact = make_runner(model, "cpu", "float32")(tile)
    fast = make_runner(model, "cpu", "bfloat16")(tile)
    assert fast.dtype == np.float32 and fast.shape == tile.shape
    assert np.sqrt(np.mean((fast - exact) ** 2)) < 0.02 * exact.std()


class Hungry(Smooth):
    """Runs out of memory on tiles longer than 40."""

    def __init__(self, message="CUDA out of memory. Tried to allocate"):
        super().__init__()
        self.message, self.sides = message, []

    def forward(self, volume):
        self.sides.append(max(volume.shape))
        if self.sides[-1] > 40:
            raise RuntimeError(self.message)
        return super().forward(volume)


def test_out_of_memory_halves_the_tile_and_says_so(tmp_path, caplog):
    source = write(tmp_path / "t.mrc", phantom((24, 24, 200)))
    denoise(source, tmp_path / "small.mrc", tile=32)
    hungry = Hungry()
    denoise(source, tmp_path / "o.mrc", fake_model(hungry), tile=128)
    assert hungry.sides[0] > 64 and hungry.sides[-1] <= 32
    assert sum("out of memory" in r.getMessage() for r in caplog.records) == 2
    np.testing.assert_allclose(read(tmp_path / "o.mrc"), read(tmp_path / "small.mrc"), rtol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mrc", "small.mrc", "t.mrc"]


def test_out_of_memory_halves_tiles_that_the_memory_chose(tmp_path, caplog):
    source = write(tmp_path / "t.mrc", phantom((24, 24, 200)))
    denoise(source, tmp_path / "small.mrc", tile=32)
    hungry = Hungry()
    denoise(source, tmp_path / "o.mrc", fake_model(hungry))
    assert hungry.sides[0] == 200 and hungry.sides[-1] <= 40
    np.testing.assert_allclose(read(tmp_path / "o.mrc"), read(tmp_path / "small.mrc"), rtol=1e-5)


def test_too_little_memory_is_said(caplog):
    make_runner(fake_model(radius=29), device="cpu", memory=0.01).plan((300, 300, 300))
    assert "too little" in caplog.text


def test_out_of_memory_with_the_smallest_tile_is_an_error(tmp_path):
    source = write(tmp_path / "t.mrc", phantom((24, 24, 100)))
    with pytest.raises(DualError, match="out of memory"):
        denoise(source, tmp_path / "o.mrc", fake_model(Hungry()), tile=60)
    # Another error of the network is not taken for it.
    with pytest.raises(RuntimeError, match="shapes"):
        denoise(source, tmp_path / "o.mrc", fake_model(Hungry("shapes differ")), tile=60)
    assert [p.name for p in tmp_path.iterdir()] == ["t.mrc"]


def test_cuda_tile_is_chosen_from_free_memory(monkeypatch):
    runner = make_runner(fake_model(), device="cpu", tile=32)
    runner.device = types.SimpleNamespace(type="cuda")
    monkeypatch.setattr(type(runner), "__call__", lambda self, tile: tile)
    for name, function in {
        "memory_allocated": lambda d: 0,
        "reset_peak_memory_stats": lambda d: None,
        "max_memory_allocated": lambda d: 64**3 * 1000,
        "empty_cache": lambda: None,
        "mem_get_info": lambda d: (2 * 2**30, 8 * 2**30),
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    runner.side = None
    most = math.prod(runner.plan((1000, 1000, 1000)).input_shape)
    assert 0.5 * 2**31 < 1000 * most < 0.75 * 2**31
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda d: (2**40, 2**40))
    assert math.prod(runner.plan((1000, 1000, 1000)).input_shape) <= runner_module.CUDA_MOST_VOXELS


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


# --- strength ---------------------------------------------------------------------------------


def outputs_by_strength(tmp_path, strengths, sign=1, **options):
    volume = phantom((24, 40, 32), sign=sign)
    source = write(tmp_path / "t.mrc", volume)
    contrast = "bright" if sign > 0 else "dark"
    results = []
    for strength in strengths:
        denoise(source, tmp_path / "o.mrc",
                options=DenoiseOptions(strength=strength, contrast=contrast, **options))
        results.append(read(tmp_path / "o.mrc"))
    return volume, results


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16])
def test_strength_0_is_the_input_bit_by_bit(tmp_path, dtype):
    volume = phantom(shift=0).astype(dtype)
    source = write(tmp_path / "t.mrc", volume, 13.3)
    report = denoise(source, tmp_path / "o.mrc", fake_model(Hungry()),
                     options=DenoiseOptions(strength=0.0, contrast="dark"))
    assert read(tmp_path / "o.mrc").tobytes() == volume.astype(np.float32).tobytes()
    assert report.tiles == 0
    denoise(source, tmp_path / "o.mrc", fake_model(Hungry()), options=DenoiseOptions(
        strength=0.0, contrast="dark", output_contrast="as-model"))
    np.testing.assert_array_equal(read(tmp_path / "o.mrc"), -volume.astype(np.float32))


def test_strength_1_is_the_output_of_the_network(tmp_path):
    for sign in (1, -1):
        volume, (full,) = outputs_by_strength(tmp_path, [1.0], sign)
        t = torch.from_numpy(sign * standardised(volume.astype(np.float64)))[None, None]
        d = Smooth()(t)[0, 0].numpy()
        # Zeros beyond the end are not what a whole pass sees there: compare inside.
        inside = (slice(2, -2),) * 3
        assert correlation(full[inside], sign * d[inside]) > 1 - 1e-6
        _, (units,) = outputs_by_strength(tmp_path, [1.0], sign, units="standardised")
        np.testing.assert_allclose(units[inside], sign * d[inside], rtol=0, atol=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_strength_scales_the_noise_and_keeps_the_structure(tmp_path, sign):
    strengths = [0.0, 1e-4, 0.25, 0.5, 0.9999, 1.0]
    volume, results = outputs_by_strength(tmp_path, strengths, sign)
    volume = volume.astype(np.float64)
    full = results[-1].astype(np.float64)
    residual = volume - full
    structure = full - full.mean()
    assert abs(np.mean(residual)) < 1e-4 * volume.std()
    for strength, result in zip(strengths, results):
        result = result.astype(np.float64)
        # One amplitude of the structure at every strength.
        amplitude = np.vdot(result - result.mean(), structure) / np.vdot(structure, structure)
        assert amplitude == pytest.approx(1, abs=1e-4)
        # Power of the residual falls as (1 - S)^2, and with it the variance splits.
        left = result - full
        assert left.var() == pytest.approx((1 - strength) ** 2 * residual.var(), rel=1e-3, abs=1e-7)
        power = full.var() + (1 - strength) ** 2 * residual.var()
        assert result.var() == pytest.approx(power, rel=1e-4)
    # Continuous at both ends.
    assert abs(results[1] - results[0]).max() < 1e-3 * volume.std()
    assert abs(results[4] - results[5]).max() < 1e-3 * volume.std()
    for units in ("input", "standardised"):
        _, near = outputs_by_strength(tmp_path, [0.0, 1e-5, 0.99999, 1.0], sign, units=units)
        assert abs(near[0] - near[1]).max() < 1e-3 * near[0].std()
        assert abs(near[2] - near[3]).max() < 1e-3 * near[0].std()


@pytest.mark.parametrize("options", [
    {"strength": 1.1}, {"strength": float("nan")}, {"contrast": "x"}, {"units": "x"},
    {"output_contrast": "x"},
])
def test_options_are_checked(options):
    with pytest.raises(DualError):
        DenoiseOptions(**options)


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


# --- several files ----------------------------------------------------------------------------


def test_outputs_are_named_and_clashes_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = tmp_path / "a" / "t.mrc", tmp_path / "b" / "t.rec"
    one.touch()
    two.touch()
    assert plan_jobs([one], tmp_path / "o", "_denoised") == [
        Job(one, tmp_path / "o" / "t_denoised.mrc")
    ]
    for sources in ([one, two], [one, one]):
        with pytest.raises(DualError, match="would all become"):
            plan_jobs(sources, tmp_path / "o", "_denoised")
    result = tmp_path / "a" / "t_denoised.mrc"
    result.touch()
    with pytest.raises(DualError, match="overwritten"):
        plan_jobs([one, result], tmp_path / "a", "_denoised")
    with pytest.raises(DualError, match="overwritten"):
        plan_jobs([result], tmp_path / "a", "")
    with pytest.raises(DualError, match="folder"):
        plan_jobs([one], two, "_denoised")


def test_resume_skips_only_what_would_come_out_the_same(tmp_path):
    calls = []

    def work(job):
        calls.append(job.source.name)
        if job.source.read_bytes() == b"bad":
            raise DualError("broken; copy it again")
        job.output.write_bytes(job.source.read_bytes())
        return {"seconds": 1.0}

    sources = [tmp_path / f"{name}.mrc" for name in "abc"]
    for path in sources:
        path.write_bytes(b"data")
    jobs = plan_jobs(sources, tmp_path, "_denoised")
    record_path = tmp_path / "denoise.jsonl"

    def go(settings, resume=True):
        calls.clear()
        return run_jobs(jobs, work, BatchRecord(record_path, settings), resume)

    sources[1].write_bytes(b"bad")
    summary = go({"model": "m"})
    assert calls == ["a.mrc", "b.mrc", "c.mrc"] and summary.status == 1
    assert list(summary.failed) == [sources[1]] and "b.mrc" in summary.failed[sources[1]]
    sources[1].write_bytes(b"good")
    # A line that a crash cut short does not matter.
    with open(record_path, "ab") as file:
        file.write(b'{"output": "a_den')
    summary = go({"model": "m"})
    assert calls == ["b.mrc"] and summary.status == 0 and len(summary.skipped) == 2
    assert go({"model": "m"}).skipped == sources and not calls
    jobs[0].output.write_bytes(b"cut")
    sources[2].write_bytes(b"new data")
    go({"model": "m"})
    assert calls == ["a.mrc", "c.mrc"]
    go({"model": "other"})
    assert calls == ["a.mrc", "b.mrc", "c.mrc"]
    go({"model": "other"}, resume=False)
    assert calls == ["a.mrc", "b.mrc", "c.mrc"]
    for path in sources:
        path.write_bytes(b"bad")
    assert go({"model": "other"}).status == 2
    assert json.loads(record_path.read_text().splitlines()[-1])["settings"] == {"model": "other"}


# --- the command, with a real model -----------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig
    from dual_core.networks.model import DualModel, plain_config

    torch.manual_seed(3)
    config = NetworkConfig(
        channels=(2, 3),
        noise_channels=(2, 2),
        code_size=4,
        noise_side=8,
        discriminator_channels=(2, 2),
    )
    card = ModelCard(voxel_size_A=10.0, contrast="bright", network=plain_config(config))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    DualModel(config, card).save(path)
    return path


@pytest.fixture
def dual(monkeypatch, capsys):
    """Run ``dual`` in this process; gives the status and what it said on stderr."""
    import logging

    from dual_core.cli.main import main

    root = logging.getLogger()
    before = root.handlers[:], root.level

    def call(*arguments):
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return status, captured.err, captured.out

    yield call
    root.handlers[:], root.level = before
    logging.getLogger("dual_core").setLevel(logging.NOTSET)


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
    (["--model", "."], "model.safetensors inside it"),
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


def test_info_of_a_model_and_of_a_volume(tmp_path, model_file, dual):
    import yaml

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
    status, said, _ = dual("info", model_file.parent)
    assert status == 2 and "model.safetensors inside it" in said
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
