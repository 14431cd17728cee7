"""Decide which sentences share the next decoder step.

Third stop of a request: translator -> *scheduler* -> engine. Bookkeeping only: no clock, no thread, no
onnxruntime, so that a test can replay an hour of traffic in a blink.
"""

from __future__ import annotations

from collections import deque

from service.batching.sequence import Sequence
from service.engine.runner import Step
from service.errors import OverLimit, QueueFull
from service.translation import Finish


class Scheduler:
    """A waiting line in front of a fixed number of decoder rows; row i belongs to `running[i]`."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._max_running, self._max_waiting = max_running, max_waiting
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def check_room(self, count: int, retry_seconds: float) -> None:
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
            self._forget_abandoned()
        if len(self.waiting) + count > self._max_waiting:
            raise QueueFull(
                f"{len(self.waiting):,} sentences are waiting and {count:,} more asked for, "
                f"the limit is {self._max_waiting:,}",
                retry_seconds=retry_seconds,
            )

    def admit(self) -> list[Sequence]:
        """Fill the free rows, oldest first, and return the sentences that joined."""
        joined: list[Sequence] = []
        while self.waiting and len(self.running) + len(joined) < self._max_running:
            sequence = self.waiting.popleft()
            if not sequence.is_abandoned:  # its client hung up while it waited
                joined.append(sequence)
        self.running += joined
        return joined

    def drop_abandoned(self) -> list[int]:
        """Take out the running sentences nobody waits for, and return their rows."""
        return self._remove([row for row, sequence in enumerate(self.running) if sequence.is_abandoned])

    def advance(self, step: Step) -> tuple[list[int], list[tuple[Sequence, Finish]]]:
        """Give every running sentence its piece; return the rows that are free now, and who finished."""
        finished: list[tuple[int, Sequence, Finish]] = []
        for row, sequence in enumerate(self.running):
            reason = sequence.advance(step.chosen[row], step.log_probabilities[row], step.attention[row])
            if reason is not None:
                finished.append((row, sequence, reason))
        rows = self._remove([row for row, _, _ in finished])
        return rows, [(sequence, reason) for _, sequence, reason in finished]

    def _forget_abandoned(self) -> None:
        """Clear the line of sentences nobody waits for; done only when their places are needed."""
        self.waiting = deque(sequence for sequence in self.waiting if not sequence.is_abandoned)

    def _remove(self, rows: list[int]) -> list[int]:
        gone = set(rows)
        self.running = [sequence for row, sequence in enumerate(self.running) if row not in gone]
        return rows
