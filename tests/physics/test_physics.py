"""The conventional simulator: geometry, CTF, noise and reconstruction are what physics says."""

import math

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from dual_core.errors import DualError
from dual_core.physics import ctf, noise
from dual_core.physics.config import SimulatorConfig, tilt_angles
from dual_core.physics.projection import back_project, detector_position, detector_width, project
from dual_core.physics.reconstruction import angular_shares, exact_filter, ramp_filter, reconstruct
from dual_core.physics.simulate import simulate_halves, simulate_tilt_series, simulate_tomogram
from dual_core.volumes.geometry import wedge_mask

SLAB = (20, 14, 44)


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def blob(shape, centre, sigma=1.5):
    """A normalised Gaussian; its projections are known exactly."""
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    squared = sum((g - c) ** 2 for g, c in zip(grids, centre))
    return np.exp(-squared / (2 * sigma**2)) / (2 * math.pi * sigma**2) ** 1.5


def phantom(shape, smooth):
    """Balls of several sizes and densities, the same every time."""
    rng = np.random.default_rng(3)
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    volume = np.zeros(shape)
    for _ in range(12):
        radius = min(rng.uniform(2.5, 5.0), min(shape) / 2 - 1)
        centre = [rng.uniform(radius, n - 1 - radius) for n in shape]
        inside = sum((g - c) ** 2 for g, c in zip(grids, centre)) < radius**2
        volume[inside] += rng.uniform(0.5, 2.0)
    return gaussian_filter(volume, smooth) if smooth else volume


# --- projection


@pytest.mark.parametrize("angle", [-90.0, -60.0, -31.7, 0.0, 20.0, 45.0, 70.0])
@pytest.mark.parametrize("point", [(14.0, 7.0, 31.0), (5.0, 5.5, 8.25)])
def test_point_falls_where_geometry_says(point, angle):
    z, y, x = (c - (n - 1) / 2 for c, n in zip(point, SLAB))
    # geometry.py: x' = x cos + z sin, projected along z'.
    expected_u = x * math.cos(math.radians(angle)) + z * math.sin(math.radians(angle))
    image = project(blob(SLAB, point), [angle])[0]
    rows = np.arange(SLAB[1])[:, None] - (SLAB[1] - 1) / 2
    columns = np.arange(detector_width(SLAB))[None, :] - (detector_width(SLAB) - 1) / 2
    profile = np.exp(-((rows - y) ** 2 + (columns - expected_u) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(image, profile / (2 * math.pi * 1.5**2), atol=2e-4)
    assert detector_position(point, SLAB, angle) == pytest.approx(
        expected_u + (detector_width(SLAB) - 1) / 2
    )


def test_positive_tilt_moves_the_upper_half_to_larger_columns():
    upper = (15, 7, 22)
    assert detector_position(upper, SLAB, 30.0) > detector_position(upper, SLAB, 0.0)
    assert detector_position(upper, SLAB, -30.0) < detector_position(upper, SLAB, 0.0)


@pytest.mark.parametrize("corner", [(0, 0, 0), (0, 13, 43), (19, 0, 0), (19, 13, 43)])
def test_no_corner_of_a_slab_leaves_the_detector(corner):
    volume = np.zeros(SLAB, np.float32)
    volume[corner] = 1.0
    for angle, image in zip((-75, -40, 0, 40, 75), project(volume, [-75, -40, 0, 40, 75])):
        assert image.sum() == pytest.approx(1.0, abs=1e-3)
        place = int(round(detector_position(corner, SLAB, angle)))
        assert np.unravel_index(np.argmax(image), image.shape) == pytest.approx(
            (corner[1], place), abs=1
        )


def test_untilted_projection_is_the_sum_along_the_beam():
    volume = np.random.default_rng(0).standard_normal((7, 5, 12))
    width = detector_width(volume.shape)
    volume[:, :, [0, -1]] = 0
    image = project(gaussian_filter(volume, (0, 0, 1)), [0.0])[0]
    # The centre of the detector lies between columns when the parities differ.
    if (width - 12) % 2 == 0:
        start = (width - 12) // 2
        expected = gaussian_filter(volume, (0, 0, 1)).sum(axis=0)
        np.testing.assert_allclose(image[:, start : start + 12], expected, atol=0.05)
    assert image.sum() == pytest.approx(volume.sum(), abs=0.05)


@pytest.mark.parametrize("shape", [(9, 4, 13), (16, 3, 8), (1, 2, 6)])
def test_back_projection_is_the_adjoint(shape):
    rng = np.random.default_rng(1)
    angles = [-61.0, -10.0, 0.0, 33.0, 90.0]
    volume = rng.standard_normal(shape)
    images = rng.standard_normal((5, shape[1], detector_width(shape)))
    forward = float((project(volume, angles) * images).sum())
    backward = float((back_project(images, angles, shape) * volume).sum())
    assert forward == pytest.approx(backward, rel=1e-4)


def test_blocks_of_rows_change_nothing(monkeypatch):
    volume = np.random.default_rng(2).standard_normal((6, 11, 10))
    images = project(volume, [-30.0, 50.0])
    smeared = back_project(images, [-30.0, 50.0], volume.shape)
    monkeypatch.setattr("dual_core.physics.projection._BLOCK_BYTES", 1)
    np.testing.assert_allclose(project(volume, [-30.0, 50.0]), images, atol=1e-5)
    np.testing.assert_allclose(
        back_project(images, [-30.0, 50.0], volume.shape), smeared, atol=1e-5
    )


def test_back_projection_refuses_images_of_another_size():
    with pytest.raises(ValueError, match="do not fit"):
        back_project(np.zeros((2, 5, 9)), [0.0, 10.0], (4, 5, 6))


@pytest.mark.parametrize("limits", [(-60, 60, 3), (-50, 70, 2), (-90, 90, 7), (0, 45, 45)])
def test_tilt_angles_end_where_asked(limits):
    angles = tilt_angles(*limits)
    assert (angles[0], angles[-1]) == limits[:2]
    steps = np.diff(angles)
    np.testing.assert_allclose(steps, steps[0])
    assert steps[0] == pytest.approx(limits[2], rel=0.05)


# --- reconstruction


@pytest.mark.parametrize("shape", [(32, 8, 40), (20, 8, 64), (40, 8, 23)])
@pytest.mark.parametrize("weighting", ["ramp", "exact"])
def test_full_tilt_range_gives_the_phantom_back(shape, weighting):
    angles = tilt_angles(-90, 90, 2)
    sharp, smooth = phantom(shape, 0), phantom(shape, 1.0)
    assert correlation(reconstruct(project(sharp, angles), angles, shape, weighting), sharp) > 0.98
    tomogram = reconstruct(project(smooth, angles), angles, shape, weighting)
    assert correlation(tomogram, smooth) > 0.99
    tolerance = {"ramp": 0.02, "exact": 0.08}[weighting]
    assert np.abs(tomogram - smooth).max() < tolerance * smooth.max()  # scale and mean are kept


def test_uneven_tilts_keep_the_density():
    angles = np.concatenate((np.arange(-90, 0, 4.0), np.arange(0, 90.1, 2.0)))
    volume = phantom((24, 8, 30), 1.0)
    tomogram = reconstruct(project(volume, angles), angles, volume.shape)
    assert np.abs(tomogram - volume).max() < 0.05 * volume.max()


def test_order_of_the_tilts_is_free():
    angles = np.array(tilt_angles(-60, 60, 10))
    turn = np.random.default_rng(0).permutation(angles.size)
    images = project(phantom(SLAB, 1.0), angles)
    for weighting in ("ramp", "exact"):
        expected = reconstruct(images, angles, SLAB, weighting)
        shuffled = reconstruct(images[turn], angles[turn], SLAB, weighting)
        np.testing.assert_allclose(shuffled, expected, atol=1e-4)


def test_angular_shares():
    np.testing.assert_allclose(angular_shares(tilt_angles(-60, 60, 3)), math.radians(3))
    full = angular_shares(tilt_angles(-90, 90, 10))
    assert full.sum() == pytest.approx(math.pi)
    assert full[0] == pytest.approx(full[5] / 2)
    np.testing.assert_allclose(angular_shares([0, 45, 90, 135]), math.pi / 4)
    assert angular_shares([30, 0, 10])[2] == pytest.approx(math.radians(15))


def test_ramp_is_the_frequency_but_not_zero_at_zero():
    response = ramp_filter(256)
    np.testing.assert_allclose(response, np.fft.rfftfreq(256), atol=2e-3)
    assert 0 < response[0] < 1 / 256


def test_exact_weighting_is_the_ramp_and_then_flat():
    step, diameter = 2.0, 20.0
    response = exact_filter(512, tilt_angles(-90, 90 - step, step), diameter)[30]
    frequency = np.fft.rfftfreq(512)
    ramp = frequency * math.radians(step)
    crowther = 1 / (diameter * math.radians(step))
    overlapping = (frequency > 3 / diameter) & (frequency < 0.3 * crowther)
    np.testing.assert_allclose(response[overlapping], ramp[overlapping], rtol=0.08)
    narrow = exact_filter(512, [-60.0, 0.0, 60.0], diameter)[1]
    np.testing.assert_allclose(narrow[frequency > 0.06], 1 / diameter)


def test_unknown_weighting_is_refused():
    with pytest.raises(DualError, match="ramp, exact"):
        reconstruct(np.zeros((1, 4, 10)), [0.0], (4, 4, 6), "boxcar")


# --- the missing wedge


def spectrum(volume):
    """Power in the (z, x) plane, mean over y, windowed against leakage, not shifted."""
    window = np.hanning(volume.shape[0])[:, None, None] * np.hanning(volume.shape[2])
    return np.mean(np.abs(np.fft.fftn((volume - volume.mean()) * window)) ** 2, axis=1)


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-50.0, 70.0), (-20.0, 65.0)])
@pytest.mark.parametrize("source", ["noise", "simulation"])
def test_spectrum_is_empty_in_the_wedge_and_only_there(tilt_range, source):
    shape = (64, 6, 64)
    rng = np.random.default_rng(5)
    if source == "noise":
        angles = tilt_angles(tilt_range[0], tilt_range[1], 2.0)
        images = rng.standard_normal((len(angles), shape[1], detector_width(shape)))
        tomogram = reconstruct(images, angles, shape)
    else:
        config = SimulatorConfig(voxel_size_A=14.0, tilt_range=tilt_range, tilt_step=2.0, snr=0.05)
        tomogram = simulate_tomogram(phantom(shape, 1.0), config, rng)
    power = np.fft.fftshift(spectrum(tomogram))
    measured = np.fft.fftshift(wedge_mask(shape, tilt_range)[:, 0, :])
    z, x = (np.fft.fftshift(np.fft.fftfreq(n)) for n in (shape[0], shape[2]))
    radius = np.hypot(z[:, None], x[None, :])
    # A window spreads every coefficient over its neighbours: keep three away from the border.
    inside = (distance_transform_edt(measured) >= 3) & (radius > 0.1) & (radius < 0.4)
    outside = (distance_transform_edt(~measured) >= 3) & (radius > 0.1) & (radius < 0.4)
    assert inside.sum() > 100
    assert outside.sum() > 100
    assert power[outside].max() < 2e-2 * power[inside].mean()
    assert power[outside].mean() < 2e-3 * power[inside].mean()
    assert power[inside].min() > 10 * power[outside].mean()
    mirrored = np.fft.fftshift(wedge_mask(shape, (-tilt_range[1], -tilt_range[0]))[:, 0, :])
    if tilt_range[0] != -tilt_range[1]:  # the sign of the angles matters, and is this one
        assert power[inside & ~mirrored].mean() > 100 * power[outside & mirrored].mean()


# --- CTF


@pytest.mark.parametrize(("voltage", "expected"), [(100, 0.03701), (200, 0.02508), (300, 0.01969)])
def test_electron_wavelength(voltage, expected):
    assert ctf.electron_wavelength_A(voltage) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("defocus", [1.0, 3.5, 6.0])
@pytest.mark.parametrize("amplitude", [0.0, 0.07, 0.3])
def test_ctf_is_zero_where_it_must_be(defocus, amplitude):
    wavelength, cs_A = ctf.electron_wavelength_A(300), 2.7e7
    for order in range(1, 6):
        # pi lambda k^2 df - pi/2 Cs lambda^3 k^4 + asin(A) = n pi, solved for k^2
        a, b = 0.5 * cs_A * wavelength**3, -wavelength * defocus * 1e4
        c = order - math.asin(amplitude) / math.pi
        zero = math.sqrt((-b - math.sqrt(b * b - 4 * a * c)) / (2 * a))
        around = ctf.contrast_transfer(
            np.array([zero * 0.99, zero, zero * 1.01]), defocus, 300, 2.7, amplitude
        )
        assert abs(around[1]) < 1e-9
        assert around[0] * around[2] < 0
    frequencies = np.linspace(0, 0.1, 500)
    assert np.abs(ctf.contrast_transfer(frequencies, defocus)).max() <= 1


def test_ctf_at_zero_is_the_amplitude_contrast_and_dark():
    assert ctf.contrast_transfer(np.zeros(1), 3.0)[0] == pytest.approx(-0.07)
    assert ctf.contrast_transfer(np.array([0.01]), 3.0)[0] < -0.07


def test_simulated_images_have_the_rings_of_the_ctf():
    shape, voxel = (8, 96, 96), 8.0
    config = SimulatorConfig(
        voxel_size_A=voxel, tilt_range=(-1, 1), tilt_step=1, snr=None, defocus_um=4.0,
        defocus_spread_um=0.0, total_dose=0.0,
    )  # fmt: skip
    white = np.random.default_rng(1).standard_normal(shape)
    image = simulate_tilt_series(white, config, np.random.default_rng(0)).full[1]
    power = np.abs(np.fft.rfft2(image)) ** 2
    frequency = ctf.image_frequencies(image.shape, voxel)
    zero = math.sqrt((1 - math.asin(0.07) / math.pi) / (ctf.electron_wavelength_A(300) * 4e4))
    ring = np.abs(frequency - zero) < 0.01 * zero
    peak = np.abs(frequency - zero / math.sqrt(2)) < 0.05 * zero
    assert power[ring].mean() < 0.01 * power[peak].mean()


# --- noise


def _generator():
    return np.random.default_rng(0)


def small_config(**changes):
    return SimulatorConfig(**{"voxel_size_A": 10.0, "tilt_step": 6.0, **changes})


@pytest.mark.parametrize("snr", [0.05, 0.7])
@pytest.mark.parametrize("solvent_share", [0.0, 0.4, 1.0])
def test_snr_is_as_wanted(snr, solvent_share):
    volume = phantom(SLAB, 1.0)
    config = small_config(snr=snr, solvent_share=solvent_share)
    noisy = simulate_tilt_series(volume, config, np.random.default_rng(0)).full
    clean = simulate_tilt_series(
        volume, small_config(snr=None), np.random.default_rng(0)
    ).full  # the defocus is drawn first, so it is the same
    start = (noisy.shape[2] - SLAB[2]) // 2
    centre = (slice(None), slice(None), slice(start, start + SLAB[2]))
    signal = np.var(clean[centre], axis=(1, 2)).mean()
    rest = np.var((noisy - clean)[centre], axis=(1, 2)).mean()
    # Solvent and shot noise correlate by chance in so small a volume.
    assert signal / rest == pytest.approx(snr, rel=0.15)


def test_shot_noise_grows_with_the_tilt_and_has_its_own_detector_response():
    volume = phantom((10, 24, 32), 1.0)
    changes = {"solvent_share": 0.0, "free_path_A": 100.0, "noise_mtf_nyquist": 0.3}
    noisy = simulate_tilt_series(volume, small_config(snr=1e-4, **changes), _generator()).full
    clean = simulate_tilt_series(volume, small_config(snr=None, **changes), _generator()).full
    shot = noisy - clean
    # Ten voxels of 10 A are one free path, two at 60 degrees: exp(1) times the noise power.
    assert shot[0].var() / shot[10].var() == pytest.approx(math.e, rel=0.2)
    power = (np.abs(np.fft.rfft2(shot)) ** 2 / shot.var(axis=(1, 2))[:, None, None]).mean(axis=0)
    expected = noise.detector_response(shot.shape[1:], 0.3) ** 2
    ratio = power / expected
    frequency = ctf.image_frequencies(shot.shape[1:], 1.0)
    assert ratio[frequency > 0.4].mean() == pytest.approx(ratio[frequency < 0.25].mean(), rel=0.1)


def test_halves_share_the_specimen_but_not_the_shot_noise():
    volume = phantom(SLAB, 1.0)
    clean = simulate_tomogram(volume, small_config(snr=None), np.random.default_rng(4))
    config = small_config(snr=0.5, solvent_share=0.0)
    tomograms = simulate_halves(volume, config, np.random.default_rng(4))
    np.testing.assert_allclose(
        (tomograms.odd + tomograms.even) / 2, tomograms.full, atol=1e-4 * tomograms.full.std()
    )
    assert abs(correlation(tomograms.odd - clean, tomograms.even - clean)) < 0.1
    assert correlation(tomograms.odd, tomograms.even) > 0.1
    noise_of_half = (tomograms.odd - clean).var()
    assert noise_of_half == pytest.approx(2 * (tomograms.full - clean).var(), rel=0.15)
    one = simulate_tomogram(volume, config, np.random.default_rng(4))
    assert one.tobytes() == tomograms.full.tobytes()


def test_solvent_is_the_same_in_both_halves():
    config = small_config(snr=0.1, solvent_share=1.0)
    tomograms = simulate_halves(phantom(SLAB, 1.0), config, np.random.default_rng(4))
    assert correlation(tomograms.odd, tomograms.even) > 0.999


def test_critical_exposure_is_that_of_the_paper():
    # Grant & Grigorieff's formula by hand: 0.24499 * 0.1**-1.6649 + 2.8141
    assert noise.critical_exposure(np.array([0.1]))[0] == pytest.approx(14.14, abs=0.01)
    assert noise.critical_exposure(np.array([0.1]), 200.0)[0] == pytest.approx(11.31, abs=0.01)
    attenuation = noise.dose_attenuation(np.array([0.0, 0.02, 0.1]), 14.14)
    assert attenuation[0] == 1.0
    assert attenuation[2] == pytest.approx(math.exp(-0.5), abs=1e-3)
    assert np.all(np.diff(attenuation) < 0)


def test_doses_accumulate_in_the_order_of_the_scheme():
    angles = [-60, -30, 0, 30, 60]
    symmetric = noise.accumulated_doses(angles, 100.0)
    assert symmetric[2] == 10.0
    assert max(symmetric[1], symmetric[3]) < min(symmetric[0], symmetric[4])
    np.testing.assert_allclose(
        noise.accumulated_doses(angles, 100.0, "sequential"), [10, 30, 50, 70, 90]
    )
    with pytest.raises(DualError, match="dose order"):
        noise.accumulated_doses(angles, 100.0, "random")


def test_dose_and_its_weighting_dim_fine_detail():
    volume = np.random.default_rng(0).standard_normal((8, 24, 24))

    def fine_power(**changes):
        config = small_config(snr=None, defocus_spread_um=0.0, **changes)
        images = simulate_tilt_series(volume, config, np.random.default_rng(0)).full
        power = np.abs(np.fft.rfft2(images)) ** 2
        return power[:, ctf.image_frequencies(images.shape[1:], 10.0) > 0.025].mean(axis=1)

    fresh, damaged = fine_power(total_dose=0.0), fine_power(total_dose=120.0)
    weighted = fine_power(total_dose=120.0, dose_weighting=True)
    ratio = damaged / fresh
    assert np.all(ratio < 1)
    assert ratio[0] < ratio[len(ratio) // 2]  # the last tilts have lost most
    np.testing.assert_array_less(weighted, damaged)


def test_phase_flipping_makes_all_transfer_dark():
    volume = np.random.default_rng(0).standard_normal((8, 48, 48))
    config = small_config(snr=None, voxel_size_A=6.0, tilt_range=(-1, 1), tilt_step=1.0)
    flipped = SimulatorConfig(**{**vars(config), "phase_flip": True})
    images = simulate_tilt_series(volume, config, np.random.default_rng(0)).full
    corrected = simulate_tilt_series(volume, flipped, np.random.default_rng(0)).full
    cross = np.fft.rfft2(project(volume, config.angles)).conj()
    frequency = ctf.image_frequencies(images.shape[1:], 6.0)
    fine = frequency > 0.045  # past the first zero at 3.6 um
    assert (np.fft.rfft2(images) * cross).real[:, fine].max() > 0
    assert (np.fft.rfft2(corrected) * cross).real[:, frequency < 0.07].max() < 1e-2


def test_transmission_falls_with_the_tilt():
    passed = noise.transmission([-60.0, 0.0, 60.0, 90.0], 1000.0, 2000.0)
    np.testing.assert_allclose(passed[:3], [math.exp(-0.5), 1.0, math.exp(-0.5)])
    assert passed[3] > 0
    np.testing.assert_array_equal(noise.transmission([0.0, 70.0], 1000.0, math.inf), 1.0)


def test_detector_response_has_its_value_at_nyquist():
    response = noise.detector_response((8, 8), 0.4)
    assert response[0, 0] == 1.0
    assert response[0, 4] == pytest.approx(0.4)
    assert response[4, 0] == pytest.approx(0.4)


# --- the whole


def test_same_seed_same_tomogram():
    volume, config = phantom(SLAB, 1.0), small_config()
    one, two, other = (
        simulate_tomogram(volume, config, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.shape == SLAB
    assert one.dtype == np.float32
    assert one.tobytes() == two.tobytes()
    assert abs(correlation(one, other)) < 0.9


def test_density_is_dark_unless_bright_is_asked_for():
    volume = phantom((32, 32, 32), 1.0).astype(np.int16) * 100
    dark = simulate_tomogram(volume, small_config(snr=5.0), np.random.default_rng(0))
    bright = simulate_tomogram(
        volume, small_config(snr=5.0, contrast="bright"), np.random.default_rng(0)
    )
    assert correlation(dark, volume) < -0.2
    np.testing.assert_array_equal(bright, -dark)


def test_scale_of_the_grand_model_only_scales_the_tomogram():
    volume = phantom(SLAB, 1.0)
    one = simulate_tomogram(volume, small_config(), np.random.default_rng(0))
    thousand = simulate_tomogram(volume * 1000, small_config(), np.random.default_rng(0))
    np.testing.assert_allclose(thousand, one * 1000, rtol=1e-3, atol=one.std())


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((4, 5, 6)), "constant"),
        (np.full((4, 5, 6), np.nan), "NaN"),
        (np.zeros((5, 6)), "three axes"),
    ],
)
def test_unusable_grand_models_are_refused(volume, message):
    with pytest.raises(DualError, match=message):
        simulate_tomogram(volume, small_config(), np.random.default_rng(0))


@pytest.mark.parametrize(
    "changes",
    [
        {"voxel_size_A": 0.0},
        {"tilt_range": (60.0, -60.0)},
        {"tilt_range": (-100.0, 60.0)},
        {"tilt_step": 0.0},
        {"tilt_step": 500.0},
        {"snr": 0.0},
        {"snr": math.nan},
        {"defocus_um": math.nan},
        {"cs_mm": -1.0},
        {"amplitude_contrast": 1.5},
        {"solvent_share": -0.1},
        {"mtf_nyquist": 0.0},
        {"weighting": "boxcar"},
        {"contrast": "inverted"},
        {"dose_order": "random"},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(DualError, match="give"):
        small_config(**changes)
