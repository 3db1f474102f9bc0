"""The wizards of the forms: one module each, and what they share. Windows are loaded when shown."""

from dual_scipion.wizards.wizard_base import DualWizard
from dual_scipion.wizards.wizard_contrast import DualContrastWizard
from dual_scipion.wizards.wizard_diameter import DualDiameterWizard
from dual_scipion.wizards.wizard_patch import DualPatchWizard
from dual_scipion.wizards.wizard_ts_ids import DualTsIdsWizard

__all__ = [
    "DualContrastWizard",
    "DualDiameterWizard",
    "DualPatchWizard",
    "DualTsIdsWizard",
    "DualWizard",
]
