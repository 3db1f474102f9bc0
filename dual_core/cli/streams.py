"""Output streams that a closed terminal, a closed pipe or an odd file name cannot stop work by."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any, Iterator, Optional, TextIO

from dual_core.safety.shown import safe_lines

# The reader has gone: a pipe, a terminal, a descriptor closed by the shell. A full disk, where
# results are written into a file, is not among them.
_READER_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET)


class LastingStream:
    """A text stream whose reader may go; what is written afterwards is dropped.

    Parameters
    ----------
    stream : the stream of the interpreter, or None where the shell closed it.
    plain : whether control characters are replaced; not for progress bars.
    """

    def __init__(self, stream: Optional[TextIO], plain: bool) -> None:
        self._stream = stream
        self._plain = plain
        self.broken = False

    def write(self, text: str) -> int:
        """Write text in an encoding's own characters and the codes of all others."""
        if self._stream is None or self.broken:
            return len(text)
        written = safe_lines(text) if self._plain else text
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        written = written.encode(encoding, "backslashreplace").decode(encoding)
        with self._until_broken():
            self._stream.write(written)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        if self._stream is not None and not self.broken:
            with self._until_broken():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._stream is not None and not self.broken and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _until_broken(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _READER_GONE:
                raise
            self.broken = True
            # What is in the buffer would make the interpreter complain at its exit.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # type: ignore[union-attr]
                os.close(nowhere)


@contextlib.contextmanager
def lasting_streams() -> Iterator[LastingStream]:
    """Put lasting streams in the place of stdout and stderr; yields that of stdout."""
    before = sys.stdout, sys.stderr
    output = LastingStream(sys.stdout, plain=True)
    sys.stdout = output
    sys.stderr = LastingStream(sys.stderr, plain=False)
    try:
        yield output
        output.flush()
    finally:
        sys.stdout, sys.stderr = before
