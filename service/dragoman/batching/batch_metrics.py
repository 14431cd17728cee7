"""The metrics of a pool: who waits, who runs, what each step took, and what was computed in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.runner import Runner
from dragoman.batching.workload import Workload
from dragoman.observability.metrics import Metrics


@dataclass(frozen=True)
class StepReport:
    """The figures of one decoder step.

    Attributes:
        joined: Sentences that were encoded before it.
        rows: Rows that it advanced.
    """

    joined: Sequence[DecodeRequest]
    rows: int
    encode_seconds: float
    decode_seconds: float

    @property
    def tokens(self) -> int:
        """Return how many tokens were read by the encoder and written by the decoder."""
        return self.rows + sum(len(request.source_tokens) for request in self.joined)


class BatchMetrics:
    """Writes down what the workers of one pool do."""

    def __init__(self, metrics: Metrics, workload: Workload) -> None:
        self._metrics = metrics
        self._workload = workload
        self._encode_seconds = metrics.stage_seconds.labels("encode")

    def observe_step(self, report: StepReport, runner: Runner) -> None:
        """Record one step of a runner."""
        metrics = self._metrics
        for request in report.joined:
            metrics.queue_wait_seconds[request.priority].observe(request.started_at - request.submitted_at)
        if report.joined:
            self._encode_seconds.observe(report.encode_seconds)
            metrics.padding_ratio.set(runner.padding_ratio)
        metrics.decode_step_seconds.observe(report.decode_seconds)
        metrics.batch_rows.observe(report.rows)
        metrics.batch_tokens.observe(report.tokens)

    def count_abandoned(self, running: Sequence[DecodeRequest], num_waiting: int) -> None:
        """Count the sentences that were given up in their rows and in the queue, and the tokens written in vain."""
        self._metrics.cancelled.labels("queue").inc(num_waiting)
        self._metrics.cancelled.labels("decode").inc(len(running))
        wasted = sum(len(hypothesis.tokens) for request in running for hypothesis in request.live)
        self._metrics.wasted_target_tokens.inc(wasted)

    def show_waiting(self) -> None:
        """Set the gauges of the queue's depth. Call it with the workload's lock held."""
        for priority, depth in enumerate(self._metrics.queue_depth):
            depth.set(self._workload.waiting.num_of[priority])

    def show_sentences(self) -> None:
        """Set the gauges of the sentences that wait and of those that run."""
        with self._workload.changed:  # else one worker could write a count that another has outdated
            self.show_waiting()
            self._metrics.running_sentences.set(self._workload.num_running)
