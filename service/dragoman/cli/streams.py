"""The standard streams, also those that whoever started us has closed.

A closed one would be `None` to Python and, worse, its number the next file's: log lines would end in a socket.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

# What takes the place of a closed stream: reading the first or writing the second fails as it would have failed,
# and of the third nobody can be told.
_IN_PLACE = ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))


def open_streams() -> None:
    """Make all three exist, and speak UTF-8; to be called before anything is opened."""
    for number, flags in _IN_PLACE:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def drop_output() -> bool:
    """Let go of what cannot be written to standard output, or Python would complain at its exit; tell whether there was any."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
