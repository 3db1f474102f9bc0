"""The form of *generate grand models*; longer than what the protocol does."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from dual_scipion.protocols.forms.labels import define_box_param, define_labels_param

BUILT_IN, PROJECT, FILES = range(3)
BY_OCCUPANCY, BY_NUMBER = range(2)

# Field, label, what it is; empty for what a cell has. Text, since Scipion's form keeps the old
# number where a field for numbers is emptied.
STRUCTURES = (
    ("sheets", "Membrane sheets", "How many gently curved membranes cross the volume."),
    ("vesicles", "Vesicles", "How many vesicles."),
    ("microtubules", "Microtubules", "How many microtubules cross the volume."),
    ("actin", "Actin filaments", "How many actin filaments cross the volume."),
    ("crowd", "Crowd (mg/ml)", "Small proteins of 20 to 95 kDa in the space that is left."),
)
AS_A_CELL = {"crowd": "40 mg/ml, as in a cell"}  # of others as many as the volume asks for

# Bounds that the engine has too.
SMALLEST_RADIUS = 6
MOST_CROWD = 400
MOST_VARIATION = 3
MOST_SOLVENT = 0.5
MOST_STRUCTURES = 1_000_000
SMALLEST_SIDE = 8
NOT_NEGATIVE = params.GE(0, error="must be 0 or more")
POSITIVE = params.GT(0, error="must be more than 0")
A_SIDE = params.GE(SMALLEST_SIDE, error=f"must be {SMALLEST_SIDE} voxels or more")


def define_grand_model_params(form: Any) -> None:
    """Add all parameters but the section."""
    _define_molecules(form)
    _define_volume(form.addGroup("Volume"))
    _define_crowd(form.addGroup("How crowded"))
    _define_other(form.addGroup("Membranes, filaments, crowd, gold"))
    group = form.addGroup("Result")
    define_labels_param(group)
    define_box_param(group)
    _define_seed(group)


def structure_number(name: str, text: str) -> Optional[float]:
    """The number in the field of a structure; none for what a cell has.

    Raises
    ------
    ValueError
        If there is something else in it.
    """
    if not text.strip():
        return None
    number = float(text) if name == "crowd" else int(text)
    if not 0 <= number <= (MOST_CROWD if name == "crowd" else MOST_STRUCTURES):
        raise ValueError(text)
    return number


def structure_errors(texts: Dict[str, str]) -> List[str]:
    """What is wrong with the fields of structures, by their names."""
    errors = []
    for name, label, _ in STRUCTURES:
        try:
            structure_number(name, texts[name])
        except ValueError:
            what = f"a number from 0 to {MOST_CROWD}" if name == "crowd" else "a whole number >= 0"
            errors.append(f"{label}: give {what}, or nothing for what a cell has.")
    return errors


def _define_molecules(form: Any) -> None:
    form.addParam(
        "source",
        params.EnumParam,
        choices=["built-in molecules", "maps and models of the project", "files"],
        default=BUILT_IN,
        label="Molecules from",
        help="*Built-in molecules*: shapes of 100 kDa to 4 MDa that need no file; good enough for "
        "the first denoising model. *Maps and models of the project* or *files*: the molecules of "
        "your sample, which makes the simulation more like it.",
    )
    form.addParam(
        "phantoms",
        params.StringParam,
        default="",
        condition=f"source == {BUILT_IN}",
        label="Only these built-in molecules",
        help="Names separated by blanks, such as 'antibody_150 ring_540'. Empty: all that fit into "
        "the sample. Membranes, filaments and the crowd stay; see below. A name that does not "
        "exist is answered with the list of them.",
    )
    form.addParam(
        "inputMolecules",
        params.MultiPointerParam,
        pointerClass="AtomStruct,SetOfAtomStructs,Volume,SetOfVolumes",
        minNumObjects=1,
        allowsNull=True,
        condition=f"source == {PROJECT}",
        label="Maps and atomic models",
        help="Atomic structures and density maps, alone or in sets, one for each kind of molecule. "
        "Of an atomic structure the biological assembly is built. A map must be bright, masked or "
        "cleanly cut, and 10 to 20 different molecules of all sizes are better than one.",
    )
    form.addParam(
        "filesPath",
        params.PathParam,
        condition=f"source == {FILES}",
        label="Files of molecules",
        help="A folder or a pattern such as '/data/molecules/*.pdb': PDB, mmCIF and MRC files. Or "
        "one list (.yaml) that says how many there are of each, which sit on membranes and so on; "
        "'dual pack --help' shows such a list.",
    )


def _define_volume(group: Any) -> None:
    group.addParam(
        "count",
        params.IntParam,
        default=4,
        validators=[POSITIVE],
        label="Number of grand models",
        help="3 to 10 are enough to train with; each is packed anew. A training set for "
        "segmentation should have 5 or more.",
    )
    group.addParam(
        "voxelSize",
        params.FloatParam,
        default=10.0,
        validators=[POSITIVE],
        label="Voxel size (A)",
        help="Give that of the binned tomograms: the model is trained at it. 8 to 15 A is usual.",
    )
    line = group.addLine(
        "Size x, y, z (voxels)",
        help="z is the thickness, along the beam. About the size of the tomograms is good but not "
        "needed; 256 x 256 x 128 holds enough to learn from.",
    )
    for name, label, default in (("sizeX", "x", 256), ("sizeY", "y", 256), ("sizeZ", "z", 128)):
        line.addParam(
            name,
            params.IntParam,
            default=default,
            validators=[A_SIDE],
            label=label,
            help=f"Length of the volume along {label} in voxels, 8 or more.",
        )
    group.addParam(
        "thickness",
        params.FloatParam,
        default=0.0,
        validators=[NOT_NEGATIVE],
        label="Thickness of the sample (nm)",
        help="Molecules lie only in a slab of this thickness in the middle of z, as in ice: "
        "give that of your ice or lamella where the tomograms are thicker. 0 fills the whole "
        "volume.",
    )
    group.addParam(
        "resolution",
        params.FloatParam,
        default=0.0,
        validators=[NOT_NEGATIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Resolution (A)",
        help="Up to where the grand models have detail; 0 takes two voxels, which is the most that "
        "the voxel size can show. Give it, in angstrom, where your maps have less detail.",
    )


def _define_crowd(group: Any) -> None:
    group.addParam(
        "amount",
        params.EnumParam,
        choices=["fill up to an occupancy", "number of each molecule"],
        default=BY_OCCUPANCY,
        label="How many molecules",
        help="*Fill up to an occupancy*: as many as fill a part of the sample, of each kind the "
        "same number. *Number of each molecule*: as you say. Numbers in a list (.yaml) go first.",
    )
    group.addParam(
        "occupancy",
        params.FloatParam,
        default=0.08,
        validators=[params.Range(0.001, 0.6, error="must be from 0.001 to 0.6")],
        condition=f"amount == {BY_OCCUPANCY}",
        label="Occupancy (0 to 1)",
        help="The part of the sample that molecules fill: 0.02 to 0.05 for purified particles, "
        "0.08 to 0.15 for lysates, 0.2 for a crowded cell.",
    )
    group.addParam(
        "number",
        params.IntParam,
        default=20,
        validators=[POSITIVE],
        condition=f"amount == {BY_NUMBER}",
        label="Copies of each molecule",
        help="How many of each kind are placed in each grand model.",
    )
    group.addParam(
        "gap",
        params.FloatParam,
        default=0.0,
        validators=[NOT_NEGATIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Free distance (A)",
        help="Kept around every molecule, in angstrom; 0 lets them touch, as in a cell. Give it "
        "for purified particles, which keep apart.",
    )
    group.addParam(
        "variation",
        params.FloatParam,
        default=1.0,
        validators=[params.Range(0.0, MOST_VARIATION, error=f"must be from 0 to {MOST_VARIATION}")],
        expertLevel=LEVEL_ADVANCED,
        label="Variation of each molecule",
        help="How much copies of a molecule differ in density, sharpness and shape, in times the "
        "usual: 1 as particles in ice do, 0 not at all, for example to compare with a single map.",
    )
    group.addParam(
        "bestEffort",
        params.BooleanParam,
        default=False,
        expertLevel=LEVEL_ADVANCED,
        label="Accept fewer if they do not fit?",
        help="No: the run stops if not everything finds its place. Yes: it goes on with what did, "
        "and the log says how many. Choose it where the exact number does not matter.",
    )


def _define_other(group: Any) -> None:
    for name, label, text in STRUCTURES:
        empty = AS_A_CELL.get(name, "as in a cell, in proportion to the volume")
        group.addParam(
            name,
            params.StringParam,
            default="",
            label=label,
            help=f"{text} Empty: {empty}. 0: none, as for purified particles. A number is exact. "
            "Whether they are labelled is asked below.",
        )
    line = group.addLine(
        "Radius of the vesicles (nm)",
        expertLevel=LEVEL_ADVANCED,
        help="The smallest and the largest radius, 6 nm or more; 0 and 0 for 15 to 40 nm, less in "
        "a thin sample.",
    )
    for name, label in (("radiusMin", "smallest"), ("radiusMax", "largest")):
        line.addParam(
            name,
            params.FloatParam,
            default=0.0,
            validators=[NOT_NEGATIVE],
            expertLevel=LEVEL_ADVANCED,
            label=label,
            help=f"The {label} radius of a vesicle in nm; 0 for that of a cell. Give "
            "it where those of your sample are of another size.",
        )
    group.addParam(
        "solvent",
        params.FloatParam,
        default=0.0,
        validators=[params.Range(0.0, MOST_SOLVENT, error=f"must be from 0 to {MOST_SOLVENT}")],
        expertLevel=LEVEL_ADVANCED,
        label="Fluctuation of the ice",
        help="Deviation of the ice's density, so many times that of protein, 0.02 for example. To "
        "simulate with; leave 0 for grand models to train with, since a model learns to show them.",
    )
    group.addParam(
        "gold",
        params.IntParam,
        default=0,
        validators=[NOT_NEGATIVE],
        label="Gold beads",
        help="How many fiducials; about as many as in the tomograms.",
    )
    group.addParam(
        "goldDiameter",
        params.FloatParam,
        default=10.0,
        validators=[POSITIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Diameter of the gold beads (nm)",
        help="5 and 10 nm are the usual ones.",
    )


def _define_seed(group: Any) -> None:
    group.addParam(
        "seed",
        params.IntParam,
        default=0,
        validators=[NOT_NEGATIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Random seed",
        help="The same seed and settings give the same grand models. Take another one for a set to "
        "test with.",
    )
