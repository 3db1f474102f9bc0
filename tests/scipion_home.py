"""Where the checkout is, and a home of Scipion's for the tests alone.

Not in ``conftest.py``: folders have one of their own, and only the last that was read has the name.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def scipion_variables(home: Path) -> dict:
    """Return the variables with which Scipion keeps everything it writes under ``home``."""
    site_packages = Path(sysconfig.get_path("purelib"))
    return {
        "SCIPION_HOME": str(home),
        "SCIPION_USER_DATA": str(home / "user_data"),
        "SCIPION_DOMAIN": "pwem",
        "SCIPION_PYTHON": sys.executable,
        "SCIPION_HOSTS": str(site_packages / "scipion" / "templates" / "hosts.template"),
        "SCIPION_NOTIFY": "False",
    }
