"""The model card: what a model file says about itself.

Standard library only, so that the Scipion plugin can read a card without torch. A model file is
in the safetensors format: eight bytes with the length of a JSON header, the header, the weights.
The card is JSON under the key ``dual_card`` of the header's ``__metadata__``.
"""
from __future__ import annotations

import dataclasses
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from dual_core.errors import DualError

FORMAT_VERSION = 1
CARD_KEY = "dual_card"
MAXIMAL_HEADER = 100_000_000  # bytes; the limit that safetensors itself sets

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class ModelCard:
    """What a user must know of a model, and what inference needs to apply it rightly.

    Attributes
    ----------
    voxel_size_A : voxel size in angstrom that the networks work on.
    contrast : ``bright`` or ``dark`` density in the clean domain. Tomograms are turned to it.
    noisy_contrast : of the tomograms as they were before they were turned.
    network : the configuration of the six networks, plain values.
    task : ``denoise+simulate``, ``translate`` or ``missing-wedge``.
    method : ``stable`` or ``paper``.
    iterations : how many training iterations the weights have seen.
    seed : seed of the training run.
    clean_mean, clean_deviation : what the clean domain was standardised with; the denoiser's
        output times the deviation plus the mean is in the grand models' units.
    noisy_domain, clean_domain : names, shapes and hashes of the volumes that were trained on.
    tilt_range_deg : the tomograms' tilt range where it was given.
    tilt_axis : ``y`` or ``x`` in the files of the tomograms; the networks see it along y.
    software_version, date : what wrote the file, and when (ISO 8601).
    format_version : of this card.
    """

    voxel_size_A: float
    contrast: str
    network: Dict[str, Any]
    noisy_contrast: str = "dark"
    task: str = "denoise+simulate"
    method: str = "stable"
    iterations: int = 0
    seed: int = 0
    clean_mean: float = 0.0
    clean_deviation: float = 1.0
    noisy_domain: List[Dict[str, Any]] = field(default_factory=list)
    clean_domain: List[Dict[str, Any]] = field(default_factory=list)
    tilt_range_deg: Optional[Tuple[float, float]] = None
    tilt_axis: str = "y"
    software_version: str = ""
    date: str = ""
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: PathLike = "the model") -> ModelCard:
        """The card from its JSON. Unknown fields of the same format version are ignored.

        Raises
        ------
        DualError
            For text that is no card, and for a card of a newer format.
        """
        try:
            values = json.loads(text)
            version = int(values["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise DualError(f"{path} has a damaged model card; copy the file again") from error
        if version > FORMAT_VERSION:
            raise DualError(
                f"{path} is of model format {version} and this version of DUAL reads up to "
                f"{FORMAT_VERSION}; update DUAL"
            )
        known = {entry.name for entry in dataclasses.fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        try:
            if given.get("tilt_range_deg") is not None:
                given["tilt_range_deg"] = tuple(given["tilt_range_deg"])
            return cls(**given)
        except TypeError as error:
            raise DualError(f"{path} has a damaged model card; copy the file again") from error

    def summary(self) -> str:
        """One line, such as ``10.00 A/voxel, 600 iterations, bright density``."""
        return (
            f"{self.voxel_size_A:.2f} A/voxel, {self.iterations} iterations, "
            f"{self.contrast} density"
        )


def read_metadata(path: PathLike) -> Mapping[str, str]:
    """The ``__metadata__`` of a safetensors file, read without loading any weight.

    Raises
    ------
    DualError
        When the file is missing, cannot be read, or is no safetensors file.
    """
    wrong = DualError(f"{path} is not a DUAL model; give the model.safetensors of a training run")
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as stream:
            prefix = stream.read(8)
            if len(prefix) < 8:
                raise wrong
            (length,) = struct.unpack("<Q", prefix)
            if length > min(size - 8, MAXIMAL_HEADER):
                raise wrong
            header = json.loads(stream.read(length).decode("utf-8"))
    except FileNotFoundError as error:
        raise DualError(f"the model {path} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise DualError(f"{path} is a folder; give the model.safetensors inside it") from error
    except PermissionError as error:
        raise DualError(f"no permission to read {path}; check its access rights") from error
    except OSError as error:
        raise DualError(f"{path} cannot be read ({error.strerror}); check the path") from error
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
    metadata = read_metadata(path)
    if CARD_KEY not in metadata:
        raise DualError(f"{path} is not a DUAL model; give the model.safetensors of a training run")
    return ModelCard.from_json(metadata[CARD_KEY], path)
