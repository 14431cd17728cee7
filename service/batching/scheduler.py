"""Decide which sentences share the next decoder step.

Third stop of a request: translator -> *scheduler* -> engine. Bookkeeping only: no clock, no thread, no
onnxruntime, so that a test can replay an hour of traffic in a blink.
"""

from __future__ import annotations

from service.batching.line import Line
from service.batching.sequence import Sequence
from service.engine.cache import close_gaps
from service.engine.runner import Step, padded
from service.errors import OverLimit, QueueFull
from service.translation import Finish


class Scheduler:
    """A waiting line in front of a fixed number of decoder rows; row i belongs to `running[i]`."""

    def __init__(
        self, *, max_running: int, max_waiting: int, max_batch_tokens: int = 2**31, max_overtaken: int = 64
    ) -> None:
        """Start empty.

        Args:
            max_batch_tokens: Positions of all rows, source and target, at the length of the longest: what
                the caches may hold. A sentence that alone is larger runs alone.
            max_overtaken: How many newer sentences may join before any one; the bound on waiting.
        """
        self._max_running, self._max_waiting = max_running, max_waiting
        self._max_batch_tokens = max_batch_tokens
        self.waiting = Line(max_overtaken)
        self.running: list[Sequence] = []

    def check_room(self, count: int, retry_seconds: float, now: float) -> None:
        """Refuse some sentences at once, all or none.

        Raises:
            OverLimit: There would be no room for them even in an empty line.
            QueueFull: Waiting longer would only break the caller's deadline.
        """
        if count > self._max_waiting:
            raise OverLimit(
                "sentences in one call", field="contents",
                limit=self._max_waiting, actual=count, reason="REQUEST_TOO_LONG",
            )  # fmt: skip
        if len(self.waiting) + count > self._max_waiting:
            self._drop_waiting(now)  # done only when their places are needed
        if len(self.waiting) + count > self._max_waiting:
            raise QueueFull(
                f"{len(self.waiting):,} sentences are waiting and {count:,} more asked for, "
                f"the limit is {self._max_waiting:,}",
                retry_seconds=retry_seconds,
            )

    def admit(self, now: float) -> list[Sequence]:
        """Fill the free rows by urgency, and return the sentences that joined."""
        joined: list[Sequence] = []
        source = max((_source_width(s) for s in self.running), default=0)
        target = max((_target_width(s) for s in self.running), default=0)

        def fits(candidate: Sequence) -> bool:
            width = max(source, _source_width(candidate)) + max(target, _target_width(candidate))
            return not self.running or (len(self.running) + 1) * width <= self._max_batch_tokens

        def suits(candidate: Sequence) -> bool:
            return _source_width(candidate) <= source and _target_width(candidate) <= target

        while len(self.running) < self._max_running:
            sequence = self.waiting.take(fits, suits)
            if sequence is None:
                break
            if sequence.is_lost(now):  # its client hung up, or its time ran out, while it waited
                sequence.give_up()
                continue
            joined.append(sequence)
            self.running.append(sequence)
            source = max(source, _source_width(sequence))
            target = max(target, _target_width(sequence))
        return joined

    def drop_lost(self, now: float) -> list[int]:
        """Take out the running sentences that are for nobody any more, and return their rows."""
        rows = [row for row, sequence in enumerate(self.running) if sequence.is_lost(now)]
        for row in rows:
            self.running[row].give_up()
        return self._remove(rows)

    def advance(self, step: Step) -> tuple[list[int], list[tuple[Sequence, Finish]]]:
        """Give every running sentence its piece; return the rows that are free now, and who finished."""
        finished: list[tuple[int, Sequence, Finish]] = []
        for row, sequence in enumerate(self.running):
            reason = sequence.advance(step.chosen[row], step.log_probabilities[row], step.attention[row])
            if reason is not None:
                finished.append((row, sequence, reason))
        rows = self._remove([row for row, _, _ in finished])
        return rows, [(sequence, reason) for _, sequence, reason in finished]

    def _drop_waiting(self, now: float) -> None:
        for sequence in self.waiting.drop(lambda waiting: waiting.is_lost(now)):
            sequence.give_up()

    def _remove(self, rows: list[int]) -> list[int]:
        close_gaps(self.running, rows)
        return rows


def _source_width(sequence: Sequence) -> int:
    """Return the source positions that a sentence needs of every row beside it."""
    return padded(len(sequence.source_ids))


def _target_width(sequence: Sequence) -> int:
    """Return the cache positions that it may come to need: its longest translation and the present step."""
    return padded(sequence.max_tokens + 1)
