"""A dynamic batcher, as good as one can be in front of an engine that translates whole batches.

Sentences of all calls and directions wait together. A free worker takes a batch at once, so nothing waits for
company while the engine is idle; while it is busy, the next batch forms. A batch is of sentences of similar
length and always has the oldest one in it, so that nobody waits for ever. What such a batcher cannot do: let
a sentence leave, or another join, before the longest of the batch is finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from tests.benchmarks.corpus import Sentence

WINDOW = 4  # batches among which sentences of similar length are looked for
Run = Callable[[list[Sentence]], list[list[int]]]


@dataclass(frozen=True)
class Limits:
    """How much shares a batch, and how long an idle engine waits for company."""

    max_batch: int = 32
    max_batch_tokens: int = 4096  # source tokens, padding included
    wait_seconds: float = 0.0


@dataclass(eq=False)
class Waiting:
    """A sentence in the line."""

    sentence: Sentence
    arrived: float = 0.0
    future: Future[list[int]] = field(default_factory=Future)


def choose(lengths: Sequence[int], limits: Limits) -> list[int]:
    """Return the places of the sentences that make the next batch, longest first.

    Of all runs of similar length that hold the oldest sentence: the one with the most sentences, and of those
    the one with the least padding.

    Args:
        lengths: Of the sentences that wait, in the order of their arrival.

    >>> choose([9, 30, 8, 31, 10], Limits(max_batch=3))
    [4, 0, 2]
    >>> choose([9, 30, 8, 31, 10], Limits(max_batch=8, max_batch_tokens=40))
    [4, 0, 2]
    """
    window = range(min(len(lengths), WINDOW * limits.max_batch))
    order = sorted(
        window, key=lambda place: (-lengths[place], -place)
    )  # of equals, the older beside the oldest
    oldest = order.index(0)
    best: tuple[int, int, list[int]] | None = None
    for start in range(max(0, oldest - limits.max_batch + 1), oldest + 1):
        longest = lengths[order[start]]
        count = min(limits.max_batch, max(1, limits.max_batch_tokens // longest))
        run = order[start : start + count]
        if start + count <= oldest:
            continue  # too long to have the oldest beside them
        found = (len(run), -sum(longest - lengths[place] for place in run), run)
        best = max(best or found, found, key=lambda one: one[:2])
    assert best is not None, "the oldest fits alone. This is a bug."
    return best[2]


class DynamicBatcher:
    """Workers, a thread each, that fetch their next batch themselves: no hop through another thread between."""

    def __init__(self, run: Run, limits: Limits, workers: int = 1) -> None:
        self._run, self._limits = run, limits
        self._changed = threading.Condition()
        self._waiting: list[Waiting] = []
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._serve, name="engine", daemon=True) for _ in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, sentences: Sequence[Sentence]) -> list[Future[list[int]]]:
        """Queue the sentences of a call together; the futures bring the pieces of their translations."""
        now = time.monotonic()
        items = [Waiting(sentence, now) for sentence in sentences]
        with self._changed:
            self._waiting += items
            self._changed.notify()
        return [item.future for item in items]

    def close(self) -> None:
        """Translate what waits, then stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while batch := self._next():
            try:
                written = self._run([item.sentence for item in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers are told
                for item in batch:
                    item.future.set_exception(error)
                continue
            for item, pieces in zip(batch, written, strict=True):
                item.future.set_result(pieces)

    def _next(self) -> list[Waiting]:
        """Wait for a batch; an empty one means that it is all over."""
        with self._changed:
            while True:
                self._waiting = [item for item in self._waiting if not item.future.cancelled()]
                if not self._waiting:
                    if self._is_closed:
                        return []
                    self._changed.wait()
                    continue
                left = self._waiting[0].arrived + self._limits.wait_seconds - time.monotonic()
                if left <= 0 or len(self._waiting) >= self._limits.max_batch or self._is_closed:
                    break
                self._changed.wait(left)
            places = choose([len(item.sentence.ids) for item in self._waiting], self._limits)
            batch = [self._waiting[place] for place in places]
            taken = set(places)
            self._waiting = [item for place, item in enumerate(self._waiting) if place not in taken]
            if self._waiting:
                self._changed.notify()  # there may be another free worker
        return [item for item in batch if item.future.set_running_or_notify_cancel()] or self._next()
