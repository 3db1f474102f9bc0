"""The one exception type whose message is meant for the user."""


class DualError(Exception):
    """A problem the user can mend.

    ``str(error)`` is one line that says what is wrong and what to do. The command line
    prints it without a traceback and exits with status 2.
    """
