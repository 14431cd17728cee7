"""Stand-ins that tests share, each with the smallest behaviour that its name promises."""

import math
from collections.abc import Sequence as Items

import numpy as np

from service.batching.sequence import Sequence
from service.engine.cache import close_gaps
from service.engine.runner import FREE, Step
from service.text.tokenizer import EOS_ID

TAG_ID = 4


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let some time pass."""
        self.now += seconds


class FakeRunner:
    """An engine that repeats each source piece by piece, surely, and looks at the piece it repeats.

    Attributes:
        batches: For each step, the sources that shared it.
        fails_at: The step, from 0, that raises; None: none does.
        seconds: What each step takes on the clock.
    """

    def __init__(
        self, clock: FakeClock | None = None, *, seconds: float = 0.0, fails_at: int | None = None
    ) -> None:
        self.clock, self.seconds, self.fails_at = clock or FakeClock(), seconds, fails_at
        self.batches: list[list[list[int]]] = []
        self._rows: list[tuple[list[int], int]] = []  # source, pieces written

    def join(self, sources: Items[Items[int]]) -> None:
        """Give each source a row."""
        self._rows += [(list(source), 0) for source in sources]

    def step(self, forced: Items[int]) -> Step:
        """Repeat the next piece of every row, or take the forced one."""
        if self.fails_at == len(self.batches):
            self.batches.append([])
            raise RuntimeError("the engine is out of order")
        self.clock.advance(self.seconds)
        self.batches.append([source for source, _ in self._rows])
        chosen = []
        attention = np.zeros((len(self._rows), max(len(source) for source, _ in self._rows)), np.float32)
        for row, ((source, written), wanted) in enumerate(zip(self._rows, forced, strict=True)):
            place = min(written + 1, len(source) - 1)  # the tag is not repeated
            chosen.append(source[place] if wanted == FREE else wanted)
            attention[row, place] = 1.0
        self._rows = [(source, written + 1) for source, written in self._rows]
        return Step(chosen, [-0.5] * len(chosen), attention)

    def leave(self, rows: Items[int]) -> None:
        """Give up some rows."""
        close_gaps(self._rows, rows)

    def clear(self) -> None:
        """Give up all rows."""
        self._rows = []


def sequence(
    *pieces: int, max_tokens: int = 100, shift: int = 0, priority: int = 0, deadline: float = math.inf
) -> Sequence:
    """Return a sentence of some pieces, as the translator would hand it in."""
    source = [TAG_ID, *pieces, EOS_ID]
    return Sequence(source, max_tokens=max_tokens, shift=shift, priority=priority, deadline=deadline)
