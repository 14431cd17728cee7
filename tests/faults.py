"""A system that fails when a test says so: memory, opening, reading, threads (`tests/faults.c`)."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import require_tool

SOURCE = Path(__file__).with_suffix(".c")
KINDS = ("memory", "open", "read", "thread")
FOR_EVER = 2**62
_LONG = struct.calcsize("l")
_TABLES = ("before", "failing", "seen", "failed")  # of as many numbers as there are kinds
_HEAD = len(_TABLES) * len(KINDS) * _LONG
_FOLDER_BYTES = 256


class Faults:
    """What shall fail in the processes that are started with `environment`."""

    def __init__(self, aside: Path, files: Path) -> None:
        """Build the library.

        Args:
            aside: Where it is put.
            files: Folder whose files count.
        """
        library, control = aside / "faults.so", aside / "faults.control"
        compiler = require_tool("cc")
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, timeout=60)
        control.write_bytes(bytes(_HEAD + 2 * _LONG + _FOLDER_BYTES))
        with control.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 0)
        self._mapped[_HEAD + 2 * _LONG :] = os.fsencode(files).ljust(_FOLDER_BYTES, b"\0")
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_CONTROL": str(control)}

    def arm(self, kind: str, *, after: int = 0, times: int = 1, min_bytes: int = 0) -> None:
        """Let calls fail.

        Args:
            after: How many succeed before.
            times: How many fail then; those behind them succeed.
            min_bytes: Of memory, less than that is always there.
        """
        self.disarm()
        self._write(_HEAD, min_bytes)
        self._write(self._place("before", kind), after)
        self._write(self._place("failed", kind), 0)
        self._write(self._place("failing", kind), times)

    def disarm(self) -> None:
        """Let nothing fail any more."""
        for kind in KINDS:
            self._write(self._place("failing", kind), 0)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let reading wait as long as this lasts, as from a volume whose server is gone."""
        self._write(self._place("failed", "read"), 0)
        self._write(_HEAD + _LONG, 1)
        try:
            yield
        finally:
            self._write(_HEAD + _LONG, 0)

    def failed(self, kind: str) -> int:
        """Return how many calls have failed, or begun to wait, since they were armed."""
        return self._read(self._place("failed", kind))

    def seen(self, kind: str) -> int:
        """Return how many calls there have been, those that failed too."""
        return self._read(self._place("seen", kind))

    def _place(self, table: str, kind: str) -> int:
        return (_TABLES.index(table) * len(KINDS) + KINDS.index(kind)) * _LONG

    def _write(self, place: int, value: int) -> None:
        struct.pack_into("l", self._mapped, place, value)

    def _read(self, place: int) -> int:
        [value] = struct.unpack_from("l", self._mapped, place)
        return int(value)
