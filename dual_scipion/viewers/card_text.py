"""The card of a model as lines of text."""

from __future__ import annotations

from typing import Any, List, Mapping, Tuple

from dual_core.networks.card import ModelCard
from dual_scipion.objects import DualModel, tilt_text


def model_lines(model: DualModel) -> List[Tuple[str, str]]:
    """What the card of a model says: pairs of a name and a text.

    Raises
    ------
    dual_core.errors.DualError
        If the file of the model is gone or damaged.
    """
    return [*card_lines(model.getCard()), ("File", model.getFileName())]


def card_lines(card: ModelCard) -> List[Tuple[str, str]]:
    """The lines of a card: pairs of a name and a text."""
    tilt = "not known"
    if card.tilt_range_deg is not None:
        tilt = f"{tilt_text(*card.tilt_range_deg)} degrees"
    lines = [
        ("Voxel size", f"{card.voxel_size_A:.2f} Å"),
        ("Trained for", f"{card.task}, method {card.method}"),
        ("Iterations", str(card.iterations)),
        ("Tilt range", tilt),
        ("Density", f"{card.contrast}; in the tomograms {card.noisy_contrast}"),
        ("Seed", str(card.seed)),
        ("Made", f"by DUAL {card.software_version}, {card.date}"),
    ]
    for title, volumes in (("Tomograms", card.noisy_domain), ("Clean domain", card.clean_domain)):
        for number, volume in enumerate(volumes):
            lines.append((title if number == 0 else " ", _volume_text(volume)))
    settings = (f"{name} {value}" for name, value in sorted(card.network.items()))
    return [*lines, ("Networks", ", ".join(settings).replace("_", " "))]


def _volume_text(volume: Mapping[str, Any]) -> str:
    text = str(volume.get("name", "?"))
    shape = volume.get("shape")
    if shape:
        text += f", {' x '.join(str(side) for side in reversed(shape))} voxels (x, y, z)"
    if volume.get("voxel_size_A"):
        text += f" of {float(volume['voxel_size_A']):.2f} Å"
    return text
