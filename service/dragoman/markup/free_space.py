"""What is still free of a stretch of the target while siblings are put into it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import NamedTuple

from dragoman.text.spans import Span


class Taken(NamedTuple):
    """A span that somebody has; it may be empty."""

    span: Span
    order: int


class FreeSpace:
    """The gaps of a stretch; each question is answered by bisection."""

    def __init__(self, target: str, within: Span) -> None:
        self._target, self._within = target, within
        self._taken: list[Taken] = []  # disjoint, and so in order by their ends, too
        self._searched: dict[str, int] = {}  # where to look on for a text: what is taken stays taken

    @property
    def whole(self) -> Span | None:
        """Return all of the stretch, if nothing of it is taken."""
        return None if self._taken else self._within

    def clamp(self, at: int) -> int:
        """Return the place of the stretch that is nearest, taken or not."""
        return min(max(at, self._within.start), self._within.end)

    def take(self, span: Span, order: int) -> None:
        """Take a span that is free."""
        insort(self._taken, Taken(span, order))

    def gap_of(self, span: Span) -> int | None:
        """Return the number of the gap that holds a span, or None if it is not free."""
        number = bisect_right(self._taken, span.start, key=_end)
        limit = self._taken[number].span.start if number < len(self._taken) else self._within.end
        return number if self._within.start <= span.start and span.end <= limit else None

    def nearest(self, at: int) -> int:
        """Return the free place that is nearest, the first of two."""
        number = bisect_left(self._taken, at, key=_start)
        low = self._taken[number - 1].span.end if number else self._within.start
        high = self._taken[number].span.start if number < len(self._taken) else self._within.end
        if low <= at or not number:
            return min(max(at, low), high)
        before = self._taken[number - 1].span.start
        return before if at - before <= low - at else low

    def around(self, at: int) -> Taken | None:
        """Return the taken span that a place lies inside of."""
        number = bisect_left(self._taken, at, key=_start)
        if number and at < self._taken[number - 1].span.end:
            return self._taken[number - 1]
        return None

    def find(self, text: str) -> Span | None:
        """Return the first free span that spells a text."""
        at = self._target.find(text, self._searched.get(text, self._within.start), self._within.end)
        while at >= 0 and self.gap_of(Span(at, at + len(text))) is None:
            at = self._target.find(text, at + 1, self._within.end)
        self._searched[text] = at if at >= 0 else self._within.end
        return Span(at, at + len(text)) if at >= 0 else None


def _start(taken: Taken) -> int:
    return taken.span.start


def _end(taken: Taken) -> int:
    return taken.span.end
