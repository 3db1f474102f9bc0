"""The pictures of volumes that are shown side by side: slice by slice, each with its brightness."""

from __future__ import annotations

import os
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_scipion.slices import display_range, read_shape
from dual_scipion.viewers import planes, spectra
from dual_scipion.viewers.shown import Shown

CLASSES = "classes"
_KEPT_BYTES = 256 << 20  # of pictures
Stale = Callable[[], bool]


class Picture(NamedTuple):
    """One panel at one slice.

    Attributes
    ----------
    title : str
    image : ndarray, (vertical, horizontal), or None
        Where it is a smaller one, a value stands for several voxels along both axes.
    limits : values that are black and white.
    classes : ndarray of int, (vertical, horizontal), or None
        Drawn over the image; 0 is nothing.
    problem : why there is no image, for the user.
    extent : of the image in voxels: left, right, bottom, top.
    """

    title: str
    image: Optional[np.ndarray]
    limits: Tuple[float, float] = (0.0, 1.0)
    classes: Optional[np.ndarray] = None
    problem: str = ""
    extent: Tuple[float, float, float, float] = (-0.5, 0.5, -0.5, 0.5)


_Read = Callable[[str, str], Optional[np.ndarray]]


class _NothingError(Exception):
    """There is nothing to show yet."""


class Scene:
    """Reads slices of what belongs together.

    Samples of all volumes are taken at once, so that brightness is the same in all slices. What
    cannot be read is told in its panel and does not concern the others.

    Parameters
    ----------
    shown : Shown

    Attributes
    ----------
    shape : ``(z, y, x)`` of the first volume that can be read, or None.
    classes : the classes of the mask.
    """

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.shape: Optional[Tuple[int, int, int]] = None
        self.classes: List[int] = []
        self._problems: Dict[str, str] = {}
        self._limits: Dict[str, Tuple[float, float]] = {}
        self._relation: Optional[planes.Relation] = None
        self._kept = planes.Kept(_KEPT_BYTES)
        samples: Dict[int, np.ndarray] = {}
        for number, (title, path) in enumerate(shown.volumes):
            try:
                if not os.path.exists(path):
                    raise DualError(f"{path} is gone: it was moved, renamed or deleted")
                samples[number] = planes.sample(path)
                self.shape = self.shape or read_shape(path)
            except DualError as error:
                self._problems[title] = str(error)
                continue
            self._limits[title] = display_range(samples[number])
        self._prepare_difference(samples)
        self._prepare_classes()

    def _prepare_difference(self, samples: Dict[int, np.ndarray]) -> None:
        wanted = self.shown.difference
        if wanted is None:
            return
        if wanted.whole not in samples or (wanted.path is None and wanted.part not in samples):
            self._problems[wanted.title] = "this needs both volumes"
            return
        whole = samples[wanted.whole]
        try:
            part = samples[wanted.part] if wanted.path is None else planes.sample(wanted.path)
            self._relation = planes.relate(whole, part, wanted.fitted)
            if wanted.path is not None:  # the engine made it to be subtracted as it is
                self._relation = planes.Relation(1.0, 0.0)
            values = planes.rest(whole, part, self._relation)
        except DualError as error:
            self._problems[wanted.title] = str(error)
            return
        self._limits[wanted.title] = display_range(values)

    def _prepare_classes(self) -> None:
        if self.shown.classes is None:
            return
        try:
            found = np.unique(planes.sample(self.shown.classes)).astype(int)
        except DualError as error:
            self._problems[CLASSES] = str(error)
            return
        # A sample may miss small ones, whose names are known.
        known = self.shown.class_names or {}
        self.classes = sorted({int(value) for value in (*found, *known) if value > 0})

    @property
    def relation(self) -> Optional[planes.Relation]:
        """How the volumes of the difference go together; None if there is none."""
        return self._relation

    def limits(self, title: str) -> Optional[Tuple[float, float]]:
        """The values of a panel that are black and white; None if it cannot be shown."""
        return self._limits.get(title)

    @property
    def count(self) -> int:
        """How many panels there are."""
        further = (self.shown.difference is not None) + (self.shown.classes is not None)
        return len(self.shown.volumes) + further

    def pictures(self, plane: str, index: int) -> List[Picture]:
        """All panels at a slice: the volumes, their difference, the classes.

        Raises nothing: a panel that cannot be read has a `problem` in it.
        """
        *_, found = self.views(plane, index)
        return found

    def views(
        self, plane: str, index: int, factor: int = 1, stale: Stale = lambda: False
    ) -> Iterator[List[Picture]]:
        """The same, first in a quick coarse view where the volumes are large (see `thinned`).

        Parameters
        ----------
        plane, index : the slice.
        factor : so many voxels along both axes become one value of the images.
        stale : whether the slice is not wanted any more; what takes long is broken off then.
        """
        key = plane, index, factor
        found = self._kept.get(key)
        if found is None:
            rough = self._collect(lambda path: planes.thinned(path, plane, index))
            if rough is not None:
                depth, height = (self.shape or (1, 1, 1))[:2]
                yield [_placed(picture, planes.thinning(depth, height), 0.5) for picture in rough]
            found = self._collect(lambda path: planes.cut_unless(stale, path, plane, index))
            if found is None:
                return
            found = [_reduced(picture, factor) for picture in found]
            size = sum(one.nbytes for p in found for one in (p.image, p.classes) if one is not None)
            self._kept.keep(key, found, size)
        yield found

    def _collect(self, read: Callable[[str], Optional[np.ndarray]]) -> Optional[List[Picture]]:
        """All panels, by a way to read a slice; None if that gives nothing for one of them."""
        images: Dict[str, np.ndarray] = {}
        problems: Dict[str, str] = {}

        def image(title: str, path: str) -> Optional[np.ndarray]:
            """The slice of a file, or why there is none."""
            if title in self._problems:
                problems[title] = self._problems[title]
                return None
            if path not in images:
                try:
                    found = read(path)
                except (DualError, OSError) as error:
                    problems[title] = str(error)
                    return None
                if found is None:
                    raise _NothingError
                images[path] = found
            return images[path]

        try:
            pictures = [
                Picture(title, image(title, path), self._limits.get(title, (0.0, 1.0)))
                for title, path in self.shown.volumes
            ]
            if self.shown.difference is not None:
                pictures.append(self._difference(pictures, image))
            if self.shown.classes is not None:
                pictures.append(self._classes(pictures[len(self.shown.volumes) - 1], image))
        except _NothingError:
            return None
        return [
            picture._replace(problem=picture.problem or problems.get(picture.title, ""))
            if picture.image is None
            else picture
            for picture in pictures
        ]

    def _difference(self, pictures: List[Picture], read: _Read) -> Picture:
        wanted = self.shown.difference
        assert wanted is not None
        if self._relation is None:
            return Picture(wanted.title, None, problem=self._problems[wanted.title])
        whole = pictures[wanted.whole].image
        if wanted.path is None:
            part = pictures[wanted.part].image
        else:
            part = read(wanted.title, wanted.path)
            if part is None:
                return Picture(wanted.title, None)
        if whole is None or part is None:
            return Picture(wanted.title, None, problem="this needs both volumes")
        try:
            image = planes.rest(whole, part, self._relation)
        except DualError as error:
            return Picture(wanted.title, None, problem=str(error))
        return Picture(wanted.title, image, self._limits[wanted.title])

    def _classes(self, under: Picture, read: _Read) -> Picture:
        mask = read(CLASSES, str(self.shown.classes))
        if mask is None:
            return Picture(CLASSES, None)
        image = under.image
        if image is None or image.shape != mask.shape:
            image = np.zeros_like(mask)
        return Picture(CLASSES, image, under.limits, np.rint(mask).astype(np.int16))

    def class_name(self, number: int) -> str:
        """The name of a class, or its number."""
        name = (self.shown.class_names or {}).get(number)
        return f"{number} {name}" if name else f"class {number}"

    def spectra(self) -> List[Tuple[str, spectra.Spectrum]]:
        """Title and spectrum of every volume that can be read.

        In units of the first volume's deviation if the volumes can be compared, otherwise each
        in units of its own.

        Raises
        ------
        DualError
            If none can be read.
        """
        found: List[Tuple[str, spectra.Spectrum]] = []
        problem = "there is no volume"
        unit: Optional[float] = None
        for title, path in self.shown.volumes:
            try:
                block = spectra.central_block(path)
            except DualError as error:
                problem = str(error)
                continue
            if unit is None or not self.shown.same_units:
                unit = spectra.deviation(block)
            found.append((title, spectra.spectrum(block, self.shown.voxel_size_A, unit)))
        if not found:
            raise DualError(problem)
        return found


def _reduced(picture: Picture, factor: int) -> Picture:
    """A picture of fewer values, at its place; one at least, also for a window without a size."""
    if picture.image is None:
        return picture
    factor = max(1, min(factor, *picture.image.shape))
    return _placed(_smaller(picture, factor), factor, 0.5 / factor)


def _smaller(picture: Picture, factor: int) -> Picture:
    """A picture of fewer values, for a panel with fewer pixels."""
    if picture.image is None or factor < 2:
        return picture
    classes = picture.classes
    image = planes.smaller(picture.image, factor)
    if classes is not None:  # numbers have no mean
        classes = classes[::factor, ::factor][: image.shape[0], : image.shape[1]]
    return picture._replace(image=image, classes=classes)


def _placed(picture: Picture, step: int, before: float) -> Picture:
    """A picture whose values stand ``step`` voxels apart, the first one ``before`` of its width."""
    if picture.image is None:
        return picture
    rows, columns = picture.image.shape
    edge = -step * before
    return picture._replace(extent=(edge, edge + step * columns, edge, edge + step * rows))
