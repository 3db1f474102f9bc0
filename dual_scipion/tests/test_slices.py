"""Reading single slices, their brightness, smoothing and scale bars."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from unittest import TestCase

import mrcfile
import numpy as np

from dual_core.errors import DualError
from dual_scipion import slices

SHAPE = (5, 7, 9)


def volume(dtype: str) -> np.ndarray:
    """Different values everywhere, ``(z, y, x)``, as whole numbers that any type holds."""
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 251
    return (values - (125 if dtype == "int8" else 0)).astype(dtype)


class TestReading(TestCase):
    """What is read is what is in the file, and what cannot be read is said in one line."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, data: np.ndarray, name: str = "volume.mrc") -> str:
        path = str(self.folder / name)
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(data)
        return path

    def test_every_slice_of_every_type_along_every_axis(self) -> None:
        for dtype in ("int8", "int16", "uint16", "float16", "float32"):
            data = volume(dtype)
            path = self.write(data)
            self.assertEqual(slices.read_shape(path), SHAPE)
            for axis in range(3):
                for index in range(SHAPE[axis]):
                    found = slices.read_slice(path, axis, index)
                    self.assertEqual(found.dtype, np.float32)
                    np.testing.assert_array_equal(found, np.take(data, index, axis))

    def test_beyond_the_volume_is_its_nearest_slice(self) -> None:
        data = volume("int16")
        path = self.write(data)
        np.testing.assert_array_equal(slices.read_slice(path, 0, -3), data[0])
        np.testing.assert_array_equal(slices.read_slice(path, 2, 99), data[:, :, -1])

    def test_mean_of_slices_is_cut_off_at_the_ends(self) -> None:
        data = volume("float32")
        path = self.write(data)
        for index, thickness, chosen in (
            (2, 1, [2]),
            (2, 3, [1, 2, 3]),
            (2, 4, [1, 2, 3, 4]),
            (0, 5, [0, 1, 2]),
            (4, 99, [0, 1, 2, 3, 4]),
        ):
            found = slices.read_mean_slice(path, index, thickness)
            np.testing.assert_allclose(found, data[chosen].mean(axis=0), rtol=1e-6)

    def test_a_slice_is_a_copy_and_the_file_is_closed(self) -> None:
        path = self.write(volume("float32"))
        found = slices.read_slice(path, 0, 1)
        Path(path).unlink()
        found += 1  # a view of a closed map would crash

    def test_unsigned_bytes_of_old_files(self) -> None:
        data = np.linspace(0, 255, int(np.prod(SHAPE))).astype(np.uint8).reshape(SHAPE)
        path = self.write(data.view(np.int8))
        with mrcfile.open(path, "r+") as file:
            file.header.dmin, file.header.dmax = 0, 255
        np.testing.assert_array_equal(slices.read_slice(path, 0, 4), data[4])
        self.write(data.view(np.int8))
        with mrcfile.open(path, "r+") as file:
            stamp = np.array([1146047817, 0], file.header.nx.dtype).tobytes()
            extra = file.header.extra2.tobytes()
            file.header.extra2 = extra[:40] + stamp + extra[48:]
        np.testing.assert_array_equal(slices.read_slice(path, 0, 4), data[4])

    def test_axes_in_another_order(self) -> None:
        data = volume("float32")
        # Columns are y, rows z, sections x: in the file the axes are (x, z, y).
        path = self.write(data.transpose(2, 0, 1))
        with mrcfile.open(path, "r+") as file:
            file.header.mapc, file.header.mapr, file.header.maps = 2, 3, 1
        self.assertEqual(slices.read_shape(path), SHAPE)
        np.testing.assert_array_equal(slices.read_slice(path, 0, 3), data[3])
        np.testing.assert_array_equal(slices.read_slice(path, 2, 3), data[:, :, 3])

    def test_what_cannot_be_read_is_one_line(self) -> None:
        whole = Path(self.write(volume("float32"))).read_bytes()
        broken = {
            "missing.mrc": None,
            "empty.mrc": b"",
            "text.mrc": b"no volume at all\n" * 100,
            "short.mrc": whole[:1500],
            "packed.mrc": gzip.compress(whole),
        }
        for name, content in broken.items():
            if content is not None:
                (self.folder / name).write_bytes(content)
            with self.assertRaises(DualError, msg=name) as caught:
                slices.read_slice(str(self.folder / name), 0, 0)
            self.assertIn(name, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaises(DualError):
            slices.read_slice(str(self.folder), 0, 0)
        for data in (volume("float32")[0], volume("float32").astype(np.complex64)):
            with self.assertRaises(DualError):
                slices.read_shape(self.write(data, "other.mrc"))


class TestPictures(TestCase):
    """Grey levels and smoothing."""

    def test_range_holds_the_middle_and_not_the_outliers(self) -> None:
        values = np.random.default_rng(0).normal(0, 1, (100, 100))
        values[0, 0], values[1, 1], values[2, 2] = 1e6, -1e6, np.nan
        low, high = slices.display_range(values)
        self.assertTrue(-4 < low < -2 and 2 < high < 4)

    def test_range_is_never_empty(self) -> None:
        rare = np.zeros((1000, 10))
        rare[3, 3] = 5
        full, bad = np.full((4, 4), 7.0), np.full((4, 4), np.nan)
        for values in (full, full * 1e9, np.zeros((3, 3)), bad, rare):
            low, high = slices.display_range(values)
            self.assertLess(low, high)

    def test_grey_levels_keep_the_order(self) -> None:
        grey = slices.as_bytes(np.array([[-9, 0, 1, 2, 4, 9, np.nan]]), 0, 4)
        self.assertEqual(grey.dtype, np.uint8)
        self.assertEqual(grey.tolist(), [[0, 0, 63, 127, 255, 255, 0]])

    def test_smoothing_keeps_the_mean_and_takes_noise_away(self) -> None:
        noise = np.random.default_rng(1).normal(3, 1, (40, 50)).astype(np.float32)
        before = noise.std()
        for sigma in (0.5, 1, 2):
            found = slices.smoothed(noise, sigma)
            self.assertEqual(found.shape, noise.shape)
            self.assertAlmostEqual(float(found.mean()), float(noise.mean()), 3)
            self.assertLess(found.std(), before)
            before = found.std()
        np.testing.assert_array_equal(slices.smoothed(noise, 0), noise)
        np.testing.assert_allclose(slices.smoothed(np.full((3, 4), 5.0), 4), 5, rtol=1e-5)

    def test_smoothing_is_a_gaussian_about_the_point(self) -> None:
        point = np.zeros((41, 41), np.float32)
        point[20, 20] = 1
        found = slices.smoothed(point, 2)
        np.testing.assert_allclose(found, found.T, atol=1e-7)
        np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-7)
        distance = np.arange(41) - 20
        self.assertAlmostEqual(float((found.sum(axis=0) * distance**2).sum()), 4, delta=0.15)

    def test_bars_are_round_and_of_fitting_length(self) -> None:
        for width in (40, 94, 192, 960, 4096):
            for voxel_size_A in (1.35, 7.9, 10, 13.6):
                bar = slices.scale_bar(width, voxel_size_A)
                self.assertAlmostEqual(bar.voxels * voxel_size_A, bar.length_A)
                self.assertTrue(0.1 <= bar.voxels / width <= 0.2501, (width, bar))
                self.assertIn(f"{bar.length_A:e}"[0], "125")
        self.assertEqual(slices.scale_bar(192, 10).label, "20 nm")
        self.assertEqual(slices.scale_bar(4096, 13.6).label, "1 µm")
        self.assertEqual(slices.scale_bar(20, 1).label, "5 Å")
