"""What the tests of several tasks share."""

import logging

import pytest


@pytest.fixture
def dual(capsys):
    """Run ``dual`` in this process; gives the status and what it said on stderr."""
    from dual_core.cli.main import main

    root = logging.getLogger()
    before = root.handlers[:], root.level

    def call(*arguments):
        status = main([str(a) for a in arguments])
        return status, capsys.readouterr().err

    yield call
    root.handlers[:], root.level = before
    logging.getLogger("dual_core").setLevel(logging.NOTSET)
