"""Metadata from Scipion to the engine and back, without running anything."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from pwem.objects import Volume
from pyworkflow.tests import BaseTest, setupTestProject
from tomo.constants import BOTTOM_LEFT_CORNER
from tomo.objects import SetOfCoordinates3D, SetOfTomoMasks, Tomogram, TomoMask

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_scipion import convert
from dual_scipion.objects import DualModel, domain_name, tilt_text
from dual_scipion.tests import support


class TestConvert(BaseTest):
    """One tomogram at a time, and sets of what was found in it."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        cls.addClassCleanup(shutil.rmtree, str(cls.folder), ignore_errors=True)
        cls.file = support.write_tomogram(cls.folder / "tomo.mrc")
        cls.result = support.write_tomogram(cls.folder / "result.mrc", seed=1)
        cls.inputs = support.Inputs(cls.proj)

    def test_derived_tomogram_keeps_metadata_but_not_the_halves(self) -> None:
        source = support.tomogram(
            self.file, "TS_1", (-10.0, 20.0, -30.0), halves=["h1.mrc", "h2.mrc"]
        )
        derived = convert.derived_tomogram(source, self.result)
        self.assertEqual(derived.getFileName(), self.result)
        self.assertEqual(derived.getTsId(), "TS_1")
        self.assertEqual(derived.getSamplingRate(), support.VOXEL_SIZE_A)
        self.assertEqual(derived.getShiftsFromOrigin(), (-10.0, 20.0, -30.0))
        self.assertEqual(convert.tilt_range(derived), support.TILTS_DEG)
        self.assertFalse(derived.hasHalfMaps())
        self.assertTrue(source.hasHalfMaps(), "the source stays as it was")

    def test_every_attribute_is_inherited_but_files_and_halves(self) -> None:
        file = support.write_tomogram(self.folder / "rich.mrc")
        source = support.rich_tomogram(file, "TS_rich", halves=["h1.mrc", "h2.mrc"])
        wanted = support.inherited(source)
        self.assertGreater(sum(value is not None for value in wanted.values()), 15)
        for kind in (Tomogram, TomoMask):
            derived = convert.derived_tomogram(source, self.result, kind=kind)
            found = support.inherited(derived)
            self.assertEqual({name: found.get(name) for name in wanted}, wanted, kind)
            self.assertFalse(derived.hasHalfMaps())

    def test_tomogram_without_acquisition_or_origin(self) -> None:
        source = support.tomogram(self.file, "TS_1", acquisition=False)
        derived = convert.derived_tomogram(source, self.result, ["a.mrc", "b.mrc"])
        self.assertIsNotNone(derived.getAcquisition())
        self.assertIsNone(convert.tilt_range(derived))
        self.assertEqual(derived.getShiftsFromOrigin(), source.getShiftsFromOrigin())
        self.assertEqual(derived.getHalfMaps(), "a.mrc,b.mrc")
        self.assertIsNone(source.getAcquisition(), "the source stays as it was")

    def test_volume_becomes_a_tomogram(self) -> None:
        volume = Volume(location=self.file)
        volume.setSamplingRate(4.0)
        derived = convert.derived_tomogram(volume, self.result)
        self.assertEqual((derived.getTsId(), derived.getSamplingRate()), ("tomo", 4.0))

    def test_names_and_paths(self) -> None:
        self.assertEqual(convert.safe_name("a b,c/d"), "a_b_c_d")
        self.assertEqual(convert.parse_names(" a, b\nc;d "), ["a", "b", "c", "d"])
        self.assertEqual(convert.parse_names(None), [])
        marked = Tomogram(location=self.file + ":mrc")
        self.assertEqual(convert.volume_path(marked), self.file)
        with self.assertRaisesRegex(DualError, "does not exist"):
            convert.volume_path(Tomogram(location="gone.mrc"))
        with self.assertRaisesRegex(DualError, "stack"):
            convert.volume_path(Volume(location=(2, self.file)))

    def test_halves_that_are_not_there_are_none(self) -> None:
        both = support.tomogram(self.file, "T", halves=[self.file, self.result])
        # By name, in whatever order they are listed.
        self.assertEqual(convert.half_paths(both), sorted([self.file, self.result]))
        both.setHalfMaps([self.result, self.file])
        self.assertEqual(convert.half_paths(both), sorted([self.file, self.result]))
        one = support.tomogram(self.file, "T", halves=[self.file, "gone.mrc"])
        self.assertEqual(convert.half_paths(one), [])
        self.assertEqual(convert.half_paths(support.tomogram(self.file, "T")), [])

    def test_picks_land_where_they_were_found(self) -> None:
        """Whatever the origin: x, y, z from the corner of the volume."""
        table = self.folder / "picks.csv"
        table.write_text(
            "x_voxel,y_voxel,z_voxel,score_sigmas,class\n3.6,5,7.2,0.5,2\n10,11,12,,\n",
            encoding="utf-8",
        )
        picks = convert.read_picks(str(table))
        origin = (-40.0, 30.0, 0.0)
        protocol = self.inputs.tomograms([support.tomogram(self.file, "TS_1", origin)])
        coordinates = SetOfCoordinates3D.create(protocol._getPath(), prefix="coordinates")
        convert.prepare_coordinates(coordinates, protocol.Tomograms, 24)
        (item,) = [one.clone() for one in protocol.Tomograms]
        self.assertEqual(convert.append_picks(coordinates, item, picks), 2)
        coordinates.write()
        self.assertEqual(coordinates.getBoxSize(), 24)
        self.assertEqual(coordinates.getSamplingRate(), support.VOXEL_SIZE_A)
        found = [
            (*one.getPosition(BOTTOM_LEFT_CORNER), one.getScore(), one.getGroupId())
            for one in coordinates.iterCoordinates()
        ]
        self.assertEqual(found, [(4, 5, 7, 0.5, 2), (10, 11, 12, 0.0, 1)])
        self.assertEqual(coordinates.getTSIds(), ["TS_1"])

    def test_other_tables_are_refused(self) -> None:
        table = self.folder / "other.csv"
        table.write_text("a,b\n1,2\n", encoding="utf-8")
        with self.assertRaisesRegex(DualError, "line 2"):
            convert.read_picks(str(table))

    def test_masks_know_their_tomogram(self) -> None:
        tomogram = support.tomogram(self.file, "TS_1", (-1.0, -2.0, -3.0))
        mask = convert.derived_mask(tomogram, self.result)
        masks = SetOfTomoMasks.create(str(self.folder), prefix="masks")
        masks.setSamplingRate(support.VOXEL_SIZE_A)
        masks.append(mask)
        masks.write()
        (found,) = [one.clone() for one in masks]
        self.assertEqual((found.getTsId(), found.getVolName()), ("TS_1", self.file))
        self.assertEqual(found.getShiftsFromOrigin(), (-1.0, -2.0, -3.0))

    def test_simulated_tomogram_is_centred(self) -> None:
        made = convert.new_tomogram(self.file, "S_1", 10.0, (-60, 60))
        z, y, x = support.SHAPE
        self.assertEqual(made.getShiftsFromOrigin(), (-5.0 * x, -5.0 * y, -5.0 * z))
        self.assertEqual(convert.tilt_range(made), (-60.0, 60.0))


class TestModelObject(BaseTest):
    """What lists show of a model."""

    def model(self, **card: Any) -> DualModel:
        model = DualModel("model.safetensors")
        model._fill(ModelCard(10.0, "bright", {}, iterations=600, **card))
        return model

    def test_it_shows_its_card(self) -> None:
        model = self.model(
            noisy_domain=[{"name": "SHREC_0.mrc"}, {"name": "SHREC_1.mrc"}],
            tilt_range_deg=(-60.0, 60.0),
        )
        self.assertEqual(
            str(model), "DualModel (10.00 A/px, 600 iterations, SHREC, 2 tomograms, +-60)"
        )
        self.assertEqual(str(self.model()), "DualModel (10.00 A/px, 600 iterations)")
        self.assertEqual(str(DualModel()), "DualModel (empty)")

    def test_names_and_tilts(self) -> None:
        self.assertEqual(domain_name([{"name": "a.mrc"}]), "a")
        self.assertEqual(domain_name([{"name": "a.mrc"}, {"name": "b.mrc"}]), "2 tomograms")
        self.assertEqual(domain_name([]), "")
        self.assertEqual(tilt_text(-60.0, 50.0), "-60..50")
        self.assertEqual(self.model(tilt_range_deg=(-60.0, 50.0)).getTiltRange(), (-60.0, 50.0))

    def test_a_clone_keeps_everything(self) -> None:
        model = self.model(tilt_range_deg=(-60.0, 50.0))
        copy = DualModel()
        copy.copy(model)
        self.assertEqual(str(copy), str(model))
        self.assertEqual(copy.getFiles(), {"model.safetensors"})
