"""The intake: how many requests may be on their way in at once, and for how long.

gRPC allocates a message as soon as its length is announced, and of a message that nobody reads it holds no more than
the flow-control window (64 KiB). So a request is read only when there is a place for it: the places times the largest
message bound what half-received requests hold, whoever sends them. A small request is there before it is read and
keeps its place for no time at all; a sender that stalls loses it after `seconds`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dragoman.errors import DeadlinePassed, ProcessMemoryFull

_MIN_PLACES = 2  # one caller takes at most half of them, so that one is left for the others
_PATIENCE_SECONDS = 1.0  # that a request may be on its way when memory is short


class Intake:
    """Places for requests that are being received; used by the event loop only."""

    def __init__(self, max_bytes: int, max_message_bytes: int, seconds: float) -> None:
        """Start with all places free.

        Args:
            max_bytes: What all requests on their way may hold together.
            max_message_bytes: The largest message that gRPC lets in.
            seconds: How long one may take to arrive.
        """
        self._free = max(_MIN_PLACES, max_bytes // max_message_bytes)
        self._max_of_caller = self._free // 2
        self._seconds = seconds
        self._of: Counter[str] = Counter()  # places by caller
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._arriving: dict[asyncio.Timeout, float] = {}  # since when
        self._idle: set[asyncio.Future[None]] = set()  # streams between two requests

    async def read(self, context: Any, caller: str) -> Any:
        """Read the next message of a call, or the end of its messages.

        Args:
            caller: By which the places are shared: whoever stalls has at most half of them.

        Raises:
            DeadlinePassed: It did not arrive in time.
            ProcessMemoryFull: Memory became short while it was on its way.
        """
        await self._take(caller)
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._arriving[limit] = time.monotonic()
                return await context.read()
        except TimeoutError:
            if not limit.expired():
                raise
            if limit not in self._arriving:
                raise ProcessMemoryFull from None
            message = f"the request did not arrive within {self._seconds:.1f} s"
            raise DeadlinePassed(message, reason="REQUEST_TOO_SLOW", limit=self._seconds) from None
        finally:
            self._arriving.pop(limit, None)
            self._give_back(caller)

    @contextmanager
    def idle(self) -> Iterator[asyncio.Future[None]]:
        """Yield a future that is done when a stream, which may rest between requests, has to go for want of memory."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.add(told)
        try:
            yield told
        finally:
            self._idle.discard(told)
            told.cancel()

    def shed(self) -> int:
        """End what is on its way in and not there yet, since memory is short; return how many calls that ends."""
        now = time.monotonic()
        late = [limit for limit, since in self._arriving.items() if now - since > _PATIENCE_SECONDS]
        for limit in late:
            del self._arriving[limit]
            limit.reschedule(asyncio.get_running_loop().time())
        idle = [told for told in self._idle if not told.done()]
        for told in idle:
            told.set_result(None)
        return len(late) + len(idle)

    async def _take(self, caller: str) -> None:
        if self._free and self._of[caller] < self._max_of_caller:
            self._free -= 1
            self._of[caller] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((caller, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(caller)
            raise

    def _give_back(self, caller: str) -> None:
        self._free += 1
        self._of[caller] -= 1
        if not self._of[caller]:
            del self._of[caller]  # callers come and go
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free places to those who wait, in order, passing over callers that have their share."""
        kept: list[tuple[str, asyncio.Future[None]]] = []
        while self._free and self._waiting:
            caller, turn = self._waiting.popleft()
            if turn.done():
                continue
            if self._of[caller] >= self._max_of_caller:
                kept.append((caller, turn))
                continue
            self._free -= 1
            self._of[caller] += 1
            turn.set_result(None)
        self._waiting.extendleft(reversed(kept))


def address(context: Any) -> str:
    """Return where a call comes from, without the port: by which callers without a name share."""
    peer: str = context.peer()
    return peer.rpartition(":")[0]
