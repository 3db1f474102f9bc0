"""``python -m dual_core`` is the same thing as ``dual``."""

import sys

from dual_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
