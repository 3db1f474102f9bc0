"""Names and versions that the plugin shares; nothing here imports Scipion or the engine."""

# Variables of Scipion's configuration.
DUAL_HOME = "DUAL_HOME"
DUAL_ENV_ACTIVATION = "DUAL_ENV_ACTIVATION"

# The package of Scipion's installer ("scipion3 installb dual") that holds the engine's private
# environment. Its version is that of the environment, not of the plugin: raise it when the
# requirements of the engine change, so that users get a new one.
ENGINE_PACKAGE = "dual"
ENGINE_VERSION = "0.2"
ENGINE_INSTALLED = "engine_installed"

DISTRIBUTION = "scipion-em-dual"

# The reference of the method, in bibtex.py.
REFERENCE = "Zeng2024DUAL"

# Values of the engine's options, in the order of the choices that forms show.
CONTRASTS = ("auto", "dark", "bright")
PRECISIONS = ("auto", "float32", "bfloat16")

FAILED_TOMOGRAMS = "FailedTomograms"
