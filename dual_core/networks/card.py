"""The model card: what a model file says about itself.

Standard library only, so that the Scipion plugin can read a card without torch. A model file is
in the safetensors format: eight bytes with the length of a JSON header, the header, the weights.
The card is JSON under the key ``dual_card`` of the header's ``__metadata__``.
"""
from __future__ import annotations

import dataclasses
import json
import os
import stat
import struct
from dataclasses import dataclass, field
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Union

from dual_core.errors import DualError
from dual_core.safety.checks import checked, one_of, within_bounds
from dual_core.safety.documents import parse_json
from dual_core.safety.limits import GREY, ITERATIONS, SEED, TILT_DEG, VOXEL_SIZE_A, Bounds
from dual_core.safety.shown import printable, shown

FORMAT_VERSION = 1
CARD_KEY = "dual_card"
MAXIMAL_HEADER = 16_000_000  # bytes; that of six networks has 50 thousand
MODEL_FILE = "model.safetensors"  # in the folder of a training
GENERAL = "general"  # the name of the model that comes with the package
DENOISE = "denoise"  # the task of a model that has the denoiser alone
LIKENESS = Bounds(0.0, 1e12)
POWER = Bounds(0.0, 1e12)
BANDS = 6  # of a trained range
FOREIGN = 3.0  # likeness, or its inverse, of domains that are not of one kind
OTHER_VOXEL_SIZE = 0.2  # relative; beyond it a model knows nothing of the detail
OTHER_TILT_DEG = 15.0  # five steps of the estimate; of one kind of data it varied by as much
SMALLEST_DEVIATION = 1e-18  # results are multiples of it
MEND = "copy the file again, or take the model of another training"

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class TrainedVolume:
    """What a card says of a volume that was trained on; only to check it, a card has mappings."""

    name: str = ""
    shape: Optional[Tuple[int, int, int]] = None
    voxel_size_A: Optional[float] = field(default=None, metadata=within_bounds(VOXEL_SIZE_A))


@dataclass(frozen=True)
class TrainedRange:
    """What the tomograms of a training look like: lowest and highest of each quantity.

    `dual_core.noise_model.domain.profile.measure_range` makes it, and
    `dual_core.tasks.domain_check` compares with it.

    Attributes
    ----------
    voxel_size_A : of the files.
    smallest_tilt_deg, largest_tilt_deg : ends of the tilt range as the spectra show it; None
        where they show none.
    structure_power, noise_power : by band, in units of white noise; nothing of small tomograms.
    noise : how many times as strong the noise of a tomogram is as ``noise_power`` says.
    misfit_dB : at most, between the spectrum of a tomogram and these two.
    """

    IGNORES_UNKNOWN: ClassVar[bool] = True

    voxel_size_A: Tuple[float, float] = field(metadata=within_bounds(VOXEL_SIZE_A))
    smallest_tilt_deg: Optional[Tuple[float, float]] = field(
        default=None, metadata=within_bounds(TILT_DEG)
    )
    largest_tilt_deg: Optional[Tuple[float, float]] = field(
        default=None, metadata=within_bounds(TILT_DEG)
    )
    structure_power: Tuple[float, ...] = field(default=(), metadata=within_bounds(POWER))
    noise_power: Tuple[float, ...] = field(default=(), metadata=within_bounds(POWER))
    noise: Optional[Tuple[float, float]] = field(default=None, metadata=within_bounds(POWER))
    misfit_dB: float = field(default=0.0, metadata=within_bounds(POWER))

    def __post_init__(self) -> None:
        bands = BANDS if self.noise is not None else 0
        if {len(self.structure_power), len(self.noise_power)} != {bands}:
            raise ValueError(f"there are not {bands} powers of structure and of noise")
        if (self.smallest_tilt_deg is None) != (self.largest_tilt_deg is None):
            raise ValueError("of the tilt range there is one end alone")


@dataclass(frozen=True)
class ModelCard:
    """What a user must know of a model, and what inference needs to apply it rightly.

    Attributes
    ----------
    voxel_size_A : voxel size in angstrom that the networks work on.
    voxel_sizes_A : lowest and highest that they work on as well, for networks that were trained on
        many; a tomogram between is not resampled.
    contrast : ``bright`` or ``dark`` density in the clean domain. Tomograms are turned to it.
    noisy_contrast : of the tomograms as they were before they were turned.
    network : the configuration of the six networks, plain values.
    task : ``denoise+simulate``, ``translate``, ``missing-wedge``, or ``denoise`` of a model that
        has the denoiser alone.
    method : ``stable`` or ``paper``.
    iterations : how many training iterations the weights have seen.
    seed : seed of the training run.
    clean_mean, clean_deviation : what the clean domain was standardised with; the denoiser's
        output times the deviation plus the mean is in the grand models' units.
    noisy_domain, clean_domain : names, shapes and hashes of the volumes that were trained on.
    tilt_range_deg : the tomograms' tilt range where it was given.
    tilt_axis : ``y`` or ``x`` in the files of the tomograms; the networks see it along y.
    likeness : how alike both domains were found to be: signal-to-noise ratio by their cumulants
        over that by their powers. Far from 1 the clean domain lacks what the tomograms show.
    trained_on : what the tomograms look like; None on cards of DUAL 0.1.
    software_version, date : what wrote the file, and when (ISO 8601).
    format_version : of this card.
    """

    voxel_size_A: float = field(metadata=within_bounds(VOXEL_SIZE_A))
    contrast: str = field(metadata=one_of("dark", "bright"))
    network: Dict[str, Any]
    noisy_contrast: str = field(default="dark", metadata=one_of("dark", "bright"))
    task: str = "denoise+simulate"
    method: str = "stable"
    iterations: int = field(default=0, metadata=within_bounds(ITERATIONS))
    seed: int = field(default=0, metadata=within_bounds(SEED))
    clean_mean: float = field(default=0.0, metadata=within_bounds(GREY))
    clean_deviation: float = field(
        default=1.0, metadata=within_bounds(Bounds(SMALLEST_DEVIATION, GREY.high))
    )
    noisy_domain: List[Dict[str, Any]] = field(default_factory=list)
    clean_domain: List[Dict[str, Any]] = field(default_factory=list)
    tilt_range_deg: Optional[Tuple[float, float]] = field(
        default=None, metadata=within_bounds(TILT_DEG, increasing=True)
    )
    tilt_axis: str = field(default="y", metadata=one_of("y", "x"))
    voxel_sizes_A: Optional[Tuple[float, float]] = field(
        default=None, metadata=within_bounds(VOXEL_SIZE_A, increasing=True)
    )
    likeness: Optional[float] = field(default=None, metadata=within_bounds(LIKENESS))
    trained_on: Optional[TrainedRange] = None
    software_version: str = ""
    date: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def denoises_only(self) -> bool:
        """Whether the model has the denoiser and no other network."""
        return self.task == DENOISE

    def require_all_networks(self, purpose: str) -> None:
        """Raise a DualError where the model has the denoiser alone."""
        if self.denoises_only:
            raise DualError(
                f"the model denoises only, and has no networks to {purpose} with; give one of "
                "'dual train' (which can begin with it: --from)"
            )

    @property
    def clean_domain_is_foreign(self) -> bool:
        """Whether the clean domain was found to lack much of what the tomograms show.

        Between synthetic cells and clean domains of their kind the likeness was 0.8 to 2.2, between
        real tomograms and built-in cells 4 to 9 (docs/denoising.md).
        """
        return self.likeness is not None and not 1 / FOREIGN < self.likeness < FOREIGN

    @property
    def known_voxel_sizes_A(self) -> Tuple[float, float]:
        """Lowest and highest voxel size of what was trained on, that of the networks included."""
        known = () if self.trained_on is None else self.trained_on.voxel_size_A
        sizes = (self.voxel_size_A, *(self.voxel_sizes_A or ()), *known)
        return min(sizes), max(sizes)

    def knows_voxel_size(self, voxel_size_A: float) -> bool:
        """Whether a tomogram of a voxel size, in angstrom, is one of those that it was made for."""
        low, high = self.known_voxel_sizes_A
        return low * (1 - OTHER_VOXEL_SIZE) <= voxel_size_A <= high * (1 + OTHER_VOXEL_SIZE)

    def working_voxel_size_A(self, voxel_size_A: float) -> float:
        """The voxel size, in angstrom, that a tomogram of a voxel size is denoised on."""
        if self.voxel_sizes_A is None:
            return self.voxel_size_A
        low, high = self.voxel_sizes_A
        return min(max(voxel_size_A, low), high)

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: PathLike = "the model") -> ModelCard:
        """The card from its JSON. Unknown fields of the same format version are ignored.

        Raises
        ------
        DualError
            For text that is no card, for a card of a newer format, and for a field that is not
            of its type or makes no sense; the message names it.
        """
        where = printable(path)
        try:
            values = parse_json(text)
            version = values["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise DualError(f"{where} has a damaged model card; copy the file again") from error
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise DualError(
                f"{where} has a damaged model card: the field 'format_version' is "
                f"{shown(version)}, not a whole number from 1; {MEND}"
            )
        if version > FORMAT_VERSION:
            raise DualError(
                f"{where} is of model format {shown(version)} and this version of DUAL reads up "
                f"to {FORMAT_VERSION}; update DUAL"
            )
        damaged = f"{where} has a damaged model card"
        card = checked(cls, values, damaged, MEND)
        for volume in (*card.noisy_domain, *card.clean_domain):
            checked(TrainedVolume, volume, f"{damaged}, a volume", MEND)
        return card

    def summary(self) -> str:
        """One line, such as ``10.00 A/voxel, 600 iterations, bright density``."""
        return (
            f"{self.voxel_size_A:.2f} A/voxel, {self.iterations} iterations, "
            f"{self.contrast} density"
        )


def model_file(path: PathLike) -> str:
    """The file of a model: the path itself, in the folder of a training ``model.safetensors``, or
    for `GENERAL` that of the model in the package.

    Raises
    ------
    DualError
        When the installation lacks it.
    """
    if os.fspath(path) != GENERAL:
        inside = os.path.join(path, MODEL_FILE)
        return inside if os.path.isfile(inside) else os.fspath(path)
    packaged = os.path.join(os.path.dirname(os.path.abspath(__file__)), GENERAL + ".safetensors")
    if not os.path.isfile(packaged):
        raise DualError(
            "the general model is missing from this installation of DUAL; install it again, or "
            "give the model.safetensors of a training (a file named 'general' is './general')"
        )
    return packaged


def read_metadata(path: PathLike) -> Mapping[str, str]:
    """The ``__metadata__`` of a safetensors file, read without loading any weight.

    Raises
    ------
    DualError
        When the file is missing, cannot be read, or is no safetensors file.
    """
    name = printable(path)
    wrong = DualError(f"{name} is not a DUAL model; give the model.safetensors of a training run")
    try:
        facts = os.stat(path)
        # Asked before opening: to open a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
            raise wrong
        size = facts.st_size
        with open(path, "rb") as stream:
            prefix = stream.read(8)
            if len(prefix) < 8:
                raise wrong
            (length,) = struct.unpack("<Q", prefix)
            if length > min(size - 8, MAXIMAL_HEADER):
                raise wrong
            header = parse_json(stream.read(length).decode("utf-8"))
    except FileNotFoundError as error:
        raise DualError(f"the model {name} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise DualError(f"{name} is a folder without a {MODEL_FILE}; check the path") from error
    except PermissionError as error:
        raise DualError(f"no permission to read {name}; check its access rights") from error
    except OSError as error:
        raise DualError(f"{name} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise wrong from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise wrong
    return metadata


def read_card(path: PathLike) -> ModelCard:
    """The card of a model file.

    Raises
    ------
    DualError
        When the file is no DUAL model, is damaged, or is of a newer format.
    """
    path = model_file(path)
    metadata = read_metadata(path)
    if CARD_KEY not in metadata:
        raise DualError(
            f"{printable(path)} is not a DUAL model; give the model.safetensors of a training run"
        )
    card = metadata[CARD_KEY]
    return ModelCard.from_json(card if isinstance(card, str) else "", path)
