"""The decode worker: one thread, its decoder rows, and the step that advances them together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from dragoman.batching.batch_metrics import BatchMetrics, StepReport
from dragoman.batching.decode_request import DecodeRequest, previous_token
from dragoman.batching.runner import Runner
from dragoman.batching.scheduler import Outcome, Scheduler
from dragoman.batching.workload import Workload
from dragoman.errors import DragomanError
from dragoman.threads import started

log = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.1


class DecodeWorker:
    """Runs one engine. Nobody else calls its runner or its scheduler."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        workload: Workload,
        metrics: BatchMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.runner = runner
        self.scheduler = scheduler
        self._workload = workload
        self._metrics = metrics
        self._clock = clock
        self._busy_since: float | None = None  # end of the last step, if rows were left to advance
        self._thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        """Start the thread.

        Raises:
            StartupError: The system has none to spare.
        """
        self._thread = started(threading.Thread(target=self._run, name=name, daemon=True))

    def join(self) -> None:
        """Wait until the thread has ended, if it was started."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                if not self._workload.wait_for_work(self.scheduler):
                    return
                self.step()
            except Exception as error:  # noqa: BLE001 - a thread must not die while callers wait for it
                self._recover(error)

    def _recover(self, error: Exception) -> None:
        """Fail the batch, again and again if even that fails, for want of memory say."""
        while True:
            try:
                return self._fail(error)
            except Exception:
                log.exception("a batch failed, and could not be given up yet")
                time.sleep(_PAUSE_SECONDS)

    def step(self) -> None:
        """Run one decoder step: drop the abandoned, admit the waiting, encode, decode, deliver, rearrange, measure."""
        began = self._clock()
        joined = self._drop_and_admit(began)
        if not self.scheduler.running:
            self._busy_since = None
            return
        encoded = self._encode(joined, began)
        rows = len(self.scheduler.rows)
        outcome = self._decode()
        decoded = self._clock()
        self._deliver(outcome.finished, decoded)
        self._rearrange_rows(outcome)
        if joined or outcome.finished:
            self._metrics.show_sentences()
        self._measure(StepReport(joined, rows, encoded - began, decoded - encoded), began)

    def _drop_and_admit(self, now: float) -> list[DecodeRequest]:
        """Free the rows of sentences that nobody waits for, fill free rows from the queue, and return who joined."""
        dropped = self.scheduler.drop_lost(now)
        self.runner.leave(dropped.left)
        with self._workload.changed:
            joined = self._admit(now) if self._workload.waiting else []
            num_given_up = self._workload.waiting.take_num_given_up()
        if dropped.lost or num_given_up:
            self._metrics.count_abandoned(dropped.lost, num_given_up)
            self._metrics.show_sentences()
        return joined

    def _admit(self, now: float) -> list[DecodeRequest]:
        rows = self._workload.rows_per_worker()
        own_seconds = partial(self._workload.throughput.request_seconds, rows=rows)
        return self.scheduler.admit(now, self._workload.fair_share(), own_seconds)

    def _encode(self, joined: list[DecodeRequest], began: float) -> float:
        """Encode the sentences that join, and return when that was done."""
        self.runner.join([request.source_tokens for request in joined])
        encoded = self._clock()
        for request in joined:
            request.started_at = began
            request.encoded_at = encoded
        return encoded

    def _decode(self) -> Outcome:
        """Advance every row by one token, and let every sentence choose."""
        num_top = max(request.num_top for request in self.scheduler.running)
        tokens = [previous_token(hypothesis) for hypothesis in self.scheduler.rows]
        return self.scheduler.advance(self.runner.step(tokens, num_top))

    def _deliver(self, finished: list[DecodeRequest], now: float) -> None:
        """Hand results out at once: if rearranging the rows fails, these callers have theirs."""
        for request in finished:
            request.finish(now)

    def _rearrange_rows(self, outcome: Outcome) -> None:
        """Move the engine's rows as the scheduler has moved its own."""
        self.runner.branch(outcome.branches)
        self.runner.leave(outcome.left)

    def _measure(self, report: StepReport, began: float) -> None:
        """Record a step, and learn from it how fast this worker is.

        Its time runs from the end of the step before, if there was one: handing out results and waiting for the
        interpreter are part of the speed that callers see.
        """
        self._metrics.observe_step(report, self.runner)
        ended = self._clock()
        since = self._busy_since or began
        self._workload.throughput.observe(report.rows, report.tokens, ended - since)
        self._busy_since = ended if self.scheduler.running else None

    def _fail(self, error: Exception) -> None:
        """Tell everyone in the batch that the engine failed, and start again with empty rows."""
        for request in self.scheduler.clear():
            if request.future.set_running_or_notify_cancel():
                told = DragomanError(f"{type(error).__name__}: {error}")
                told.__cause__ = error  # the log shows where it came from
                request.future.set_exception(told)
        self._busy_since = None
        self.runner.clear()
        self._metrics.show_sentences()
