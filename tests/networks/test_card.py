"""The model card: a round trip, and plain words about every file that is no model."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.networks.card import (
    CARD_KEY,
    FORMAT_VERSION,
    ModelCard,
    model_file,
    read_card,
    read_metadata,
)
from dual_core.volumes.reading import write_volume

CARD = ModelCard(
    voxel_size_A=13.33,
    contrast="bright",
    network={"channels": [4, 8], "stem_stride": 2},
    method="paper",
    iterations=1200,
    seed=7,
    clean_mean=0.25,
    clean_deviation=1.5,
    noisy_domain=[{"name": "tomo_µ.mrc", "shape": [200, 512, 512]}],
    clean_domain=[{"name": "grand.mrc", "shape": [200, 512, 512]}],
    tilt_range_deg=(-60.0, 48.0),
    software_version="1.0",
    date="2024-05-06T07:08:09+00:00",
)


def write_header(path: Path, header: bytes, weights: bytes = b"") -> Path:
    """A file that begins as safetensors does."""
    path.write_bytes(struct.pack("<Q", len(header)) + header + weights)
    return path


def write_card(path: Path, card: Any, key: str = CARD_KEY) -> Path:
    return write_header(path, json.dumps({"__metadata__": {key: card}}).encode())


def card_values(**changes: Any) -> Dict[str, Any]:
    return {**dataclasses.asdict(CARD), **changes}


def refusal(path: Path) -> str:
    """The message with which a file is refused: one line that names it."""
    with pytest.raises(DualError) as caught:
        read_card(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert ";" in message, "what is wrong; what to do"
    return message


# Round trip ---------------------------------------------------------------------------------


def test_json_round_trip_gives_the_same_card():
    text = CARD.to_json()
    assert "\n" not in text
    assert ModelCard.from_json(text) == CARD


def test_a_card_of_defaults_makes_the_round_trip():
    card = ModelCard(10.0, "dark", {})
    assert card.format_version == FORMAT_VERSION
    assert ModelCard.from_json(card.to_json()) == card


def test_card_in_a_file(tmp_path):
    path = write_card(tmp_path / "model.safetensors", CARD.to_json())
    assert read_card(path) == CARD
    assert read_card(str(path)) == CARD
    assert set(read_metadata(path)) == {CARD_KEY}


def test_unknown_fields_are_ignored():
    text = json.dumps(card_values(colour="blue", further={"a": [1]}))
    assert ModelCard.from_json(text) == CARD


def test_summary_is_one_line():
    assert CARD.summary() == "13.33 A/voxel, 1200 iterations, bright density"


# What is no model ---------------------------------------------------------------------------


def test_a_newer_format_asks_for_an_update(tmp_path):
    text = json.dumps(card_values(format_version=FORMAT_VERSION + 1, colour="blue"))
    message = refusal(write_card(tmp_path / "new.safetensors", text))
    assert f"format {FORMAT_VERSION + 1}" in message
    assert "update DUAL" in message


def without(field: str) -> str:
    values = card_values()
    del values[field]
    return json.dumps(values)


@pytest.mark.parametrize(
    "card",
    (
        "",
        "{",
        "[]",
        "null",
        '"card"',
        "7",
        7,
        None,
        {"voxel_size_A": 10.0},
        "{}",
        without("format_version"),
        without("voxel_size_A"),
        json.dumps(card_values(format_version="one")),
        json.dumps(card_values(format_version=None)),
        json.dumps(card_values(tilt_range_deg=60)),
    ),
    ids=lambda card: str(card)[:20],
)
def test_a_damaged_card_is_refused(tmp_path, card):
    message = refusal(write_card(tmp_path / "model.safetensors", card))
    assert "damaged model card" in message


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere.safetensors")


def test_a_folder_without_a_model_is_refused(tmp_path):
    assert "folder without a model.safetensors" in refusal(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    assert "folder without a model.safetensors" in refusal(tmp_path)


def test_the_folder_of_a_training_stands_for_its_model(tmp_path):
    model = write_card(tmp_path / "model.safetensors", CARD.to_json())
    assert model_file(tmp_path) == str(model)
    assert read_card(tmp_path) == read_card(model)


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    refusal(tmp_path / "file" / "model.safetensors")


@pytest.mark.parametrize(
    ("error", "words"),
    ((PermissionError(13, "Permission denied"), "permission"), (OSError(5, "I/O error"), "I/O")),
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch, error, words):
    path = write_card(tmp_path / "model.safetensors", CARD.to_json())

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", fail)
        message = refusal(path)
    assert words in message


def random_bytes(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def truncated_in_the_header(path: Path) -> None:
    write_card(path, CARD.to_json())
    path.write_bytes(path.read_bytes()[:100])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))


def tomogram(path: Path) -> None:
    write_volume(path, np.random.default_rng(0).standard_normal((8, 8, 8)).astype("f4"), 10.0)


def gibberish_of_the_right_length(path: Path) -> None:
    write_header(path, b"\xff\xfe" * 40)


def other_model(path: Path) -> None:
    write_header(path, b'{"__metadata__": {"format": "pt"}}')


def without_metadata(path: Path) -> None:
    write_header(path, b"{}")


def header_is_a_list(path: Path) -> None:
    write_header(path, b"[1, 2]")


def metadata_is_a_number(path: Path) -> None:
    write_header(path, b'{"__metadata__": 5}')


def empty(path: Path) -> None:
    path.write_bytes(b"")


def seven_bytes(path: Path) -> None:
    path.write_bytes(b"1234567")


def endless_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")


@pytest.mark.parametrize(
    "make",
    (
        random_bytes,
        truncated_in_the_header,
        pickled,
        tomogram,
        gibberish_of_the_right_length,
        other_model,
        without_metadata,
        header_is_a_list,
        metadata_is_a_number,
        empty,
        seven_bytes,
        endless_header,
    ),
)
def test_what_is_no_model_is_called_so(tmp_path, make):
    path = tmp_path / "model.mrc"
    make(path)
    assert "not a DUAL model" in refusal(path)


# Without the engine -------------------------------------------------------------------------


def run_python(code: str, *arguments: str, site: Optional[str] = None) -> str:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    options = [] if site is None else [site]
    done = subprocess.run(
        [sys.executable, *options, "-c", code, *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def test_reading_a_card_loads_neither_torch_nor_numpy(tmp_path):
    path = write_card(tmp_path / "model.safetensors", CARD.to_json())
    code = (
        "import sys\n"
        "from dual_core.networks.card import read_card\n"
        "print(read_card(sys.argv[1]).iterations)\n"
        "print([name for name in ('torch', 'numpy', 'safetensors') if name in sys.modules])\n"
    )
    # -S: without site-packages, as in an interpreter where nothing of the engine is installed.
    assert run_python(code, str(path), site="-S").split("\n")[:2] == ["1200", "[]"]
