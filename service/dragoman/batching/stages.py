"""From when until when sentences waited, were read and were written: for whoever traces their call."""

from __future__ import annotations

import time
from collections.abc import Iterable

from dragoman.batching.decode_request import DecodeRequest
from dragoman.observability import tracing

NAMES = ("queue", "encode", "decode")
Instants = tuple[float, float, float, float]  # when each stage began, and the last one ended; 0: not yet


def instants(request: DecodeRequest) -> Instants:
    """Return when a sentence passed from one stage to the next."""
    return request.submitted_at, request.started_at, request.encoded_at, request.finished_at


def trace(sentences: Iterable[Instants]) -> None:
    """Tell the stages of some sentences, each from the first that began it to the last that ended it.

    A stage that did not end, because the call did, lasts until now.
    """
    passed, now = list(sentences), time.monotonic()
    for index, name in enumerate(NAMES):
        begun = [(at[index], at[index + 1] or now) for at in passed if at[index]]
        if begun:
            first, last = min(begin for begin, _ in begun), max(end for _, end in begun)
            tracing.stage(name, first, last, sentences=len(begun))
