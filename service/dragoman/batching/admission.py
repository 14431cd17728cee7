"""Admission: refuse a call at once if the queue has no room for it or its deadline cannot be met."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.throughput import ThroughputEstimator
from dragoman.batching.workload import Workload
from dragoman.errors import DeadlinePassed, DeadlineTooShort, Unavailable

# Under overload every accepted call finishes just before its deadline. Without a margin, any error of the estimate and
# any moment in which the processor is busy elsewhere would make half of them late. Waiting gets the larger margin:
# the longer the wait, the more can happen meanwhile.
_WAITING_MARGIN = 1.5
_OWN_MARGIN = 1.2
_MIN_RETRY_SECONDS = 0.1


class Admission:
    """Decides whether sentences may join the waiting queue of a pool. Call it with the workload's lock held."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload

    def check(self, requests: Sequence[DecodeRequest], now: float) -> None:
        """Refuse the sentences of a call, all or none.

        Raises:
            OverLimit: They would not even fit an empty queue.
            QueueFull: There is no room for them now.
            DeadlinePassed, DeadlineTooShort: They would not be done in time.
            Unavailable: The pool is closed.
        """
        if not requests:
            return
        work = sum(request.work for request in requests)
        rows = sum(request.search.beam_size for request in requests)
        self._check_room(requests[0], len(requests), work, now)
        self._check_deadline(requests, work, rows, now)

    def check_estimate(
        self, longest: DecodeRequest, *, min_sentences: int, num_sentences: int, work: int, now: float
    ) -> None:
        """Refuse a call by estimates, before its texts are split into sentences.

        Args:
            longest: A stand-in for the longest sentence; it is never queued.
            min_sentences: How many sentences there are at least.
            num_sentences: How many there are probably; they share steps, so each takes less time.
            work: Tokens to read and to write, of all sentences together.

        Raises:
            The same errors as `check`.
        """
        # An estimate of the work is no reason to call the queue full.
        self._check_room(longest, min_sentences, 0, now)
        self._check_deadline([longest], work, num_sentences * longest.search.beam_size, now)

    def _check_room(self, like: DecodeRequest, count: int, work: int, now: float) -> None:
        if self._workload.is_closed:
            raise Unavailable(
                "the server is shutting down, or this version of the model retired", reason="DRAINING"
            )
        retry_seconds = max(_MIN_RETRY_SECONDS, self._workload.drain_seconds())
        self._workload.waiting.check_room(like.caller, count, work, retry_seconds, now, like.priority)

    def _check_deadline(
        self, requests: Sequence[DecodeRequest], work: int, joining_rows: int, now: float
    ) -> None:
        """Refuse sentences that would be late, given their work and the rows that they add to those in use."""
        first = min(requests, key=lambda request: request.deadline)
        if first.deadline == math.inf:
            return
        remaining = first.deadline - now
        if remaining <= 0:
            raise DeadlinePassed("the deadline has passed")
        rows = self._workload.rows_per_worker(joining_rows)

        def estimate(throughput: ThroughputEstimator, work_before: int) -> float:
            return self._estimate_seconds(throughput, requests, work, work_before, rows)

        throughput, waiting = self._workload.throughput, self._workload.waiting
        if estimate(throughput, waiting.work) <= remaining:
            return  # in time even if everyone else goes first
        estimated = estimate(throughput, waiting.work_before(first))
        if not self._workload.load:
            # The pool is idle: what was measured may be out of date, and if nobody is admitted nothing corrects it.
            estimated = min(estimated, estimate(ThroughputEstimator(), 0))
        if estimated > remaining:
            raise DeadlineTooShort(estimated, remaining)

    def _estimate_seconds(
        self,
        throughput: ThroughputEstimator,
        requests: Sequence[DecodeRequest],
        work: int,
        work_before: int,
        rows: int,
    ) -> float:
        """Estimate the time from now until all sentences of a call are done, margins included."""
        num_workers = self._workload.num_workers
        waiting = throughput.drain_seconds(work_before, rows, num_workers)
        own = throughput.drain_seconds(work, rows, num_workers)
        own += max(throughput.request_seconds(request, rows) for request in requests)
        return _WAITING_MARGIN * waiting + _OWN_MARGIN * own
