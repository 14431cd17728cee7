"""Turn decisions into decoder steps, for ever, in threads of their own.

The only code that calls the runners. Callers hand in sequences and wait on their futures.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from dragoman.batching.decode_request import DecodeRequest, previous_token
from dragoman.batching.scheduler import Scheduler
from dragoman.batching.throughput import ThroughputEstimator
from dragoman.batching.waiting_queue import WaitingQueue
from dragoman.engine.model_runner import Step
from dragoman.errors import DeadlinePassed, DeadlineTooShort, DragomanError, StartupError, Unavailable
from dragoman.observability.metrics import Metrics
from dragoman.threads import started

# Calls are refused unless there is so much more time than they should take. When too many come, all that are accepted
# finish just within it: without a margin every error of the estimate, and every moment in which the processor is
# needed elsewhere, would make the half of them late. The longer the wait, the more may come between.
_MARGIN_OF_WAITING, _MARGIN_OF_OWN = 1.5, 1.2


class Runner(Protocol):
    """What a loop asks of an engine; `dragoman.engine.model_runner.ModelRunner` is the real one."""

    def join(self, sources: Sequence[Sequence[int]]) -> None:
        """Encode sentences and give each a row."""

    def step(self, tokens: Sequence[int], num_top: int) -> Step:
        """Advance every row by one piece."""

    def branch(self, branches: Sequence[tuple[int, int, int]]) -> None:
        """Make rows copies of others, from the first step on that they do not have in common."""

    def leave(self, rows: Sequence[int]) -> None:
        """Give up some rows and close the gaps."""

    def clear(self) -> None:
        """Give up all rows, whatever state a failure left them in."""

    @property
    def padding_ratio(self) -> float:
        """Return the share of the caches' positions, of the rows in use, that nothing stands in."""


class DecodeWorker:
    """One engine's rows and the thread that advances them together."""

    def __init__(self, runner: Runner, scheduler: Scheduler) -> None:
        self.runner, self.scheduler = runner, scheduler
        self.busy_since: float | None = None  # the end of its last step, if it has gone on since
        self.thread: threading.Thread | None = None


class DecodePool:
    """Some workers that take their sentences from one line."""

    def __init__(
        self,
        waiting: WaitingQueue,
        workers: list[DecodeWorker],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting, self.workers, self._metrics, self._clock = waiting, workers, metrics, clock
        self._changed = threading.Condition()
        self._is_closed = False
        self.throughput = ThroughputEstimator()
        self._encode_seconds = metrics.stage_seconds.labels("encode")

    @property
    def max_waiting(self) -> int:
        """Return how many sentences may wait, and so be submitted at once."""
        return self._waiting.max_waiting

    def start(self) -> None:
        """Begin to serve.

        Raises:
            StartupError: There is not a thread for each worker; those that were started have ended.
        """
        try:
            for number, worker in enumerate(self.workers):
                name = f"decoder-{number}"
                worker.thread = started(
                    threading.Thread(target=self._run, args=(worker,), name=name, daemon=True)
                )
        except StartupError:
            self.close()
            raise

    def close(self) -> None:
        """Finish what runs and waits, then stop; later submissions are refused."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for worker in self.workers:
            if worker.thread is not None:
                worker.thread.join()

    def submit(self, requests: list[DecodeRequest]) -> None:
        """Queue some sentences, all or none; their futures bring the results.

        Raises:
            OverLimit: There will never be room for so many.
            QueueFull: There is no room for them now.
            DeadlineTooShort: They would not be done in time.
            Unavailable: The loop is closed.
        """
        work = sum(request.work for request in requests)
        with self._changed:
            now = self._clock()
            if requests:
                self._check_room(requests[0], len(requests), work, now)
            self._check_deadline(requests, work, sum(request.search.beam_size for request in requests), now)
            for request in requests:
                request.submitted_at = now
                self._waiting.add(request)
            self._count_waiting()
            self._changed.notify_all()

    def check(self, longest: DecodeRequest, least: int, about: int, work: int) -> None:
        """Refuse at once, by estimates, what is not cut into sentences yet.

        Args:
            longest: Like the longest of them, and never queued.
            least: How many they are at least.
            about: How many they are about, which share steps and so take less time each.
            work: Of all of them, in pieces.

        Raises:
            What `submit` does.
        """
        with self._changed:
            now = self._clock()
            # Whether there is room for all is not for an estimate to say.
            self._check_room(longest, least, 0, now)
            self._check_deadline([longest], work, about * longest.search.beam_size, now)

    def _check_room(self, like: DecodeRequest, count: int, work: int, now: float) -> None:
        if self._is_closed:
            raise Unavailable(
                "the server is shutting down, or this version of the model retired", reason="DRAINING"
            )
        retry_seconds = max(0.1, self._drain_seconds(self._waiting.work))
        self._waiting.check_room(like.caller, count, work, retry_seconds, now, like.priority)

    def _check_deadline(self, requests: list[DecodeRequest], work: int, joining: int, now: float) -> None:
        """Refuse what would not be done in time, by the work and the rows that join those there are.

        Raises:
            DeadlinePassed: It is too late already.
            DeadlineTooShort: With the estimate.
        """
        first = min(requests, key=lambda request: request.deadline, default=None)
        if first is None or first.deadline == math.inf:
            return
        remaining = first.deadline - now
        if remaining <= 0:
            raise DeadlinePassed("the deadline has passed")
        rows = self._rows(joining)

        def estimate(throughput: ThroughputEstimator, before: int) -> float:
            waiting = throughput.drain_seconds(before, rows, len(self.workers))
            own = throughput.drain_seconds(work, rows, len(self.workers))
            own += max(throughput.own_seconds(request, rows) for request in requests)
            return _MARGIN_OF_WAITING * waiting + _MARGIN_OF_OWN * own

        if estimate(self.throughput, self._waiting.work) <= remaining:
            return  # even if all the others go first
        estimated = estimate(self.throughput, self._waiting.work_before(first))
        if not self._load():  # what was seen last may be long past, and nobody let in would never correct it
            estimated = min(estimated, estimate(ThroughputEstimator(), 0))
        if estimated > remaining:
            raise DeadlineTooShort(estimated, remaining)

    def _drain_seconds(self, work: int) -> float:
        return self.throughput.drain_seconds(work, self._rows(), len(self.workers))

    def _load(self) -> int:
        return self._waiting.rows + sum(worker.scheduler.load for worker in self.workers)

    def _rows(self, more: int = 0) -> int:
        """Return how many rows a loop has, or will have as soon as those who wait, and some more, have joined."""
        return min(-(-(self._load() + more) // len(self.workers)), self.workers[0].scheduler.max_running)

    def step(self, worker: DecodeWorker) -> None:
        """Advance every sentence of a worker by one piece."""
        scheduler, runner = worker.scheduler, worker.runner
        began = self._clock()
        since = worker.busy_since or began
        with self._changed:
            dropped = scheduler.drop_lost(began)
            joined = scheduler.admit(began, self._share(), self._own_seconds()) if self._waiting else []
            num_given_up, self._waiting.num_given_up = self._waiting.num_given_up, 0
        if dropped.lost or num_given_up:
            self._count_lost(dropped.lost, num_given_up)
            runner.leave(dropped.left)
        if not scheduler.running:
            worker.busy_since = None
            self._count_sentences()
            return
        runner.join([request.source_tokens for request in joined])
        encoded = self._clock()
        for request in joined:
            request.started_at, request.encoded_at = began, encoded
        num_top = max(request.num_top for request in scheduler.running)
        rows = len(scheduler.rows)
        outcome = scheduler.advance(runner.step(list(map(previous_token, scheduler.rows)), num_top))
        now = self._clock()
        for request in outcome.finished:  # before anything else can fail
            request.finish(now)
        runner.branch(outcome.branches)
        runner.leave(outcome.left)
        if joined or outcome.finished or dropped.lost or num_given_up:
            self._count_sentences()
        tokens = rows + sum(len(request.source_tokens) for request in joined)
        self._observe(worker, joined, rows, tokens, encoded - began, now - encoded)
        ended = self._clock()  # to hand results out, and to wait for the interpreter, is part of the pace
        self.throughput.observe(rows, tokens, ended - since)
        worker.busy_since = ended if scheduler.running else None

    def _own_seconds(self) -> Callable[[DecodeRequest], float]:
        rows = self._rows()
        return lambda request: self.throughput.own_seconds(request, rows)

    def _share(self) -> int | None:
        """Return how many rows a worker should have, so that all have work."""
        if len(self.workers) == 1 or not len(self._waiting):
            return None
        return -(-self._load() // len(self.workers))

    def _observe(
        self,
        worker: DecodeWorker,
        joined: list[DecodeRequest],
        rows: int,
        tokens: int,
        encode: float,
        decode: float,
    ) -> None:
        for request in joined:
            waited = request.started_at - request.submitted_at
            self._metrics.queue_wait_seconds[request.priority].observe(waited)
        if joined:
            self._encode_seconds.observe(encode)
            self._metrics.padding_ratio.set(worker.runner.padding_ratio)
        self._metrics.decode_step_seconds.observe(decode)
        self._metrics.batch_rows.observe(rows)
        self._metrics.batch_tokens.observe(tokens)

    def _count_lost(self, running: list[DecodeRequest], waiting: int) -> None:
        self._metrics.cancelled.labels("queue").inc(waiting)
        self._metrics.cancelled.labels("decode").inc(len(running))
        wasted = sum(len(hypothesis.tokens) for request in running for hypothesis in request.live)
        self._metrics.wasted_target_tokens.inc(wasted)

    def _count_waiting(self) -> None:
        for priority, depth in enumerate(self._metrics.queue_depth):
            depth.set(self._waiting.num_of[priority])

    def _count_sentences(self) -> None:
        with self._changed:  # or a worker could write down what another has changed meanwhile
            self._count_waiting()
            running = sum(len(worker.scheduler.running) for worker in self.workers)
            self._metrics.running_sentences.set(running)

    def _run(self, worker: DecodeWorker) -> None:
        running = worker.scheduler
        while True:
            with self._changed:
                while not (self._waiting or running.running or self._is_closed):
                    self._changed.wait()
                if self._is_closed and not (self._waiting or running.running):
                    return
            try:
                self.step(worker)
            except Exception as error:  # noqa: BLE001 - a thread must not die with callers waiting for it
                self._fail(worker, error)

    def _fail(self, worker: DecodeWorker, error: Exception) -> None:
        """Tell everyone in the batch, and begin anew with empty rows."""
        failed = worker.scheduler.clear()
        worker.busy_since = None
        worker.runner.clear()
        self._count_sentences()
        for request in failed:
            if request.future.set_running_or_notify_cancel():
                told = DragomanError(f"{type(error).__name__}: {error}")
                told.__cause__ = error  # the log shows where it came from
                request.future.set_exception(told)
