"""Classical denoisers to compare with: Gaussian, anisotropic diffusion, non-local means.

Each is a frozen dataclass of its parameters; calling it denoises a volume ``(z, y, x)``, and
``tune`` finds the parameters on a validation pair. The grids are meant for tomograms of about 10
angstrom a voxel with the noise of cryo-ET; a warning is logged where the best parameters lie on
the edge of a grid. `topaz_denoise` runs a topaz that the user has installed, as a program of
its own.
"""

from __future__ import annotations

import itertools
import logging
import shlex
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import (
    Any,
    Callable,
    ClassVar,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
)

import numpy as np

from dual_core.errors import DualError
from dual_core.evaluation.truth.metrics import psnr, ssim, standardise
from dual_core.safety.leftovers import temporary_folder
from dual_core.volumes.reading import open_volume, write_volume

logger = logging.getLogger(__name__)

CRITERIA = ("psnr", "ssim")
Report = Callable[[int, int], None]
Grid = Dict[str, Tuple[float, ...]]
Kind = TypeVar("Kind", bound="ClassicalDenoiser")


@dataclass(frozen=True)
class Trial:
    """One point of a grid: the denoiser and its scores on the validation pair."""

    denoiser: ClassicalDenoiser
    psnr: float
    ssim: float


class ClassicalDenoiser:
    """What the baselines share; not used on its own."""

    label: ClassVar[str]
    GRID: ClassVar[Grid]

    @property
    def parameters(self) -> Dict[str, Any]:
        """The parameters by name."""
        return asdict(self)  # type: ignore[call-overload]

    def describe(self) -> str:
        """Return the parameters as ``name value, name value``."""
        return ", ".join(f"{name} {value:g}" for name, value in self.parameters.items())

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Denoise ``volume`` ``(z, y, x)``; float32, on the grey scale of the input.

        The filter itself works on the standardised volume: the parameters are in deviations.
        """
        mean = float(volume.mean(dtype=np.float64))
        std = float(volume.std(dtype=np.float64))
        return (self._filter(standardise(volume)) * std + mean).astype(np.float32)

    def _filter(self, volume: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @classmethod
    def candidates(cls: Type[Kind], grid: Optional[Grid] = None) -> List[Kind]:
        """Return a denoiser for every point of ``grid`` (by default ``GRID``)."""
        grid = cls.GRID if grid is None else grid
        return [cls(**dict(zip(grid, point))) for point in itertools.product(*grid.values())]

    @classmethod
    def tune(
        cls: Type[Kind],
        noisy: np.ndarray,
        truth: np.ndarray,
        criterion: str = "psnr",
        grid: Optional[Grid] = None,
        margin: int = 0,
        report: Optional[Report] = None,
    ) -> Tuple[Kind, List[Trial]]:
        """Find the best parameters on a validation pair.

        Parameters
        ----------
        noisy, truth : ndarray, (z, y, x)
            A tomogram and its truth, of one contrast; not the pair that is tested on.
        criterion : {"psnr", "ssim"}
            What is to be largest; "psnr" of standardised volumes is the correlation as well.
        grid : dict of name to values, optional
            Parameters to try; by default the class's ``GRID``.
        margin : int
            Voxels along every face that do not count.
        report : callable, optional
            ``report(done, total)`` after every trial.

        Returns
        -------
        best : ClassicalDenoiser
        trials : list of Trial
            All points of the grid, in its order.
        """
        if criterion not in CRITERIA:
            raise DualError(f"'{criterion}' is no criterion; use one of {', '.join(CRITERIA)}")
        grid = cls.GRID if grid is None else grid
        crop = tuple(slice(margin, side - margin) for side in truth.shape)
        goal = standardise(truth[crop])
        data_range = float(goal.max()) - float(goal.min())
        candidates = cls.candidates(grid)
        trials = []
        for number, candidate in enumerate(candidates, start=1):
            result = standardise(candidate(noisy)[crop])
            trial = Trial(candidate, psnr(result, goal, data_range), ssim(result, goal, data_range))
            trials.append(trial)
            scores = f"PSNR {trial.psnr:.2f}, SSIM {trial.ssim:.3f}"
            logger.info("%s, %s: %s", cls.label, candidate.describe(), scores)
            if report is not None:
                report(number, len(candidates))
        scores_of = [getattr(trial, criterion) for trial in trials]
        best = candidates[int(np.argmax(scores_of))]
        for name, values in grid.items():
            value = best.parameters[name]
            if len(values) > 2 and value in (min(values), max(values)):
                logger.warning(
                    "%s: the best %s, %g, is the edge of the grid", cls.label, name, value
                )
        return best, trials


@dataclass(frozen=True)
class Gaussian(ClassicalDenoiser):
    """Low-pass by a Gaussian of ``sigma`` voxels."""

    sigma: float = 2.0

    label: ClassVar[str] = "Gaussian"
    GRID: ClassVar[Grid] = {"sigma": (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)}

    def _filter(self, volume: np.ndarray) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(volume, self.sigma)


@dataclass(frozen=True)
class AnisotropicDiffusion(ClassicalDenoiser):
    """Nonlinear anisotropic diffusion (NAD; Perona and Malik 1990), by SimpleITK.

    ``conductance`` is in units of the mean gradient: smaller values keep more edges.
    """

    conductance: float = 4.0
    iterations: int = 40

    label: ClassVar[str] = "NAD"
    GRID: ClassVar[Grid] = {
        "conductance": (4.0, 8.0, 16.0, 32.0),
        "iterations": (20, 40, 60, 100),
    }
    # The explicit scheme is stable in three dimensions up to 1/16.
    TIME_STEP: ClassVar[float] = 1 / 16

    def _filter(self, volume: np.ndarray) -> np.ndarray:
        try:
            import SimpleITK
        except ImportError as error:
            raise DualError(
                "anisotropic diffusion needs the package SimpleITK; "
                "pip install 'scipion-em-dual[baselines]'"
            ) from error
        result = SimpleITK.GradientAnisotropicDiffusion(
            SimpleITK.GetImageFromArray(volume),
            timeStep=self.TIME_STEP,
            conductanceParameter=float(self.conductance),
            numberOfIterations=int(self.iterations),
        )
        return np.asarray(SimpleITK.GetArrayFromImage(result))


@dataclass(frozen=True)
class NonLocalMeans(ClassicalDenoiser):
    """Non-local means (Buades 2005) in the fast form of scikit-image.

    ``h`` is the cut-off of patch distances in deviations of the volume; patches of ``patch_size``
    voxels are compared within ``patch_distance`` voxels.
    """

    patch_size: int = 5
    patch_distance: int = 3
    h: float = 1.0

    label: ClassVar[str] = "NLM"
    # A search within 5 voxels takes four times as long and gained nothing on a validation pair.
    GRID: ClassVar[Grid] = {
        "patch_size": (3, 5, 7),
        "patch_distance": (3,),
        "h": (1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
    }

    def _filter(self, volume: np.ndarray) -> np.ndarray:
        from skimage.restoration import denoise_nl_means

        return denoise_nl_means(
            volume,
            patch_size=int(self.patch_size),
            patch_distance=int(self.patch_distance),
            h=float(self.h),
            fast_mode=True,
        )


METHODS: Tuple[Type[ClassicalDenoiser], ...] = (Gaussian, AnisotropicDiffusion, NonLocalMeans)


def tuned_baselines(
    noisy: np.ndarray,
    validation: Tuple[np.ndarray, np.ndarray],
    criterion: str = "psnr",
    margin: int = 0,
    methods: Sequence[Type[ClassicalDenoiser]] = METHODS,
) -> Iterator[Tuple[str, str, np.ndarray]]:
    """Tune each method on the ``(noisy, truth)`` validation pair and denoise ``noisy`` with it.

    Yields the label, the parameters as text and the denoised volume ``(z, y, x)``, one at a time.
    """
    for method in methods:
        best, _ = method.tune(*validation, criterion=criterion, margin=margin)
        yield method.label, best.describe(), best(noisy)


def topaz_denoise(
    volume: np.ndarray,
    voxel_size_A: float,
    command: str,
    model: str = "unet-3d-10a",
    arguments: Sequence[str] = (),
) -> np.ndarray:
    """Denoise with topaz, run as a separate program (it is never imported).

    Topaz pads with zeros before it normalises, so that the border depends on the grey scale: it is
    given the standardised volume, and a margin should be left out of the scores.

    Parameters
    ----------
    volume : ndarray, (z, y, x)
        With dark density, as topaz was trained.
    command : str
        What starts its 3D denoiser: ``topaz denoise3d`` or
        ``/path/python -m topaz.commands.denoise3d``; ``topaz`` alone is completed.
    model : str
        One of topaz's names: unet-3d-10a, unet-3d-20a.
    arguments : sequence of str
        Further options of topaz, for example ``["--device", "-1"]``.

    Raises
    ------
    DualError
        If the program cannot be started, fails or writes no volume.
    """
    words = shlex.split(command)
    if words and Path(words[-1]).name == "topaz":
        words.append("denoise3d")
    try:
        usage = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False)
    except (OSError, IndexError) as error:
        raise DualError(f"topaz cannot be started with '{command}'; check the command") from error
    # Newer versions choose the network by --arch and pay no heed to --model.
    choice = ["--model", model] + (["--arch", model] if "--arch" in usage.stdout else [])
    with temporary_folder() as folder:
        source, output = Path(folder, "tomogram.mrc"), Path(folder, "output")
        output.mkdir()
        write_volume(source, standardise(volume), voxel_size_A)
        call = [*words, *choice, "--output", str(output), "--suffix", "_denoised"]
        done = subprocess.run(
            [*call, *arguments, str(source)], capture_output=True, text=True, check=False
        )
        written = sorted(output.rglob("*.mrc"))
        if done.returncode != 0 or not written:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise DualError(f"topaz failed ({last}); try '{command}' on its own")
        return open_volume(written[0], require_voxel_size=False).load()
