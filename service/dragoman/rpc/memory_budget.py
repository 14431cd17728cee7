"""How many bytes the server holds for all its running calls together: requests, and the attention they may get."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from dragoman.errors import MemoryFull


class Hold(Protocol):
    """Holds more bytes for a call, until it ends."""

    def __call__(self, more: int, *, is_refused: bool = True) -> None:
        """Hold some bytes more.

        Args:
            is_refused: Refuse them if there is no room; what is made already is held all the same.

        Raises:
            MemoryFull: There is no room.
        """


_LEAST_SECONDS, _MOST_SECONDS = 0.1, 60.0


class MemoryBudget:
    """A bound on the bytes of all calls; used by the event loop only."""

    def __init__(
        self,
        limit: int,
        share: Callable[[], float] = lambda: 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            limit: Bytes of all calls together.
            share: Says which part of it the calls of one caller with a name may take together.
            clock: Measures how fast bytes are freed.
        """
        self._limit = limit
        self._share = share
        self._clock = clock
        self._of: Counter[str] = Counter()  # bytes by caller
        self.held = 0
        self._freed, self._since = 0, clock()  # since it was last empty

    @contextmanager
    def holding(self, size: int, caller: str = "") -> Iterator[Hold]:
        """Hold some bytes for one call, or for one text of a stream, until it ends.

        Args:
            caller: Whose it is; empty where callers cannot be told apart.

        Yields:
            What holds more of them for it, or raises as this does. If nobody else holds any, they are held however many.

        Raises:
            MemoryFull: There are too many.
        """
        own = 0

        def hold(more: int, *, is_refused: bool = True) -> None:
            nonlocal own
            limits = [(self._limit, self.held)]
            if caller:
                limits.append((int(self._share() * self._limit), self._of[caller]))
            for limit, held in limits if is_refused else ():
                if held > own and held + more > limit:
                    raise MemoryFull(
                        limit=limit, held=held, actual=more, retry_seconds=self._retry_seconds(more)
                    )
            if not self.held:
                self._freed, self._since = 0, self._clock()
            self.held += more
            own += more
            self._of[caller] += more

        hold(size)
        try:
            yield hold
        finally:
            self.held -= own
            self._of[caller] -= own
            if not self._of[caller]:
                del self._of[caller]  # callers come and go
            self._freed += own

    def _retry_seconds(self, size: int) -> float:
        """Return when there should be room, at the pace at which bytes were freed since there was plenty."""
        elapsed = self._clock() - self._since
        needed = min(self.held, self.held + size - self._limit)
        estimated = needed * elapsed / self._freed if self._freed else elapsed
        return min(max(estimated, _LEAST_SECONDS), _MOST_SECONDS)
