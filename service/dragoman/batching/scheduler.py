"""The scheduler: which sentences share the next decoder step, and which row each hypothesis has.

Bookkeeping only: no clock, no thread, no onnxruntime, so that a test can replay an hour of traffic in a moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.search import Hypothesis
from dragoman.batching.waiting_queue import WaitingQueue
from dragoman.bundle.padding import padded
from dragoman.engine.cache import close_gaps
from dragoman.engine.model_runner import Step


@dataclass
class Outcome:
    """The consequences of a step for the engine's rows and for the callers, in the order in which they apply.

    Attributes:
        branches: (source, target, steps): rows that become copies of others from a step on, because the steps before
            are the same already. New rows are numbered on from the last.
        left: Rows that are free afterwards.
        finished: Sentences that are done.
        lost: Sentences that were given up.
    """

    branches: list[tuple[int, int, int]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    finished: list[DecodeRequest] = field(default_factory=list)
    lost: list[DecodeRequest] = field(default_factory=list)


class Scheduler:
    """Assigns the decoder rows of one engine to sentences from a queue that several engines may share.

    Attributes:
        running: Sentences that have rows.
        rows: The hypothesis of each row.
    """

    def __init__(self, waiting: WaitingQueue, *, max_running: int, max_batch_tokens: int = 2**31) -> None:
        """Start with no rows in use.

        Args:
            max_running: Decoder rows. A sentence takes one for each hypothesis of its beam.
            max_batch_tokens: Cache positions of all rows, source and target, each as long as the longest: the memory
                that the caches may take. A sentence that exceeds it alone runs alone.
        """
        self.max_running = max_running
        self._max_batch_tokens = max_batch_tokens
        self.waiting = waiting
        self.running: list[DecodeRequest] = []
        self.rows: list[Hypothesis] = []

    @property
    def load(self) -> int:
        """Return the rows that the running sentences take, or will take once their beams branch."""
        return sum(request.search.beam_size for request in self.running)

    def clear(self) -> list[DecodeRequest]:
        """Free all rows, and return the sentences that had them."""
        failed = self.running
        self.running = []
        self.rows = []
        return failed

    def admit(
        self,
        now: float,
        share: int | None = None,
        own_seconds: Callable[[DecodeRequest], float] = lambda _: 0.0,
    ) -> list[DecodeRequest]:
        """Fill free rows in the order of the queue, and return the sentences that joined.

        Args:
            share: How many rows to fill at most, so that other engines have work; None: all.
            own_seconds: Estimates how long a sentence takes. One that would be late is not begun, unless there is
                nothing else to do, for the estimate may be wrong.
        """
        joined: list[DecodeRequest] = []
        target_load = self._target_load(share)
        if self.load >= target_load or not self.waiting:
            return joined
        batch = _Batch(self.running, self.max_running, self._max_batch_tokens)
        while batch.load < target_load and (request := self.waiting.take(batch.fits, batch.suits)):
            done = now + own_seconds(request) if batch.load else now
            if request.is_lost(done):
                self.waiting.give_up(request)
                continue
            joined.append(request)
            batch.add(request)
        self._give_rows(joined)
        return joined

    def _target_load(self, share: int | None) -> int:
        """Return how many rows to fill; if only a few are free, wait for more.

        Sentences that join together share a pass through the encoder.
        """
        load = self.load
        free = self.max_running - load
        if load and free < self.max_running // 4 and len(self.waiting) > free:
            return load
        return self.max_running if share is None else min(self.max_running, share)

    def _give_rows(self, joined: list[DecodeRequest]) -> None:
        for request in joined:
            [hypothesis] = request.live
            hypothesis.row = len(self.rows)
            self.rows.append(hypothesis)
        self.running += joined

    def drop_lost(self, now: float) -> Outcome:
        """Remove the running sentences whose caller is gone or whose deadline has passed."""
        lost = [request for request in self.running if request.is_lost(now)]
        for request in lost:
            request.give_up()
        rows = [hypothesis.row for request in lost for hypothesis in request.live]
        self._remove(lost, rows)
        return Outcome(left=rows, lost=lost)

    def advance(self, step: Step) -> Outcome:
        """Let every running sentence choose its next tokens."""
        outcome = Outcome()
        for request in self.running:
            before = request.live
            is_done = request.advance(step)
            if is_done:
                outcome.finished.append(request)
                outcome.left += [hypothesis.row for hypothesis in before]
            elif request.search.beam_size > 1:
                self._place(request.live, [hypothesis.row for hypothesis in before], outcome)
        self._remove(outcome.finished, outcome.left)
        return outcome

    def _place(self, live: list[Hypothesis], rows: list[int], outcome: Outcome) -> None:
        """Assign a row to each hypothesis of a beam: its parent's if that is still free, else a copy of it."""
        free = set(rows)
        copies = []
        for hypothesis in live:
            if hypothesis.row in free:
                free.remove(hypothesis.row)
                self.rows[hypothesis.row] = hypothesis
            else:
                copies.append(hypothesis)
        for hypothesis in copies:  # every row that is copied from has an owner now, so none is overwritten
            if free:
                target = free.pop()
                steps = hypothesis.steps_shared_with(self.rows[target])
                self.rows[target] = hypothesis
            else:
                target = len(self.rows)
                steps = 0
                self.rows.append(hypothesis)
            outcome.branches.append((hypothesis.row, target, steps))
            hypothesis.row = target
        outcome.left += free

    def _remove(self, gone: list[DecodeRequest], rows: list[int]) -> None:
        if gone:
            self.running = [request for request in self.running if request not in gone]
        if rows:
            close_gaps(self.rows, rows)
            for row, hypothesis in enumerate(self.rows):
                hypothesis.row = row


class _Batch:
    """The size of a batch while sentences are added to it: rows, and the longest source and target."""

    def __init__(self, running: list[DecodeRequest], max_running: int, max_batch_tokens: int) -> None:
        self._max_running = max_running
        self._max_batch_tokens = max_batch_tokens
        self.load = 0
        self._source_width = 0
        self._target_width = 0
        for request in running:
            self.add(request)

    def add(self, request: DecodeRequest) -> None:
        """Count a sentence."""
        self.load += request.search.beam_size
        self._source_width = max(self._source_width, _source_width(request))
        self._target_width = max(self._target_width, _target_width(request))

    def fits(self, candidate: DecodeRequest) -> bool:
        """Tell whether there is room for a sentence; an empty batch takes any."""
        if not self.load:
            return True
        rows = self.load + candidate.search.beam_size
        source = max(self._source_width, _source_width(candidate))
        target = max(self._target_width, _target_width(candidate))
        return rows <= self._max_running and rows * (source + target) <= self._max_batch_tokens

    def suits(self, candidate: DecodeRequest) -> bool:
        """Tell whether a sentence makes no row longer."""
        return (
            _source_width(candidate) <= self._source_width and _target_width(candidate) <= self._target_width
        )


def _source_width(request: DecodeRequest) -> int:
    """Return the source positions that a sentence needs in every row of its batch."""
    return padded(len(request.source_tokens))


def _target_width(request: DecodeRequest) -> int:
    """Return the target positions that it may come to need."""
    return padded(request.max_tokens)
