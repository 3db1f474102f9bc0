"""The name under which Scipion's plugin manager finds the plugin.

For the manager (``scipion3 installp``) a plugin is the first package of its distribution in
alphabetical order. Without this one that would be the engine, which knows nothing of Scipion.
"""

from dual_scipion import Plugin, __version__

__all__ = ["Plugin", "__version__"]
