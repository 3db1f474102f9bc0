"""Where a position of a slice is on the screen, and what the picture shows there."""

from __future__ import annotations

from typing import Iterator
from unittest import TestCase

import numpy as np

from dual_scipion.wizards.slice_view import LARGEST_ZOOM, SliceView, cut_image, grey_image


class TestSliceView(TestCase):
    """Where a position of a slice is on the screen."""

    def views(self) -> Iterator[SliceView]:
        for shape in ((206, 94), (192, 192), (30, 400)):
            view = SliceView.of_whole(shape, (600, 500))
            yield view
            yield view.zoomed(3, 100, 20)
            yield view.zoomed(5, 30, 30).moved(40, -25)

    def test_there_and_back(self) -> None:
        for view in self.views():
            for position in ((0.0, 0.0), (17.3, 4.2)):
                back = view.to_slice(*view.to_canvas(*position))
                np.testing.assert_allclose(back, position, atol=1e-9)

    def test_whole_slice_fits_and_voxels_are_square(self) -> None:
        for shape in ((206, 94), (192, 192), (30, 400)):
            view = SliceView.of_whole(shape, (600, 500))
            width, height = view.canvas
            self.assertTrue(width <= 600 and height <= 500)
            self.assertTrue(width == 600 or height == 500)
            self.assertAlmostEqual(view.scale[0], view.scale[1], delta=0.02 * view.scale[0])
            self.assertEqual(view.region, (0, 0, shape[1], shape[0]))

    def test_y_points_upwards(self) -> None:
        view = SliceView.of_whole((100, 100), (200, 200))
        self.assertEqual(view.to_canvas(10, 90), (20, 20))

    def test_what_is_under_the_mouse_stays_there(self) -> None:
        view = SliceView.of_whole((100, 100), (200, 200))
        for factor in (1.5, 4, 0.8):
            nearer = view.zoomed(2, 80, 120)
            zoomed = nearer.zoomed(factor, 90, 110)
            np.testing.assert_allclose(zoomed.to_slice(90, 110), nearer.to_slice(90, 110))

    def test_dragging_moves_the_picture_with_the_mouse(self) -> None:
        view = SliceView.of_whole((100, 100), (200, 200)).zoomed(4, 100, 100)
        before = view.to_canvas(50, 50)
        after = view.moved(12, -7).to_canvas(50, 50)
        np.testing.assert_allclose(np.subtract(after, before), (12, -7))

    def test_never_beyond_the_slice(self) -> None:
        for view in self.views():
            for changed in (view.moved(9e3, -9e3), view.moved(-9e3, 9e3), view.zoomed(0.01, 0, 0)):
                left, bottom, right, top = changed.region
                self.assertTrue(min(left, bottom) > -1e-6)
                self.assertTrue(right < view.shape[1] + 1e-6 and top < view.shape[0] + 1e-6)
            self.assertLessEqual(view.zoomed(1e6, 5, 5).zoom, LARGEST_ZOOM)

    def test_the_picture_shows_what_the_view_says(self) -> None:
        array = np.zeros((60, 80))
        array[12, 65] = 1  # (y, x)
        image = grey_image(array, 0, 1)
        whole = SliceView.of_whole((60, 80), (800, 600))
        for view in (whole, whole.zoomed(3, 650, 470), whole.zoomed(2, 700, 400).moved(-20, -30)):
            column, row = view.to_canvas(65.5, 12.5)
            picture = np.asarray(cut_image(image, view))
            self.assertEqual(picture.shape[::-1], view.canvas)
            self.assertGreater(picture[int(row), int(column)], 200)
            self.assertLess(picture[int(row) - 60, int(column) - 60], 50)

    def test_inverted_is_the_negative(self) -> None:
        array = np.linspace(0, 1, 35).reshape(5, 7)
        plain = np.asarray(grey_image(array, 0, 1)).astype(int)
        inverted = np.asarray(grey_image(array, 0, 1, inverted=True)).astype(int)
        np.testing.assert_array_equal(plain + inverted, 255)
