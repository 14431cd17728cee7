"""Decide which sentences share the next decoder step.

Third stop of a request: translator -> *scheduler* -> engine. Bookkeeping only: no clock, no thread, no
onnxruntime, so that a test can replay an hour of traffic in a blink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.search import Hypothesis
from dragoman.batching.waiting_queue import WaitingQueue
from dragoman.engine.cache import close_gaps
from dragoman.engine.model_runner import Step, padded


@dataclass
class Outcome:
    """What a step leads to, in the order in which it is to be done.

    Attributes:
        branches: (source, target, steps): rows that become copies of others, where they are not already; new
            ones count on from the last.
        left: Rows that are free then.
        finished: Sentences that are done.
        lost: Sentences that were given up.
    """

    branches: list[tuple[int, int, int]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    finished: list[DecodeRequest] = field(default_factory=list)
    lost: list[DecodeRequest] = field(default_factory=list)


class Scheduler:
    """The decoder rows of one engine, in front of them a line that several may share; row i is `rows[i]`."""

    def __init__(self, waiting: WaitingQueue, *, max_running: int, max_batch_tokens: int = 2**31) -> None:
        """Start empty.

        Args:
            max_running: Decoder rows; a sentence takes one for each hypothesis of its beam.
            max_batch_tokens: Positions of all rows, source and target, at the length of the longest: what
                the caches may hold. A sentence that alone is larger runs alone.
        """
        self.max_running, self._max_batch_tokens = max_running, max_batch_tokens
        self.waiting = waiting
        self.running: list[DecodeRequest] = []
        self.rows: list[Hypothesis] = []

    @property
    def load(self) -> int:
        """Return the rows that the running sentences take or may come to take."""
        return sum(request.search.beam_size for request in self.running)

    def clear(self) -> list[DecodeRequest]:
        """Give up all rows, and return whose they were."""
        failed, self.running, self.rows = self.running, [], []
        return failed

    def admit(
        self,
        now: float,
        share: int | None = None,
        own_seconds: Callable[[DecodeRequest], float] = lambda _: 0.0,
    ) -> list[DecodeRequest]:
        """Fill the free rows by urgency, and return the sentences that joined.

        Args:
            share: Of all rows wanted; the rest is left to other engines. None: there are none.
            own_seconds: What a sentence takes from now on; one that would be late is not begun, unless there is
                nothing else to do, for the estimate may be wrong.
        """
        joined: list[DecodeRequest] = []
        load = self.load
        most = self._most_rows(load, share)
        if load >= most or not len(self.waiting):
            return joined
        source = max((_source_width(s) for s in self.running), default=0)
        target = max((_target_width(s) for s in self.running), default=0)

        def fits(candidate: DecodeRequest) -> bool:
            width = max(source, _source_width(candidate)) + max(target, _target_width(candidate))
            rows = load + candidate.search.beam_size
            return not load or (rows <= self.max_running and rows * width <= self._max_batch_tokens)

        def suits(candidate: DecodeRequest) -> bool:
            return _source_width(candidate) <= source and _target_width(candidate) <= target

        while load < most and (request := self.waiting.take(fits, suits)):
            done = now + own_seconds(request) if load else now
            if request.is_lost(done):  # its client hung up, or its time ran out, while it waited
                self.waiting.give_up(request)
                continue
            joined.append(request)
            load += request.search.beam_size
            source = max(source, _source_width(request))
            target = max(target, _target_width(request))
        self._give_rows(joined)
        return joined

    def _most_rows(self, load: int, share: int | None) -> int:
        """Return how many rows may be taken now; of a few free ones none, for soon there are more."""
        free = self.max_running - load
        if load and free < self.max_running // 4 and len(self.waiting) > free:
            return load  # several that join together share a pass through the encoder
        return self.max_running if share is None else min(self.max_running, share)

    def _give_rows(self, joined: list[DecodeRequest]) -> None:
        for request in joined:
            [hypothesis] = request.live
            hypothesis.row = len(self.rows)
            self.rows.append(hypothesis)
        self.running += joined

    def drop_lost(self, now: float) -> Outcome:
        """Take out the running sentences that are for nobody any more."""
        lost = [request for request in self.running if request.is_lost(now)]
        for request in lost:
            request.give_up()
        rows = [hypothesis.row for request in lost for hypothesis in request.live]
        self._remove(lost, rows)
        return Outcome(left=rows, lost=lost)

    def advance(self, step: Step) -> Outcome:
        """Let every running sentence choose."""
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
        """Give each hypothesis a row: its parent's, if that is to be had, else a copy of it elsewhere."""
        free = set(rows)
        copies = []
        for hypothesis in live:
            if hypothesis.row in free:
                free.remove(hypothesis.row)
                self.rows[hypothesis.row] = hypothesis
            else:
                copies.append(hypothesis)
        for hypothesis in copies:  # no row that is copied from is free any more
            if free:
                target = free.pop()
                steps = hypothesis.steps_shared_with(self.rows[target])
                self.rows[target] = hypothesis
            else:
                target, steps = len(self.rows), 0
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


def _source_width(request: DecodeRequest) -> int:
    """Return the source positions that a sentence needs of every row beside it."""
    return padded(len(request.source_tokens))


def _target_width(request: DecodeRequest) -> int:
    """Return the cache positions that it may come to need."""
    return padded(request.max_tokens)
