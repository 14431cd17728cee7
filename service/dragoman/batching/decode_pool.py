"""The decode pool: all workers of a model and the waiting queue in front of them.

Callers submit sentences and wait for their futures; only the workers call the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dragoman.batching.admission import Admission
from dragoman.batching.batch_metrics import BatchMetrics
from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.decode_worker import DecodeWorker
from dragoman.batching.queue_limits import QueueLimits
from dragoman.batching.runner import Runner
from dragoman.batching.scheduler import Scheduler
from dragoman.batching.waiting_queue import WaitingQueue
from dragoman.batching.workload import Workload
from dragoman.errors import StartupError
from dragoman.observability.metrics import Metrics


class DecodePool:
    """Workers that take their sentences from one waiting queue."""

    def __init__(
        self,
        runners: Sequence[Runner],
        limits: QueueLimits,
        metrics: Metrics,
        *,
        max_running: int,
        max_batch_tokens: int = 2**31,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a worker for each runner; none is started.

        Args:
            max_running: Decoder rows of each worker.
            max_batch_tokens: Positions that the caches of each worker may hold; see `Scheduler`.
        """
        waiting = WaitingQueue(limits)
        schedulers = [
            Scheduler(waiting, max_running=max_running, max_batch_tokens=max_batch_tokens) for _ in runners
        ]
        self._clock = clock
        self._workload = Workload(waiting, schedulers)
        self._admission = Admission(self._workload)
        self._metrics = BatchMetrics(metrics, self._workload)
        self.workers = [
            DecodeWorker(runner, scheduler, self._workload, self._metrics, clock)
            for runner, scheduler in zip(runners, schedulers, strict=True)
        ]

    @property
    def max_waiting(self) -> int:
        """Return how many sentences may wait, and so how many can be submitted at once."""
        return self._workload.waiting.limits.max_waiting

    @property
    def is_closed(self) -> bool:
        """Tell whether the pool refuses new sentences."""
        return self._workload.is_closed

    def set_limits(self, limits: QueueLimits) -> None:
        """Replace the limits of the waiting queue; sentences that wait already stay."""
        self._workload.waiting.limits = limits

    def start(self) -> None:
        """Start the workers.

        Raises:
            StartupError: The system does not have a thread for each; those that were started have ended.
        """
        try:
            for number, worker in enumerate(self.workers):
                worker.start(f"decoder-{number}")
        except StartupError:
            self.close()
            raise

    def close(self) -> None:
        """Refuse new sentences, finish those that run or wait, then stop the workers and release their engines."""
        self._workload.close()
        for worker in self.workers:
            worker.join()
        self.workers.clear()

    def submit(self, requests: list[DecodeRequest]) -> None:
        """Queue the sentences of a call, all or none; their futures bring the results.

        Raises:
            The errors of `Admission.check`.
        """
        with self._workload.changed:
            now = self._clock()
            self._admission.check(requests, now)
            for request in requests:
                request.submitted_at = now
                self._workload.waiting.add(request)
            self._metrics.show_waiting()
            self._workload.changed.notify_all()

    def check(self, longest: DecodeRequest, min_sentences: int, num_sentences: int, work: int) -> None:
        """Refuse a call by estimates, before its texts are split into sentences; see `Admission.check_estimate`."""
        with self._workload.changed:
            self._admission.check_estimate(
                longest,
                min_sentences=min_sentences,
                num_sentences=num_sentences,
                work=work,
                now=self._clock(),
            )
