"""Changes to a key file: one at a time, each written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dragoman import files
from dragoman.errors import ConfigError, quoted
from dragoman.security.keys import Key, Keyring, digest, new_key, parse, serialise


def read(path: Path) -> Keyring:
    """Read a key file.

    Raises:
        ConfigError: It is not one.
        OSError: It cannot be read.
    """
    try:
        return parse(files.read(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def create(path: Path, id_: str, **wanted: Any) -> str:
    """Add a key, making the file if there is none; return the key, which is kept nowhere.

    Args:
        wanted: Further fields of `Key`.

    Raises:
        ConfigError: There is a key of that id already, or a field is wrong.
    """
    with _locked(path):
        ring = read(path) if path.exists() else Keyring()
        if id_ in ring.by_id:
            raise ConfigError(f"{path}: there is a key {quoted(id_)} already; revoke it or choose another id")
        key = new_key(id_)
        entry = Key(id_, digest(key), created=datetime.now(UTC), **wanted)
        _write(path, serialise([*ring.keys, entry]))
    return key


def revoke(path: Path, id_: str) -> None:
    """Take a key out.

    Raises:
        ConfigError: There is none of that id.
    """
    with _locked(path):
        ring = read(path)
        if id_ not in ring.by_id:
            raise ConfigError(f"{path}: there is no key {quoted(id_)}")
        _write(path, serialise(key for key in ring.keys if key.id != id_))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for others that change files of this folder; the system lets go when the process ends."""
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, content: bytes) -> None:
    """Put a whole new file in the place of the old one, which whoever read that can read; a first one is its owner's only.

    Raises:
        OSError: Also if the new file cannot be given to the owner and group of the old one.
    """
    place = path.resolve()  # the file behind a symbolic link, not the link
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            if place.exists():
                old = place.stat()
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
