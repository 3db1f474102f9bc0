"""The pictures of the viewers: slices, differences, spectra; what is told where one is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Tuple
from unittest import TestCase, mock

import numpy as np

from dual_core.errors import DualError
from dual_scipion.slices import read_columns
from dual_scipion.tests import support
from dual_scipion.viewers import planes, spectra
from dual_scipion.viewers.scene import Scene
from dual_scipion.viewers.shown import Difference, Shown

SHAPE = (20, 24, 28)  # (z, y, x)


class FolderTest(TestCase):
    """A folder for files, removed afterwards."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dual"))
        self.addCleanup(shutil.rmtree, str(self.folder), ignore_errors=True)

    def write(self, name: str, volume: np.ndarray) -> str:
        """Write a volume; return its path."""
        return support.write_volume(self.folder / name, volume)


class TestPlanes(FolderTest):
    """Slices, differences, circles."""

    def test_slices_of_every_mode_are_those_of_the_volume(self) -> None:
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 120
        for dtype in ("int8", "int16", "uint16", "float16", "float32"):
            volume = values.astype(dtype)
            path = self.write(f"{dtype}.mrc", volume)
            for plane, expected in (
                ("xy", volume[7]),
                ("xz", volume[:, 7]),
                ("yz", volume[:, :, 7]),
            ):
                found = planes.cut(path, plane, 7)
                self.assertEqual(found.dtype, np.float32)
                np.testing.assert_array_equal(found, expected.astype(np.float32))
            self.assertEqual(spectra.central_block(path).shape, SHAPE)
            self.assertTrue(np.isfinite(planes.sample(path)).all())

    def test_unsigned_differences_do_not_wrap_around(self) -> None:
        small, large = np.full((3, 3), 2, np.uint16), np.full((3, 3), 5, np.uint16)
        left = planes.rest(small, large, planes.Relation(1.0, 0.0))
        np.testing.assert_array_equal(left, -3.0)

    def test_units_that_differ_are_fitted_and_the_same_are_not(self) -> None:
        generator = np.random.default_rng(0)
        part, noise = generator.normal(size=(2, 4, 50, 50))
        whole = 3 * part + 7 + noise
        fitted = planes.relate(whole, part, fitted=True)
        self.assertAlmostEqual(fitted.slope, 3, delta=0.05)
        np.testing.assert_allclose(planes.rest(whole, part, fitted), noise, atol=0.2)
        # Half the noise stayed: a fit would take it for signal and multiply the result.
        blended = part + 5 * noise
        same = planes.relate(part + 10 * noise, blended, fitted=False)
        self.assertEqual(same.slope, 1.0)
        self.assertEqual(planes.relate(whole, -part, fitted=False).slope, -1.0)
        with self.assertRaisesRegex(DualError, "different sizes"):
            planes.relate(whole, part[:2], fitted=True)

    def test_constant_and_unfinished_volumes_can_be_compared(self) -> None:
        constant, broken = np.ones((2, 3, 3)), np.full((2, 3, 3), np.nan)
        self.assertEqual(planes.relate(constant, constant, fitted=True), (0.0, 1.0))
        self.assertEqual(planes.relate(constant, broken, fitted=False), (1.0, 0.0))

    def test_a_sample_is_from_all_over_the_volume_and_small(self) -> None:
        depths = np.broadcast_to(np.arange(64)[:, None, None], (64, 600, 4)).astype(np.float32)
        sample = planes.sample(self.write("deep.mrc", depths))
        self.assertLess(sample.size, depths.size / 8)
        self.assertLess(sample.min(), 8)
        self.assertGreater(sample.max(), 55)

    def test_slices_along_columns_are_those_of_the_file_also_after_it_has_changed(self) -> None:
        volume = np.random.default_rng(3).normal(size=(5, 6, 70)).astype(np.float32)
        path = self.write("columns.mrc", volume)
        with mock.patch.object(planes, "read_columns", wraps=read_columns) as read:
            for x in range(70):
                np.testing.assert_array_equal(planes.cut(path, "yz", x), volume[:, :, x])
            self.assertEqual(read.call_count, 3, "neighbours are read together")
        np.testing.assert_array_equal(planes.cut(path, "yz", 99), volume[:, :, -1])
        found = planes.cut(path, "yz", 4)
        found += 1  # what is given out is the caller's own
        np.testing.assert_array_equal(planes.cut(path, "yz", 4), volume[:, :, 4])
        other = self.write("columns.mrc", volume[:, :, :9] + 2)
        os.utime(other, ns=(1, 1))
        np.testing.assert_array_equal(planes.cut(path, "yz", 4), volume[:, :, 4] + 2)
        os.unlink(path)
        with self.assertRaisesRegex(DualError, "does not exist"):
            planes.cut(path, "yz", 4)

    def test_circles_are_where_the_slice_cuts_the_balls(self) -> None:
        positions = np.array([(10.0, 20.0, 5.0), (11.0, 21.0, 8.0), (12.0, 22.0, 9.0)])
        which, centres, radii = planes.circles(positions, 4.0, "xy", 5)
        np.testing.assert_array_equal(which, [0, 1])
        np.testing.assert_array_equal(centres, [(10, 20), (11, 21)])
        np.testing.assert_allclose(radii, [4.0, np.sqrt(16 - 9)])
        which, centres, _ = planes.circles(positions[:1], 4.0, "xz", 20)
        np.testing.assert_array_equal(centres, [(10, 5)])
        which, centres, _ = planes.circles(positions[:1], 4.0, "yz", 10)
        np.testing.assert_array_equal(centres, [(20, 5)])
        self.assertEqual(planes.circles(np.zeros((0, 3)), 4.0, "xy", 0)[0].size, 0)

    def test_pictures_are_arranged_so_that_they_are_large(self) -> None:
        self.assertEqual(planes.arrangement(3, picture=1.0, window=3.0), (1, 3))
        self.assertEqual(planes.arrangement(3, picture=6.0, window=2.0), (3, 1))
        self.assertEqual(planes.arrangement(3, picture=2.0, window=1.8), (2, 2))


class TestSpectra(FolderTest):
    """Power spectra."""

    def test_white_noise_is_flat_and_has_the_power_of_its_variance(self) -> None:
        block = np.random.default_rng(1).normal(5, 3, (64, 64, 64)).astype(np.float32)
        found = spectra.spectrum(block, 10.0, spectra.deviation(block))
        self.assertEqual(found.frequency[-1], 1 / 20)
        low, high = found.radial[8:20].mean(), found.radial[20:].mean()
        self.assertAlmostEqual(float(low - high), 0, delta=0.03)
        # log10 of the window's mean square, (3/8)^3, less that of a noise power's mean logarithm.
        expected = 3 * np.log10(3 / 8) - np.euler_gamma / np.log(10)
        self.assertAlmostEqual(float(found.radial[8:].mean()), expected, delta=0.02)
        louder = spectra.spectrum(2 * block, 10.0, spectra.deviation(block))
        self.assertAlmostEqual(float((louder.radial - found.radial).mean()), np.log10(4), places=3)

    def test_a_wave_is_where_its_frequency_is(self) -> None:
        z, _, x = np.indices((32, 48, 64))
        block = np.sin(2 * np.pi * (z / 8 + x / 4)).astype(np.float32)
        found = spectra.spectrum(block, 10.0, 1.0)
        self.assertEqual(found.planes["y"].shape, (32, 64))
        peak = np.unravel_index(found.planes["y"].argmax(), found.planes["y"].shape)
        frequency = ((peak[0] - 16) / 32, (peak[1] - 32) / 64)
        self.assertIn(frequency, [(1 / 8, 1 / 4), (-1 / 8, -1 / 4)])
        highest = found.frequency[found.radial.argmax()]
        self.assertAlmostEqual(highest, np.hypot(1 / 8, 1 / 4) / 10, delta=1 / 320)

    def test_a_missing_wedge_is_dark_about_the_vertical_axis(self) -> None:
        noise = np.random.default_rng(2).normal(size=(48, 48, 48))
        fz, _, fx = np.meshgrid(*[np.fft.fftfreq(48)] * 3, indexing="ij")
        missing = np.abs(fx) < np.abs(fz) * np.tan(np.radians(30))
        block = np.fft.ifftn(np.where(missing, 0, np.fft.fftn(noise))).real
        plane = spectra.spectrum(block, 10.0, 1.0).planes["y"]
        self.assertLess(plane[40, 24], plane[24, 40] - 1)

    def test_only_the_middle_of_a_large_volume_is_read(self) -> None:
        volume = np.zeros((140, 10, 150), np.int8)
        volume[6:134, :, 11:139] = 1
        block = spectra.central_block(self.write("large.mrc", volume))
        self.assertEqual(block.shape, (128, 10, 128))
        self.assertTrue((block == 1).all())
        flat = spectra.spectrum(block, 10.0, spectra.deviation(block))
        self.assertTrue(np.isfinite(flat.radial).all())


class TestScene(FolderTest):
    """Volumes side by side."""

    def volumes(self) -> Shown:
        signal = support.density(SHAPE)
        noise = np.random.default_rng(0).normal(0, 1, SHAPE)
        raw = np.rint(10 * (signal + noise)).astype(np.int8)
        paths = (
            ("raw", self.write("raw.mrc", raw)),
            ("denoised", self.write("denoised.mrc", (10 * signal).astype(np.float32))),
        )
        return Shown("TS", 10.0, paths, Difference("removed", 0, 1), same_units=True)

    def test_all_panels_of_a_slice(self) -> None:
        classes = np.zeros(SHAPE, np.int8)
        classes[10, 3, 4] = 2
        shown = self.volumes()._replace(
            classes=self.write("classes.mrc", classes), class_names={2: "ribosome"}
        )
        scene = Scene(shown)
        self.assertEqual((scene.shape, scene.count, scene.classes), (SHAPE, 4, [2]))
        raw, denoised, removed, coloured = scene.pictures("xy", 10)
        assert raw.image is not None and denoised.image is not None and removed.image is not None
        difference = raw.image - denoised.image
        self.assertAlmostEqual(float(np.std(removed.image - difference)), 0, places=4)
        assert coloured.classes is not None
        self.assertEqual(coloured.classes[3, 4], 2)
        self.assertEqual((scene.class_name(2), scene.class_name(1)), ("2 ribosome", "class 1"))
        self.assertTrue(all(low < high for low, high in (p.limits for p in (raw, removed))))
        limits = [picture.limits for picture in scene.pictures("yz", 1)]
        self.assertEqual(limits[0], raw.limits, "the brightness does not change with the slice")
        titles = [title for title, _ in scene.spectra()]
        self.assertEqual(titles, ["raw", "denoised"])

    def test_what_is_explained_is_subtracted_as_it_is(self) -> None:
        shown = self.volumes()
        # Nearly nothing is explained, and that little has the other sign: no fit, no turning.
        explained = (-0.1 * support.density(SHAPE) + 3).astype(np.float32)
        path = self.write("explained.mrc", explained)
        shown = shown._replace(difference=Difference("removed", 0, 1, path=path))
        for plane, cut in (("xy", explained[7]), ("xz", explained[:, 7])):
            raw, _, removed = Scene(shown).pictures(plane, 7)
            assert raw.image is not None and removed.image is not None
            np.testing.assert_allclose(removed.image, raw.image - cut, atol=1e-5)
        os.unlink(shown.volumes[1][1])
        self.assertIsNotNone(Scene(shown).pictures("xy", 7)[2].image, "it needs no denoised one")
        os.unlink(path)
        self.assertIn("explained.mrc", Scene(shown).pictures("xy", 7)[2].problem)

    def test_a_missing_file_is_told_in_its_panel(self) -> None:
        shown = self.volumes()
        path = shown.volumes[1][1]
        os.unlink(path)
        raw, denoised, removed = Scene(shown).pictures("xy", 3)
        self.assertIsNotNone(raw.image)
        self.assertIn("is gone", denoised.problem)
        self.assertIn("both volumes", removed.problem)
        self.assertEqual([title for title, _ in Scene(shown).spectra()], ["raw"])
        Path(path).write_bytes(b"no volume" * 500)
        self.assertIn("denoised.mrc", Scene(shown).pictures("xy", 3)[1].problem)

    def test_a_file_that_goes_while_the_window_is_open(self) -> None:
        shown = self.volumes()
        scene = Scene(shown)
        for _, path in shown.volumes:
            os.unlink(path)
        self.assertTrue(all(picture.problem for picture in scene.pictures("xy", 3)))
        with self.assertRaises(DualError):
            scene.spectra()

    def test_volumes_of_different_sizes_have_no_difference(self) -> None:
        shown = self.volumes()
        self.write("denoised.mrc", np.zeros((5, 6, 7), np.float32))
        self.assertIn("different sizes", Scene(shown).pictures("xy", 3)[2].problem)


class TestLargeVolumes(FolderTest):
    """What stands in until a slice has been read, and smaller pictures for small panels."""

    def volume(self) -> Tuple[str, np.ndarray]:
        volume = np.random.default_rng(5).normal(size=(20, 30, 8)).astype(np.float32)
        return self.write("large.mrc", volume), volume

    def test_a_slice_along_the_columns_is_first_shown_coarsely(self) -> None:
        path, volume = self.volume()
        scene = Scene(Shown("TS", 10.0, (("raw", path),)))
        with mock.patch.object(planes, "_MANY_ROWS", 100), mock.patch.object(
            planes, "_THIN_SIDE", 10
        ):
            (rough,), (fine,) = scene.views("yz", 4)
            assert rough.image is not None and fine.image is not None
            np.testing.assert_array_equal(rough.image, volume[::3, ::3, 4])
            self.assertEqual(rough.extent, (-1.5, 28.5, -1.5, 19.5))
            np.testing.assert_array_equal(fine.image, volume[:, :, 4])
            self.assertEqual(fine.extent, (-0.5, 29.5, -0.5, 19.5))
            self.assertEqual(len(list(scene.views("yz", 4))), 1, "it is kept")
            self.assertEqual(len(list(scene.views("yz", 5))), 1, "it is in the slab")
            self.assertEqual(len(list(scene.views("xy", 5))), 1, "it is read at once")

    def test_what_is_not_wanted_any_more_is_not_read(self) -> None:
        path, _ = self.volume()
        scene = Scene(Shown("TS", 10.0, (("raw", path),)))
        self.assertEqual(list(scene.views("yz", 4, stale=lambda: True)), [])
        self.assertEqual(len(list(scene.views("yz", 4))), 1)

    def test_a_small_panel_gets_the_means_of_voxels(self) -> None:
        path, volume = self.volume()
        scene = Scene(Shown("TS", 10.0, (("raw", path),)))
        ((picture,),) = scene.views("xz", 7, factor=3)
        assert picture.image is not None
        self.assertEqual((picture.image.shape, picture.extent), ((6, 2), (-0.5, 5.5, -0.5, 17.5)))
        self.assertAlmostEqual(float(picture.image[1, 1]), float(volume[3:6, 7, 3:6].mean()), 5)

    def test_a_window_without_a_size_yet_gets_a_picture_as_well(self) -> None:
        """It asks for one value of all voxels; without any value it could draw nothing later."""
        path, volume = self.volume()
        scene = Scene(Shown("TS", 10.0, (("raw", path),), classes=path))
        (pictures,) = scene.views("xy", 3, factor=10_000)
        side = min(volume.shape[1:])
        for picture in pictures:
            assert picture.image is not None
            self.assertGreater(picture.image.size, 0)
            left, right, *_ = picture.extent
            self.assertEqual(right - left, side * picture.image.shape[1])

    def test_only_so_many_bytes_are_kept(self) -> None:
        kept = planes.Kept(100)
        for key in range(4):
            kept.keep(key, np.zeros(40, np.uint8))
            kept.get(0)
        self.assertEqual([key for key in range(4) if kept.get(key) is not None], [0, 3])

    def test_the_wedge_of_either_tilt_axis_has_its_plane(self) -> None:
        noise = np.random.default_rng(2).normal(size=(48, 48, 48))
        fz, fy, _ = np.meshgrid(*[np.fft.fftfreq(48)] * 3, indexing="ij")
        missing = np.abs(fy) < np.abs(fz) * np.tan(np.radians(30))
        block = np.fft.ifftn(np.where(missing, 0, np.fft.fftn(noise))).real
        found = spectra.spectrum(block, 10.0, 1.0).planes
        self.assertLess(found["x"][40, 24], found["x"][24, 40] - 1)
        self.assertLess(found["y"][40, 44], found["x"][24, 40] - 1, "it lies inside the wedge")
