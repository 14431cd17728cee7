"""Files that are read whole: regular ones, up to a size, within a time.

A FIFO in the place of a file would keep its reader waiting for ever, and a device would fill the memory. What cannot be
bounded here is a single read that the system does not return from, as on a network volume that hangs: whoever must not
wait for that reads in a thread of its own.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from dragoman.errors import ConfigError

_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class ReadLimits:
    """How much of one file is read, and for how long.

    Attributes:
        max_bytes: By default enough for any file of settings, keys or certificates.
    """

    max_bytes: int = 16 * 2**20
    max_seconds: float = 10.0


SMALL = ReadLimits()


def read(path: Path, limits: ReadLimits = SMALL) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: It cannot be read, is no regular file, is too large, or takes too long; `strerror` says the limit.
    """
    content = BytesIO()
    for block in blocks(path, limits):
        content.write(block)
    return content.getvalue()


def blocks(path: Path, limits: ReadLimits, clock: Callable[[], float] = time.monotonic) -> Iterator[bytes]:
    """Yield the content of a regular file piece by piece; errors as in `read`."""
    deadline = clock() + limits.max_seconds
    total = 0
    with os.fdopen(_open(path, limits.max_bytes), "rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            total += len(block)
            if total > limits.max_bytes:  # it has grown, or the system did not know its size
                raise _too_large(path, total, limits.max_bytes)
            if clock() > deadline:
                said = (
                    f"{total:,} bytes read in {limits.max_seconds:g} seconds, which is the limit, and not all"
                )
                raise TimeoutError(errno.ETIMEDOUT, said, str(path))
            yield block


def writable_by_all(path: Path) -> list[Path]:
    """Return which of a file and its folder all users of the machine may write, and so change what is read."""
    file = path.resolve()
    try:
        places = [path] if file.is_file() and file.stat().st_mode & stat.S_IWOTH else []
        folder = file.parent.stat().st_mode
    except OSError:  # whoever reads it is told
        return []
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:  # as /tmp has: nobody replaces what is another's
        places.append(file.parent)
    return places


def utf8(content: bytes, first_line: int = 1) -> str:
    """Return a text.

    Args:
        first_line: Its number, if the content is the rest of a file.

    Raises:
        ValueError: It is not UTF-8; the message says at which line and column.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        line, column = first_line + before.count("\n"), len(before) - before.rfind("\n")
        byte = content[error.start]
        raise ValueError(f"line {line:,}, column {column:,}: byte 0x{byte:02x} is not UTF-8") from None


def text_lines(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of a text, with their ends.

    Args:
        name: What to call it when a line is wrong.

    Raises:
        ConfigError: A line is not UTF-8; the message says where.
    """
    for number, line in enumerate(lines, start=1):
        try:
            yield utf8(line, number)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None


def _open(path: Path, max_bytes: int) -> int:
    """Open a file without waiting for whoever writes to a FIFO; a device is not even opened."""
    _check(path, path.stat(), max_bytes)
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(file), max_bytes)  # another may have taken its place
    except OSError:
        os.close(file)
        raise
    return file


def _check(path: Path, found: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > max_bytes:
        raise _too_large(path, found.st_size, max_bytes)


def _too_large(path: Path, actual: int, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"{actual:,} bytes, the limit is {limit:,}", str(path))
