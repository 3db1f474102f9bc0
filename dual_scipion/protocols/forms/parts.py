"""Parts that the forms of several protocols have in common."""

from __future__ import annotations

from typing import Any

import pyworkflow.protocol.params as params
from pyworkflow.protocol import ProtStreamingBase
from pyworkflow.protocol.constants import LEVEL_ADVANCED
from pyworkflow.utils import Message

from dual_scipion.constants import CONTRASTS, PRECISIONS

CPU_THREADS_HELP = (
    "How many CPU cores the engine uses for each tomogram. On a CPU give all cores, divided by the "
    "number of tomograms that are done at a time. On a GPU 2 to 4 are enough."
)

TOMOGRAMS_PER_RUN = 25  # starts are then a few per cent of the time, and GPUs end together

# What the field says, and what the engine is told: nothing leaves it to the model.
TILT_AXES = {"as the model's": None, "y": "y", "x": "x"}

GPUS_HELP = (
    "One tomogram uses one GPU: for N GPUs at a time set Scipion threads to N + 1 (N + 2 if the "
    "input set is still growing)."
)


def add_noise_contrast(group: Any, **options: Any) -> None:
    """``noiseContrast``: the density in the tomograms whose noise is imitated."""
    group.addParam(
        "noiseContrast",
        params.EnumParam,
        choices=list(CONTRASTS),
        default=CONTRASTS.index("auto"),
        expertLevel=LEVEL_ADVANCED,
        label="Density where the noise is from",
        help="Whether particles are *dark* or *bright* in the tomograms of which the noise is "
        "imitated. *auto* finds out and says so in the log; choose it yourself where the log is in "
        "doubt.",
        **options,
    )


class FormParts:
    """Mixin of `ProtDualBase`: each method adds some parameters to a form.

    A parameter that is added must be read: `machineOptions` of the base reads those of
    `_addMachine`, the others are ``self.inputTomograms``, ``self.inputModel`` (pointers) and
    ``self.getEnumText("contrast")``.
    """

    def _addInputSection(self, form: Any) -> None:
        form.addSection(label=Message.LABEL_INPUT)

    def _addInputTomograms(self, form: Any, help: str, label: str = "Tomograms") -> None:
        form.addParam(
            "inputTomograms",
            params.PointerParam,
            pointerClass="SetOfTomograms",
            important=True,
            label=label,
            help=help,
        )

    def _addInputModel(self, form: Any, help: str, **options: Any) -> None:
        form.addParam(
            "inputModel",
            params.PointerParam,
            pointerClass="DualModel",
            important=True,
            label="DUAL model",
            help=help,
            **options,
        )

    def _addGpu(self, form: Any, several: str = GPUS_HELP) -> None:
        """The GPU switch and list, which Scipion shows in the head of the form.

        Parameters
        ----------
        form : of the protocol.
        several : what becomes of more than one GPU.
        """
        form.addHidden(
            params.USE_GPU,
            params.BooleanParam,
            default=True,
            label="Use GPU",
            help="Yes: run on a graphics card, which is 10 to 100 times faster. If there is none "
            "the run stops with an error rather than going on slowly. No: run on the CPU.",
        )
        form.addHidden(
            params.GPU_LIST,
            params.StringParam,
            default="0",
            label="GPU IDs",
            help="Numbers of the GPUs to use, as nvidia-smi counts them, for example '0' or '0,1'. "
            f"{several} In a queue only how many there are counts; the queue chooses which.",
        )

    def _addContrast(self, form: Any) -> None:
        form.addParam(
            "contrast",
            params.EnumParam,
            choices=list(CONTRASTS),
            default=CONTRASTS.index("auto"),
            expertLevel=LEVEL_ADVANCED,
            label="Density in the tomograms",
            help="Whether particles are *dark* (as they come from most reconstruction programs) or "
            "*bright*. With *auto* the engine finds out and says so in the log. Choose it "
            "yourself where the log says that it is in doubt.",
        )

    def _addTiltAxis(self, form: Any) -> None:
        """``tiltAxis``, of `TILT_AXES`; Scipion knows that of raw images and not of tomograms."""
        form.addParam(
            "tiltAxis",
            params.EnumParam,
            choices=list(TILT_AXES),
            default=0,
            expertLevel=LEVEL_ADVANCED,
            label="Tilt axis of the tomograms",
            help="Axis of the tomograms that the sample was tilted about. *As the model's*: that "
            "of the tomograms it was trained on; the built-in general model takes *y*. It is *y* "
            "after nearly all reconstruction programs: choose *x* if these tomograms were turned "
            "by 90 degrees in the plane. (The tilt axis angle of the acquisition does not matter: "
            "it is that of the images before the alignment.)",
        )

    def _addPrecision(self, form: Any) -> None:
        form.addParam(
            "precision",
            params.EnumParam,
            choices=list(PRECISIONS),
            default=PRECISIONS.index("auto"),
            expertLevel=LEVEL_ADVANCED,
            label="Arithmetic",
            help="*auto* takes bfloat16 where the device is faster with it. Choose *float32* to "
            "compare results of different machines, or if a run stops with values that are not "
            "finite.",
        )

    def _addTiles(self, form: Any) -> None:
        """Tile and halo of inference, for experts."""
        line = form.addLine(
            "Tile and halo (voxels)",
            expertLevel=LEVEL_ADVANCED,
            help="Tomograms are treated in overlapping tiles. 0 lets the engine choose by the free "
            "memory, and it halves the tile by itself if the memory runs out. *Tile*: longest "
            "side, halo included; smaller needs less memory and more time. *Halo*: context "
            "around the core of a tile; do not make it smaller than the engine chooses.",
        )
        for name, label in (("tile", "tile"), ("halo", "halo")):
            line.addParam(
                name,
                params.IntParam,
                default=0,
                expertLevel=LEVEL_ADVANCED,
                validators=[params.GE(0, error="must be 0 (automatic) or more voxels")],
                label=label,
                help=f"Side of the {label} in voxels; 0 lets the engine choose.",
            )

    def _addStreaming(self, form: Any) -> None:
        """Section with what concerns open input sets."""
        # Of pyworkflow: that of pwem, which comes first, has a size of batches that is not used.
        ProtStreamingBase._defineStreamingParams(self, form)

    def _addBatch(self, form: Any) -> None:
        """How many tomograms one run of the engine takes, for experts."""
        form.addParam(
            "engineBatch",
            params.IntParam,
            default=TOMOGRAMS_PER_RUN,
            validators=[params.GE(1, error="must be 1 or more tomograms")],
            expertLevel=LEVEL_ADVANCED,
            label="Tomograms per run",
            help="How many tomograms one start of the engine treats; fewer if some of the threads "
            "or GPUs would have none. Each is registered as soon as it is finished, and one that "
            "fails does not concern the others. A start takes 3 to 20 seconds. Choose 1 for a step "
            "of its own for each tomogram, for example where steps are jobs of a queue with a "
            "short time limit.",
        )

    def _addMachine(self, form: Any) -> None:
        """A group with what concerns the machine and not the result, for experts."""
        group = form.addGroup("Machine", expertLevel=LEVEL_ADVANCED)
        self._addTiles(group)
        self._addPrecision(group)

    def _addParallel(self, form: Any, threads: int = 3, cpuThreads: int = 4) -> None:
        """Scipion threads (how many tomograms at a time, plus one) and threads of the engine."""
        if self.modeParallel():  # type: ignore[attr-defined]
            form.addParallelSection(
                threads=threads, mpi=0, binThreads=cpuThreads, binThreadsHelp=CPU_THREADS_HELP
            )
        else:
            form.addParallelSection(threads=cpuThreads, mpi=0)
