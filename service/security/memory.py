"""How many bytes the server holds for all its running calls together: requests, and the attention they may get."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import MemoryFull

Hold = Callable[[int], None]
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 60.0


class Memory:
    """A bound on the bytes of all calls; used by the event loop only."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; the clock measures how fast bytes are freed."""
        self._limit, self._clock = limit, clock
        self.held = 0
        self._freed, self._since = 0, clock()  # since it was last empty

    @contextmanager
    def holding(self, size: int) -> Iterator[Hold]:
        """Hold some bytes for one call, or for one text of a stream, until it ends.

        Yields:
            What holds more of them for it, or raises as this does. If nobody else holds any, they are held however many.

        Raises:
            MemoryFull: There are too many.
        """
        own = 0

        def hold(more: int) -> None:
            nonlocal own
            others = self.held - own
            if others and self.held + more > self._limit:
                raise MemoryFull(
                    limit=self._limit, held=self.held, actual=more, retry_seconds=self._retry_seconds(more)
                )
            if not self.held:
                self._freed, self._since = 0, self._clock()
            self.held += more
            own += more

        hold(size)
        try:
            yield hold
        finally:
            self.held -= own
            self._freed += own

    def _retry_seconds(self, size: int) -> float:
        """Return when there should be room, at the pace at which bytes were freed since there was plenty."""
        elapsed = self._clock() - self._since
        needed = min(self.held, self.held + size - self._limit)
        estimated = needed * elapsed / self._freed if self._freed else elapsed
        return min(max(estimated, _LEAST_SECONDS), _MOST_SECONDS)
