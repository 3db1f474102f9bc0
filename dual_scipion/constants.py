"""Names and versions that the plugin shares; nothing here imports Scipion or the engine."""

# Variables of Scipion's configuration.
DUAL_HOME = "DUAL_HOME"
DUAL_ENV_ACTIVATION = "DUAL_ENV_ACTIVATION"

# The package of Scipion's installer ("scipion3 installb dual") that holds the engine's private
# environment. Its version is that of the environment, not of the plugin: raise it when the
# requirements of the engine change, so that users get a new one.
ENGINE_PACKAGE = "dual"
ENGINE_VERSION = "0.1"
ENGINE_INSTALLED = "engine_installed"

DISTRIBUTION = "scipion-em-dual"
