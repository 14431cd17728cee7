"""Files that are read again when they change; unusable content leaves the old in use.

Contents are compared, not times of modification: a mounted secret changes by a swapped symbolic link, and a
clock may be too coarse to tell two writes apart. The files are small.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from dragoman import files
from dragoman.errors import ConfigError

T = TypeVar("T")
log = logging.getLogger(__name__)


class ReloadingFile(Generic[T]):
    """What some files mean, as of the last time they made sense.

    `value` may be read from any thread; `refresh` is called by one at a time, and never by the event loop.
    """

    def __init__(self, name: str, paths: Sequence[Path], parse: Callable[[list[bytes]], T]) -> None:
        """Read the files.

        Args:
            name: What to call them in errors and in the log.
            parse: Contents to value; raises ConfigError, whose message must not show what is secret.

        Raises:
            ConfigError: They cannot be read, or make no sense.
        """
        self.name, self._paths, self._parse = name, list(paths), parse
        self._seen = self._read()
        self.value = self._checked(self._seen)
        self._failed: list[bytes] | str | None = (
            None  # what was wrong at the last look: contents, or why none
        )
        self._is_told = False
        self._open_to_all: set[Path] = set()
        self._warn()

    def refresh(self) -> bool | None:
        """Look again: True if there is a new value, False if what is there cannot be used, None if all is as it was.

        A fault is told, and False, once, and only when a second look finds it too: the first may have met the
        files while they were being written.
        """
        self._warn()
        contents: list[bytes] | None = None
        try:
            contents = self._read()
            if contents == self._seen:
                self._failed = None
                return None
            value = self._checked(contents)
        except ConfigError as error:
            return self._note(contents if contents is not None else error.message, error)
        self._seen, self.value, self._failed = contents, value, None
        log.info("%s: read again and in use", self.name)
        return True

    @property
    def is_current(self) -> bool:
        """Tell whether what is there is in use, as far as it was looked at; a fault that was not told yet is none."""
        return self._failed is None or not self._is_told

    def _note(self, found: list[bytes] | str, error: ConfigError) -> bool | None:
        if found != self._failed:
            self._failed, self._is_told = found, False
            return None
        if self._is_told:
            return None
        self._is_told = True
        log.error("%s; NOT in use, what was read before still is", error.message)
        return False

    def _warn(self) -> None:
        """Tell, once, of what everybody may write."""
        found = {place for path in self._paths for place in files.writable_by_all(path)}
        for place in sorted(found - self._open_to_all):
            log.warning("%s: %s may be written by all users of this machine (chmod o-w)", self.name, place)
        self._open_to_all = found

    def _read(self) -> list[bytes]:
        return [_contents(self.name, path) for path in self._paths]

    def _checked(self, contents: list[bytes]) -> T:
        try:
            value = self._parse(contents)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error.message}") from None
        if self._read() != contents:  # a parser may look at the files itself, as OpenSSL does
            raise ConfigError(f"{self.name}: changes while it is read")
        return value


def _contents(name: str, path: Path) -> bytes:
    try:
        return files.read(path)
    except OSError as error:
        raise ConfigError(f"{name}: {path}: {error.strerror or error}") from None
