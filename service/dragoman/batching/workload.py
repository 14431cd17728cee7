"""The workload of a pool: the state that its workers share, under one lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dragoman.batching.scheduler import Scheduler
from dragoman.batching.throughput import ThroughputEstimator
from dragoman.batching.waiting_queue import WaitingQueue


class Workload:
    """The waiting queue, the rows that are taken, and how fast the workers are.

    Attributes:
        waiting: Sentences without a row; read and changed only while `changed` is held.
        changed: The lock, notified when sentences arrive and when the pool closes.
        throughput: Measured step by step, by all workers together.
        is_closed: The pool accepts no more sentences.
    """

    def __init__(self, waiting: WaitingQueue, schedulers: Sequence[Scheduler]) -> None:
        self.waiting = waiting
        self._schedulers = schedulers
        self.changed = threading.Condition()
        self.throughput = ThroughputEstimator()
        self.is_closed = False

    @property
    def num_workers(self) -> int:
        """Return how many workers share the queue."""
        return len(self._schedulers)

    @property
    def num_running(self) -> int:
        """Return how many sentences have rows."""
        return sum(len(scheduler.running) for scheduler in self._schedulers)

    @property
    def load(self) -> int:
        """Return how many rows the running and the waiting sentences take together."""
        return self.waiting.rows + sum(scheduler.load for scheduler in self._schedulers)

    def rows_per_worker(self, joining: int = 0) -> int:
        """Return how many rows a worker has once everyone waiting has joined, and `joining` more rows with them."""
        evenly_spread = -(-(self.load + joining) // self.num_workers)
        return min(evenly_spread, self._schedulers[0].max_running)

    def fair_share(self) -> int | None:
        """Return how many rows one worker should take, so that none is idle; None if it may take all it has."""
        if self.num_workers == 1 or not self.waiting:
            return None
        return -(-self.load // self.num_workers)

    def drain_seconds(self) -> float:
        """Estimate how long the sentences that wait now will take."""
        return self.throughput.drain_seconds(self.waiting.work, self.rows_per_worker(), self.num_workers)

    def wait_for_work(self, scheduler: Scheduler) -> bool:
        """Block until a worker has something to do; return False when the pool has closed and nothing is left."""
        with self.changed:
            while not (self.waiting or scheduler.running):
                if self.is_closed:
                    return False
                self.changed.wait()
        return True

    def close(self) -> None:
        """Accept no more sentences, and wake the workers so that they can stop."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
