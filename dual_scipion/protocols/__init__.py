"""The protocols: one module each, and the bases that they share."""

from dual_scipion.protocols.parts.protocol_base import ProtDualBase
from dual_scipion.protocols.parts.protocol_tomograms import ProtDualTomograms
from dual_scipion.protocols.protocol_average import ProtDualAverage
from dual_scipion.protocols.protocol_compensate_wedge import ProtDualCompensateWedge
from dual_scipion.protocols.protocol_denoise import ProtDualDenoise
from dual_scipion.protocols.protocol_evaluate import ProtDualEvaluate
from dual_scipion.protocols.protocol_grand_models import ProtDualGrandModels
from dual_scipion.protocols.protocol_import_model import ProtDualImportModel
from dual_scipion.protocols.protocol_pick_dog import ProtDualPickDog
from dual_scipion.protocols.protocol_simulate import ProtDualSimulate
from dual_scipion.protocols.protocol_train import ProtDualTrain
from dual_scipion.protocols.protocol_translate import ProtDualTranslate

__all__ = [
    "ProtDualAverage",
    "ProtDualBase",
    "ProtDualCompensateWedge",
    "ProtDualDenoise",
    "ProtDualEvaluate",
    "ProtDualGrandModels",
    "ProtDualImportModel",
    "ProtDualPickDog",
    "ProtDualSimulate",
    "ProtDualTomograms",
    "ProtDualTrain",
    "ProtDualTranslate",
]
