"""What the wizards propose, without a form: sides of patches, tsIds, diameters."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, List, Tuple
from unittest import TestCase

from dual_core.errors import DualError
from dual_scipion import Plugin
from dual_scipion.protocols.forms.train import METHODS
from dual_scipion.wizards import diameters, patch_sizes, ts_id_choice


class TestPatchSizes(TestCase):
    """The proposed sides, and which one is recommended."""

    def choices(self, sides: Tuple[int, int, int], voxel_size_A: float = 10.0) -> List[Any]:
        grid = patch_sizes.TrainingGrid(voxel_size_A, "", sides, "")
        return patch_sizes.patch_choices(grid, "stable")

    def test_the_engine_takes_them_and_no_smaller_one(self) -> None:
        code = (
            "import json; from dual_core.errors import DualError\n"
            "from dual_core.training.config import TrainingConfig, preset_config\n"
            "from dual_core.picking.pick import sigma_of_diameter, SMALLEST_SIGMA\n"
            "def takes(method, side):\n"
            "    try: return preset_config('quick', method, patch=side).patch == side\n"
            "    except DualError: return False\n"
            f"taken = {{m: [s for s in range(1, 97) if takes(m, s)] for m in {METHODS!r}}}\n"
            "print(json.dumps([taken, TrainingConfig().patch,"
            " SMALLEST_SIGMA / sigma_of_diameter(1, 1)]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=Plugin.getEnviron(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        taken, default, least = json.loads(done.stdout)
        self.assertEqual(default, patch_sizes.DEFAULT)
        self.assertAlmostEqual(least, diameters.SMALLEST_VOXELS)
        for method in METHODS:
            grid = patch_sizes.TrainingGrid(10.0, "", (99, 99, 99), "")
            proposed = [c.voxels for c in patch_sizes.patch_choices(grid, method)]
            self.assertLessEqual(set(proposed), set(taken[method]))
            self.assertEqual(min(proposed), min(taken[method]))
            self.assertIn(default, proposed)

    def test_angstrom_follow_the_voxel_size(self) -> None:
        for voxel_size_A in (5.0, 13.6):
            for choice in self.choices((99, 99, 99), voxel_size_A):
                self.assertAlmostEqual(choice.edge_A, choice.voxels * voxel_size_A)
                self.assertTrue(choice.suits(choice.edge_A / 2))
                self.assertFalse(choice.suits(choice.edge_A / 1.4))
                self.assertFalse(choice.suits(choice.edge_A / 3.1))

    def test_none_is_larger_than_the_thinnest_volume(self) -> None:
        fitting = [choice.voxels for choice in self.choices((40, 200, 41)) if choice.fits]
        self.assertEqual(fitting, [24, 32, 40])

    def test_recommended_fits_and_has_room_for_the_particle(self) -> None:
        for thinnest in (24, 33, 64, 200):
            choices = self.choices((thinnest, 300, 300))
            for diameter_A in (50, 130, 200, 280, 420, 900):
                best = patch_sizes.recommended(choices, diameter_A)
                assert best is not None
                self.assertTrue(best.fits)
                larger = [c for c in choices if c.fits and c.voxels > best.voxels]
                if best.largest_particle_A < diameter_A:
                    self.assertEqual(larger, [])
                if best.voxels < patch_sizes.DEFAULT:
                    self.assertEqual(larger, [])
        choices = self.choices((99, 99, 99))
        self.assertIs(patch_sizes.recommended(choices, 200), choices[1])  # 32, the default
        self.assertIsNone(patch_sizes.recommended(self.choices((20, 99, 99)), 200))

    def test_judgements_differ(self) -> None:
        choices = self.choices((56, 99, 99))
        said = [patch_sizes.judgement(choice, 200, 56).split(":")[0] for choice in choices]
        self.assertEqual(said, ["tight"] + 4 * ["suits"] + 3 * ["too large"])
        self.assertTrue(patch_sizes.judgement(choices[4], 100, 56).startswith("roomy"))


class TestTsIdChoice(TestCase):
    """Between the list and the field of the form."""

    NAMES = ("TS_1", "TS_2", "lamella_1")

    def test_what_was_chosen_comes_back(self) -> None:
        for text in ("TS_2", "TS_1 lamella_1"):
            for is_all in (False, True):
                chosen, unknown = ts_id_choice.chosen_names(text, self.NAMES, is_all)
                self.assertEqual(unknown, [])
                self.assertEqual(ts_id_choice.field_text(self.NAMES, chosen, is_all), text)

    def test_an_empty_field_means_all_or_nothing(self) -> None:
        chosen, _ = ts_id_choice.chosen_names("", self.NAMES, True)
        self.assertEqual(chosen, set(self.NAMES))
        self.assertEqual(ts_id_choice.field_text(self.NAMES, chosen, True), "")
        chosen, _ = ts_id_choice.chosen_names(" ", self.NAMES, False)
        self.assertEqual(chosen, set())
        self.assertEqual(ts_id_choice.field_text(self.NAMES, chosen, False), "")
        full = ts_id_choice.field_text(self.NAMES, set(self.NAMES), False)
        self.assertEqual(full, "TS_1 TS_2 lamella_1")
        with self.assertRaises(DualError):
            ts_id_choice.field_text(self.NAMES, set(), True)

    def test_names_that_the_set_lacks_are_told(self) -> None:
        chosen, unknown = ts_id_choice.chosen_names("TS_9, TS_1", self.NAMES, True)
        self.assertEqual((chosen, unknown), ({"TS_1"}, ["TS_9"]))

    def test_search(self) -> None:
        rows = [ts_id_choice.TomogramRow(name, "", "", "") for name in self.NAMES]
        for typed, found in (
            ("", self.NAMES),
            ("ts", ("TS_1", "TS_2")),
            ("_1", ("TS_1", "lamella_1")),
            ("1 LAM", ("lamella_1",)),
            ("nobody", ()),
        ):
            self.assertEqual([row.name for row in ts_id_choice.matching(rows, typed)], list(found))


class TestDiameters(TestCase):
    """Limits, typed numbers, advice."""

    def test_limits_hold_particles_that_can_be_picked(self) -> None:
        for shape in ((3, 4), (192, 192), (4096, 3000)):
            for voxel_size_A in (1.35, 10.0, 21.4):
                low, high = diameters.diameter_limits(shape, voxel_size_A)
                self.assertLess(low, high)
                self.assertGreaterEqual(low, diameters.SMALLEST_VOXELS * voxel_size_A)

    def test_typed_numbers(self) -> None:
        self.assertEqual(diameters.parse_diameter(" 150,5 "), 150.5)
        for text in ("", "0", "-3", "nan", "inf", "large", "1 2"):
            with self.assertRaises(DualError):
                diameters.parse_diameter(text)

    def test_advice(self) -> None:
        self.assertEqual(diameters.advice(150, 10), "15.0 voxels of 10 Å")
        self.assertIn("too small", diameters.advice(15, 10))
        self.assertIn("coarse", diameters.advice(40, 10))
        self.assertIn("faster", diameters.advice(300, 2))
