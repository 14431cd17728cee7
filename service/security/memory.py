"""How many bytes of requests the server holds for all its running calls together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import MemoryFull

_LEAST_SECONDS, _MOST_SECONDS = 0.1, 60.0


class Memory:
    """A bound on the bytes of requests; used by the event loop only."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; the clock measures how fast bytes are freed."""
        self._limit, self._clock = limit, clock
        self.held = 0
        self._freed, self._since = 0, clock()  # since it was last empty

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold some bytes for a while; a single request may always be held, however large.

        Raises:
            MemoryFull: There are too many.
        """
        if self.held and self.held + size > self._limit:
            raise MemoryFull(
                limit=self._limit, held=self.held, actual=size, retry_seconds=self._retry_seconds(size)
            )
        if not self.held:
            self._freed, self._since = 0, self._clock()
        self.held += size
        try:
            yield
        finally:
            self.held -= size
            self._freed += size

    def _retry_seconds(self, size: int) -> float:
        """Return when there should be room, at the pace at which bytes were freed since there was plenty."""
        elapsed = self._clock() - self._since
        needed = min(self.held, self.held + size - self._limit)
        estimated = needed * elapsed / self._freed if self._freed else elapsed
        return min(max(estimated, _LEAST_SECONDS), _MOST_SECONDS)
