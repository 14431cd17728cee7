"""The overload manager: what the server does when the process itself runs short of memory (after Envoy's).

Bounds on requests, queues and caches hold for what they count. This one looks at real memory, whatever holds it: near
the limit new calls are refused, requests that are still on their way are given up, and freed memory goes back to the
system. It ends by itself when there is room again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from dragoman.errors import ProcessMemoryFull

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1
_ROOM = 0.95  # of the limit; below it calls are let in again
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Return how many bytes of memory this process holds; 0 where the system does not say."""
    try:
        return int(statm.read_text("ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


class Overload:
    """Whether the process is short of memory; used by the event loop only."""

    def __init__(
        self,
        limit: int,
        shed: Callable[[], int],
        give_memory_back: Callable[[], None],
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        """Start with room.

        Args:
            limit: Bytes of the process from which on it is short of memory; 0: never.
            shed: Ends requests that are on their way in, and returns how many.
            give_memory_back: Returns freed memory to the system.
            resident: Returns how many bytes the process holds.
        """
        self._limit, self._shed, self._give_back, self._resident = limit, shed, give_memory_back, resident
        self.is_short = False

    def check(self) -> None:
        """Refuse a new call while memory is short.

        Raises:
            ProcessMemoryFull: It is.
        """
        if self.is_short:
            raise ProcessMemoryFull

    async def run(self) -> None:
        """Look at the memory again and again."""
        while self._limit:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Act on what the process holds now."""
        held = self._resident()
        if held > self._limit:
            ended = self._shed()
            if not self.is_short or ended:
                log.warning(
                    "memory is short: %d MiB of %d; new calls are refused, %d that were arriving are ended",
                    held >> 20, self._limit >> 20, ended,
                )  # fmt: skip
            self.is_short = True
            self._give_back()
        elif self.is_short and held < _ROOM * self._limit:
            log.info("memory is no longer short: %d MiB of %d", held >> 20, self._limit >> 20)
            self.is_short = False
