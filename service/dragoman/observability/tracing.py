"""Trace spans of a call and its stages. Without tracing, a call costs one look at a variable.

Knows no OpenTelemetry: `dragoman.observability.trace_export` brings it in, and only when tracing is switched on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

Facts = Mapping[str, str | int]  # lengths, counts, names of our own; never a text, never a key


class TraceSpan(Protocol):
    """One call, as whoever traces it sees it. Times are those of `time.monotonic`."""

    trace_id: str
    traceresponse: str  # of the W3C: version, trace, span, flags

    def stage(self, name: str, began: float, ended: float, facts: Facts) -> None:
        """Note a stage that is over."""

    def end(self, code: str, facts: Facts) -> None:
        """Note that the call is over, with the name of its gRPC code."""


class Tracer(Protocol):
    """Makes the spans of calls."""

    def begin(self, method: str, headers: Mapping[str, str]) -> TraceSpan:
        """Begin the span of a call, as a child of the caller's if there is a `traceparent`."""


_span: ContextVar[TraceSpan | None] = ContextVar("span", default=None)


def follow(span: TraceSpan | None) -> None:
    """Let the stages of the present task, and of those it starts, belong to a call."""
    _span.set(span)


def is_wanted() -> bool:
    """Tell whether anybody traces the present call."""
    return _span.get() is not None


def stage(name: str, began: float, ended: float, **facts: str | int) -> None:
    """Note a stage of the present call."""
    span = _span.get()
    if span is not None:
        span.stage(name, began, ended, facts)
