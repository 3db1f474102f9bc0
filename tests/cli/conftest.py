"""What holds for every test of the command line."""

import pytest


@pytest.fixture(autouse=True)
def keep_logging():
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.getLogger("dual_core").setLevel(logging.NOTSET)
