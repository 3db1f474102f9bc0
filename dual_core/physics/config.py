"""How a simulated tilt series is to be: the one configuration of the conventional simulator.

Standard library only, so that the command line can show the defaults without loading numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple

from dual_core.errors import DualError

CONTRASTS = ("dark", "bright")
DOSE_ORDERS = ("symmetric", "sequential")
WEIGHTINGS = ("ramp", "exact")


@dataclass(frozen=True)
class SimulatorConfig:
    """How the microscope, the specimen and the reconstruction are to behave.

    Attributes
    ----------
    voxel_size_A
        Voxel size of the grand model and of the tomogram.
    tilt_range, tilt_step
        Degrees. The range need not be symmetric; both of its ends are recorded.
    voltage_kV, cs_mm, amplitude_contrast
        Of the microscope.
    defocus_um, defocus_spread_um
        Mean underfocus, and standard deviation from tilt to tilt.
    phase_flip
        Correct the signs of the CTF before the reconstruction.
    snr
        Variance of the signal over variance of all noise in the recorded tilt images, mean over
        the tilts, in the columns of the untilted volume. None: no noise.
    solvent_share
        Part (0..1) of the noise variance that is solvent: white in the specimen, the same in all
        tilts and halves, and subject to the CTF. The rest is shot noise.
    free_path_A
        Mean free path of the electrons: shot noise grows with the path at high tilts.
    total_dose, dose_order, dose_weighting
        e/A^2 over the series and the order in which tilts are taken (``symmetric`` or
        ``sequential``): the specimen fades. 0: no damage. With `dose_weighting` the images are
        filtered by the same attenuation.
    mtf_nyquist, noise_mtf_nyquist
        Transfer of the detector at Nyquist for the signal, and for shot noise. Their squared
        ratio is the detective quantum efficiency there.
    weighting
        Of the back-projection: ``ramp`` or ``exact``.
    contrast
        ``dark``: density is dark, as experiments have it. ``bright``: inverted.

    Raises
    ------
    DualError
        For a value that makes no sense.
    """

    voxel_size_A: float
    tilt_range: Tuple[float, float] = (-60.0, 60.0)
    tilt_step: float = 3.0
    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    defocus_um: float = 3.6
    defocus_spread_um: float = 0.1
    phase_flip: bool = False
    snr: Optional[float] = 0.6
    solvent_share: float = 0.05
    free_path_A: float = 2000.0
    total_dose: float = 100.0
    dose_order: str = "symmetric"
    dose_weighting: bool = False
    mtf_nyquist: float = 0.5
    noise_mtf_nyquist: float = 0.3
    weighting: str = "ramp"
    contrast: str = "dark"

    def __post_init__(self) -> None:
        tilt_angles(self.tilt_range[0], self.tilt_range[1], self.tilt_step)
        for name in ("voxel_size_A", "voltage_kV", "free_path_A", "snr"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "above 0")
        for name in ("defocus_spread_um", "cs_mm", "total_dose"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "of 0 or more")
        for name in ("amplitude_contrast", "solvent_share", "mtf_nyquist", "noise_mtf_nyquist"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "within 0..1")
        for name in ("mtf_nyquist", "noise_mtf_nyquist"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        _require(abs(self.defocus_um) < 1e3, "defocus_um", self.defocus_um, "in micrometres")
        choices = {"dose_order": DOSE_ORDERS, "weighting": WEIGHTINGS, "contrast": CONTRASTS}
        for name, allowed in choices.items():
            value = getattr(self, name)
            _require(value in allowed, name, value, "out of " + ", ".join(allowed))

    @property
    def angles(self) -> List[float]:
        """The tilt angles in degrees, ascending."""
        return tilt_angles(self.tilt_range[0], self.tilt_range[1], self.tilt_step)


def tilt_angles(minimum: float, maximum: float, step: float) -> List[float]:
    """Angles of a tilt series in degrees, ascending, both ends included.

    When the step does not divide the range, it is made slightly smaller or larger so that the
    series ends exactly at `maximum`: the wedge of the tomogram is then the one that was asked for.

    Raises
    ------
    DualError
        For a range outside -90..90, an empty range or a step that is not positive.
    """
    if not -90.0 <= minimum < maximum <= 90.0:
        raise DualError(
            f"tilt range {minimum:g} to {maximum:g} is not usable; "
            "give MIN < MAX, both within -90..90 degrees"
        )
    if not 0.0 < step <= maximum - minimum:
        raise DualError(
            f"tilt step {step:g} is not usable; give a step above 0 and at most the tilt range"
        )
    count = int(round((maximum - minimum) / step))
    return [minimum + (maximum - minimum) * index / count for index in range(count + 1)]


def _require(condition: bool, name: str, value: object, wanted: str) -> None:
    if not condition:
        raise DualError(f"{name} is {value}; give a value {wanted}")
