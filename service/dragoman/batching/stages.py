"""The stages of a sentence, as spans of a trace: when it waited, was encoded and was decoded."""

from __future__ import annotations

import time
from collections.abc import Iterable

from dragoman.batching.decode_request import DecodeRequest
from dragoman.observability import tracing

NAMES = ("queue", "encode", "decode")
StageTimes = tuple[float, float, float, float]  # when each stage began, and when the last ended; 0: not yet


def stage_times(request: DecodeRequest) -> StageTimes:
    """Return when a sentence passed from one stage to the next."""
    return request.submitted_at, request.started_at, request.encoded_at, request.finished_at


def trace(sentences: Iterable[StageTimes]) -> None:
    """Record each stage of some sentences, from the first that entered it to the last that left it.

    A stage that is not over, because the call ended before it, lasts until now.
    """
    times = list(sentences)
    now = time.monotonic()
    for index, name in enumerate(NAMES):
        entered = [(passed[index], passed[index + 1] or now) for passed in times if passed[index]]
        if entered:
            first = min(begin for begin, _ in entered)
            last = max(end for _, end in entered)
            tracing.stage(name, first, last, sentences=len(entered))
