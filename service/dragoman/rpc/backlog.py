"""The backlog: calls that came, and that the core of gRPC ended before anybody took them from it.

When calls come faster than they are taken the core ends some with CANCELLED, at random, whoever sent them
(`max_unread_calls`). No handler sees those, so they are counted here, as the difference between what the core counts and
what we took; and while most calls end so, health says NOT_SERVING: another server may do better.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from dragoman.observability.metrics import Metrics

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_LOOKS = 10  # over which calls are counted
_FEW_CALLS = 100  # within that time, of which nothing is concluded
_LOSING, _STILL_LOSING = 0.5, 0.25  # part of the calls


class Source(Protocol):
    """A server that counts its calls."""

    taken: int

    def arrived(self) -> int:
        """Return how many calls came; fewer than before once the server is gone."""


class Backlog:
    """Counts the calls of all ports, and judges; used by the event loop only."""

    def __init__(self, metrics: Metrics, report: Callable[[bool], Awaitable[None]]) -> None:
        """Start with nothing to count.

        Args:
            report: Is told whether the server serves, whenever that changes.
        """
        self._metrics, self._report = metrics, report
        self._sources: list[tuple[Source, list[int]]] = []  # with what each has counted so far
        self._looks: deque[tuple[int, int]] = deque(
            [(0, 0)], maxlen=_LOOKS + 1
        )  # calls that came, and were taken
        self.is_losing = False

    def add(self, source: Source) -> None:
        """Count the calls of one more server."""
        self._sources.append((source, [0, 0]))

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            was_losing = self.is_losing
            self.look()
            if was_losing != self.is_losing:
                await self._report(not self.is_losing)

    def look(self) -> None:
        """Count, and judge by the last seconds."""
        arrived, taken = map(sum, zip((0, 0), *(_added(*source) for source in self._sources), strict=True))
        self._metrics.arrived_calls.inc(arrived)
        self._metrics.taken_calls.inc(taken)
        self._looks.append((self._looks[-1][0] + arrived, self._looks[-1][1] + taken))
        all_arrived, all_taken = (
            last - first for last, first in zip(self._looks[-1], self._looks[0], strict=True)
        )
        lost = (all_arrived - all_taken) / max(all_arrived, _FEW_CALLS)
        self._judge(lost)

    def _judge(self, lost: float) -> None:
        if not self.is_losing and lost > _LOSING:
            self.is_losing = True
            log.warning("too many calls come at once: gRPC ends %d %% of them unseen", round(100 * lost))
        elif self.is_losing and lost < _STILL_LOSING:
            self.is_losing = False
            log.info("calls are taken again as they come")


def _added(source: Source, counted: list[int]) -> tuple[int, int]:
    """Return how many calls came and were taken since the last time."""
    before = tuple(counted)
    counted[:] = max(source.arrived(), counted[0]), source.taken
    return counted[0] - before[0], counted[1] - before[1]
