"""Turn decisions into decoder steps, for ever, in a thread of its own.

The only code that calls the runner. Callers hand in sequences and wait on their futures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Protocol

from service.batching.scheduler import Scheduler
from service.batching.sequence import Sequence
from service.engine.runner import Step
from service.errors import DragomanError, Unavailable
from service.metrics import Metrics


class Rows(Protocol):
    """What the loop asks of an engine; `service.engine.runner.Runner` is the real one."""

    def join(self, sources: Items[Items[int]]) -> None:
        """Encode sentences and give each a row."""

    def step(self, forced: Items[int]) -> Step:
        """Advance every row by one piece."""

    def leave(self, rows: Items[int]) -> None:
        """Give up some rows and close the gaps."""

    def clear(self) -> None:
        """Give up all rows, whatever state a failure left them in."""


class Loop:
    """One thread that advances all running sentences together."""

    def __init__(
        self,
        runner: Rows,
        scheduler: Scheduler,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._scheduler, self._metrics, self._clock = runner, scheduler, metrics, clock
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds_per_sentence = 0.02  # a guess until something has been measured
        self._busy_seconds = 0.0  # since a sentence last finished
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Finish what runs and waits, then stop; later submissions are refused."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, sequences: list[Sequence]) -> None:
        """Queue some sentences, all or none; their futures bring the results.

        Raises:
            OverLimit: There will never be room for so many.
            QueueFull: There is no room for them now.
            Unavailable: The loop is closed.
        """
        with self._changed:
            if self._is_closed:
                raise Unavailable("the server is shutting down", reason="DRAINING")
            drain_seconds = len(self._scheduler.waiting) * self._seconds_per_sentence
            now = self._clock()
            self._scheduler.check_room(len(sequences), max(0.1, drain_seconds), now)
            for sequence in sequences:
                sequence.submitted_at = now
                self._scheduler.waiting.add(sequence)
            self._metrics.queue_depth.set(len(self._scheduler.waiting))
            self._changed.notify()

    def step(self) -> None:
        """Advance every running sentence by one piece."""
        began = self._clock()
        with self._changed:
            lost = self._scheduler.drop_lost(began)
            joined = self._scheduler.admit(began)
            running = list(self._scheduler.running)
        self._runner.leave(lost)
        if not running:
            self._count_sentences()
            return
        self._runner.join([sequence.source_ids for sequence in joined])
        encoded = self._clock()
        step = self._runner.step([sequence.next_forced() for sequence in running])
        rows, finished = self._scheduler.advance(step)
        now = self._clock()
        for sequence in joined:
            sequence.started_at, sequence.encoded_at = began, encoded
        for sequence, reason in finished:  # before anything else can fail
            sequence.finish(reason, now)
        self._runner.leave(rows)
        self._observe(joined, running, len(finished), encoded - began, now - encoded)

    def _observe(
        self, joined: list[Sequence], running: list[Sequence], finished: int, encode: float, decode: float
    ) -> None:
        self._busy_seconds += encode + decode
        if finished:
            measured = self._busy_seconds / finished
            self._seconds_per_sentence += 0.05 * (measured - self._seconds_per_sentence)
            self._busy_seconds = 0.0
        for sequence in joined:
            self._metrics.queue_wait_seconds.observe(sequence.started_at - sequence.submitted_at)
        if joined:
            self._metrics.stage_seconds.labels("encode").observe(encode)
        self._metrics.decode_step_seconds.observe(decode)
        self._metrics.batch_rows.observe(len(running))
        self._count_sentences()

    def _count_sentences(self) -> None:
        self._metrics.queue_depth.set(len(self._scheduler.waiting))
        self._metrics.running_sentences.set(len(self._scheduler.running))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._scheduler.waiting or self._scheduler.running or self._is_closed):
                    self._changed.wait()
                if self._is_closed and not (self._scheduler.waiting or self._scheduler.running):
                    return
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - a thread must not die with callers waiting for it
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Tell everyone in the batch, and begin anew with empty rows."""
        with self._changed:
            failed, self._scheduler.running = self._scheduler.running, []
        self._runner.clear()
        self._count_sentences()
        for sequence in failed:
            if sequence.future.set_running_or_notify_cancel():
                told = DragomanError(f"{type(error).__name__}: {error}")
                told.__cause__ = error  # the log shows where it came from
                sequence.future.set_exception(told)
