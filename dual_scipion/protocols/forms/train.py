"""The form of *train model*; longer than what the protocol does."""

from __future__ import annotations

from typing import Any

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from dual_scipion.constants import CONTRASTS

MODE_NEW, MODE_CONTINUE = 0, 1
# As the engine calls them, in the order of the choices in the form.
PRESETS = ("quick", "standard", "thorough", "gpu")
TASKS = ("denoise+simulate", "translate", "missing-wedge")
METHODS = ("stable", "paper")

TILT_AXES = ("y", "x")

NEW = f"trainingMode == {MODE_NEW}"
UNPAIRED = f"{NEW} and task != {TASKS.index('missing-wedge')}"
CONTINUE = f"trainingMode == {MODE_CONTINUE}"
NOT_NEGATIVE = params.GE(0, error="must be 0 or more")
POSITIVE = params.GT(0, error="must be more than 0")

GPUS_HELP = (
    "The training uses all of them at once. Each draws its own patches, so N GPUs see N times the "
    "patches in an iteration: the training is calmer, not shorter. For about as many patches in "
    "less time give fewer iterations. GPUs of one kind are best."
)


def define_training_params(protocol: Any, form: Any) -> None:
    """Add all parameters of the training but those of GPU and threads."""
    _define_task(protocol, form)
    _define_volumes(form)
    training = form.addGroup("Training")
    _define_length(training)
    _define_method(training)
    _define_data(protocol, form)
    _define_machine(protocol, form)


def _define_task(protocol: Any, form: Any) -> None:
    # The task comes before what depends on it: conditions only know the parameters above them.
    form.addParam(
        "trainingMode",
        params.EnumParam,
        choices=["new model", "continue from a model"],
        default=MODE_NEW,
        display=params.EnumParam.DISPLAY_HLIST,
        label="Train",
        help="*New model*: from your tomograms and clean volumes. *Continue from a model*: train a "
        "model of this project further, on the data that it was trained on.",
    )
    form.addParam(
        "task",
        params.EnumParam,
        choices=["denoise and simulate", "translate between two domains", "missing wedge"],
        default=0,
        condition=NEW,
        label="Task",
        help="*Denoise and simulate*: the usual one. *Translate*: to make tomograms of one kind "
        "look like those of another, for example of another microscope; give the better ones as "
        "clean volumes. *Missing wedge*: for "
        "*compensate missing wedge*; needs the tilt range and no clean volumes.",
    )
    protocol._addInputModel(
        form,
        condition=CONTINUE,
        help="A model from *train model* in this project. It goes on with its own data and "
        "settings. An imported model cannot be continued: it has no checkpoint.",
    )


def _define_volumes(form: Any) -> None:
    form.addParam(
        "inputTomograms",
        params.PointerParam,
        pointerClass="SetOfTomograms",
        important=True,
        condition=NEW,
        label="Tomograms (noisy)",
        help="The tomograms to learn the noise from, as they come from the reconstruction: not "
        "filtered, not denoised. 3 to 10 typical ones are enough; choose them below if the set "
        "has more. Bin them to a voxel size of 8 to 15 A.",
    )
    form.addParam(
        "inputClean",
        params.PointerParam,
        pointerClass="SetOfTomograms,SetOfVolumes",
        important=True,
        condition=UNPAIRED,
        label="Clean volumes",
        help="Volumes without noise that show the same kind of sample: grand models from "
        "*generate grand models* (3 to 10), or tomograms of much better quality. Their voxel "
        "size is the one that is trained at. Do not give masks. The task *missing wedge* does "
        "without them.",
    )
    form.addParam(
        "tsIds",
        params.StringParam,
        default="",
        condition=NEW,
        label="Only these tomograms",
        help="The tsIds of the tomograms to train on, separated by blanks. Empty: all of the set. "
        "Leave out tomograms that are thick, badly aligned or empty.",
    )
    form.addParam(
        "useHalves",
        params.BooleanParam,
        default=True,
        condition=f"{NEW} and task == 0",
        label="Measure the noise on half maps?",
        help="Yes: where all the chosen tomograms carry even and odd half maps, the power of their "
        "noise is measured on the difference of the halves, which is exact. No, or where halves "
        "are missing: it is measured on the tomograms themselves, which is nearly as good unless "
        "they are full of structure everywhere.",
    )


def _define_length(group: Any) -> None:
    group.addParam(
        "preset",
        params.EnumParam,
        choices=[
            "quick (a first look)", "standard (for use)", "thorough (a GPU or a night)",
            "gpu (wider networks, GPU only)",
        ],
        default=PRESETS.index("standard"),
        condition=NEW,
        label="How long",
        help="*quick*: 75 iterations, to see whether the data suit. *standard*: 500, for use. "
        "*thorough*: 2500, for a GPU or a night on a CPU. (250, 800 and 4000 for other tasks and "
        "the method *paper*.) Their networks are the same, so that all "
        "models denoise equally fast. *gpu*: 3000, with wider networks on larger patches and "
        "batches; its models take a CPU seven times as long to denoise with.",
    )
    group.addParam(
        "moreIterations",
        params.IntParam,
        default=400,
        validators=[POSITIVE],
        condition=CONTINUE,
        label="Further iterations",
        help="How many iterations to add to those of the model. 400 are nearly a standard run. "
        "Stop adding when the preview pictures no longer change.",
    )
    group.addParam(
        "iterations",
        params.IntParam,
        default=0,
        validators=[NOT_NEGATIVE],
        condition=NEW,
        expertLevel=LEVEL_ADVANCED,
        label="Iterations",
        help="Instead of the preset's number; 0 takes the preset's. Give more where the preview "
        "pictures still change at the end.",
    )
    group.addParam(
        "timeLimit",
        params.FloatParam,
        default=0.0,
        validators=[NOT_NEGATIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Time limit (minutes)",
        help="Stop after so many minutes with the model so far, for a queue that kills long jobs; "
        "0: no limit. Where the time is known beforehand, a shorter preset that runs to its end "
        "makes a better model than a longer one that is stopped.",
    )


def _define_method(group: Any) -> None:
    group.addParam(
        "method",
        params.EnumParam,
        choices=list(METHODS),
        default=METHODS.index("stable"),
        condition=NEW,
        expertLevel=LEVEL_ADVANCED,
        label="Method",
        help="*stable*: what measures best. *paper*: the equations of the paper as printed, made "
        "numerically safe; slower, for comparison.",
    )
    group.addParam(
        "patchSize",
        params.IntParam,
        default=0,
        validators=[NOT_NEGATIVE],
        condition=NEW,
        expertLevel=LEVEL_ADVANCED,
        label="Patch (voxels)",
        help="Side of the cubes that are trained on; 0 takes 32 (64 for *gpu*). It should be "
        "1.5 to 3 times the diameter of the largest particles that matter. A multiple of 8 from 24 "
        "up. Memory and time grow with its third power.",
    )
    group.addParam(
        "batchSize",
        params.IntParam,
        default=0,
        validators=[NOT_NEGATIVE],
        condition=NEW,
        expertLevel=LEVEL_ADVANCED,
        label="Patches in an iteration",
        help="How many cubes of each kind are looked at in one iteration; 0 takes 4 (8 for *gpu*). "
        "Fewer need less memory; more make the training calmer and slower. "
        "Of several GPUs each has so many.",
    )
    group.addParam(
        "seed",
        params.IntParam,
        default=0,
        validators=[NOT_NEGATIVE],
        condition=NEW,
        expertLevel=LEVEL_ADVANCED,
        label="Random seed",
        help="The same seed, data and machine give the same model. Train with another one to see "
        "how much of a result is chance.",
    )


def _define_data(protocol: Any, form: Any) -> None:
    group = form.addGroup("Data", expertLevel=LEVEL_ADVANCED, condition=NEW)
    protocol._addContrast(group)
    group.addParam(
        "cleanContrast",
        params.EnumParam,
        choices=list(CONTRASTS),
        default=CONTRASTS.index("auto"),
        condition=UNPAIRED,
        expertLevel=LEVEL_ADVANCED,
        label="Density in the clean volumes",
        help="Whether density is *dark* or *bright*; grand models are bright. *auto* finds out "
        "and says so in the log; choose it yourself where the log is in doubt.",
    )
    group.addParam(
        "voxelSize",
        params.FloatParam,
        default=0.0,
        validators=[NOT_NEGATIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Voxel size to train at (A)",
        help="0 takes that of the clean volumes, or of the tomograms where there are none. "
        "Tomograms and clean volumes are brought to it. Larger is faster and sees less detail.",
    )
    line = group.addLine(
        "Tilt range (degrees)",
        expertLevel=LEVEL_ADVANCED,
        help="The lowest and the highest tilt angle, such as -60 and 60. 0 and 0 takes that of the "
        "acquisition, where the tomograms have it. Where it is not symmetric, patches are flipped "
        "only in ways that keep the missing wedge.",
    )
    for name, label in (("tiltMin", "lowest"), ("tiltMax", "highest")):
        line.addParam(
            name,
            params.FloatParam,
            default=0.0,
            validators=[params.Range(-90, 90, error="must be from -90 to 90 degrees")],
            expertLevel=LEVEL_ADVANCED,
            label=label,
            help=f"The {label} tilt angle in degrees; 0 in both takes that of the acquisition.",
        )
    group.addParam(
        "tiltAxis",
        params.EnumParam,
        choices=list(TILT_AXES),
        default=TILT_AXES.index("y"),
        expertLevel=LEVEL_ADVANCED,
        label="Tilt axis of the tomograms",
        help="Axis of the tomograms that the sample was tilted about. It is *y* after nearly all "
        "reconstruction programs; *x* if the tomograms were turned by 90 degrees in the plane.",
    )


def _define_machine(protocol: Any, form: Any) -> None:
    group = form.addGroup("Machine", expertLevel=LEVEL_ADVANCED)
    protocol._addPrecision(group)
    group.addParam(
        "memory",
        params.FloatParam,
        default=2.0,
        validators=[POSITIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Memory for each domain (GiB)",
        help="How much memory the tomograms may take, and the clean volumes as much again. More "
        "data than that is read block by block, which is a little slower. Give less on a small "
        "machine.",
    )
    group.addParam(
        "checkpointEvery",
        params.FloatParam,
        default=5.0,
        validators=[POSITIVE],
        expertLevel=LEVEL_ADVANCED,
        label="Checkpoint every (minutes)",
        help="How much work at most is lost if the run is killed. *Continue* goes on from the last "
        "checkpoint. More on a slow disk, less where jobs are often killed.",
    )
