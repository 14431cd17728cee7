"""Where the time of a call went, told to whoever traces it. If nobody does, it costs one look at a variable.

Knows no OpenTelemetry: `dragoman.observability.otlp`, which does, is imported only when tracing is switched on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from dragoman.config import Settings
from dragoman.errors import ConfigError

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


@contextmanager
def opened(settings: Settings) -> Iterator[Tracer | None]:
    """Yield what traces calls, if it is switched on; what it still holds is sent at the end.

    Raises:
        ConfigError: It is switched on, and the packages it needs are not there.
    """
    if not settings.tracing:
        yield None
        return
    try:
        from dragoman.observability.otlp import OtlpTracer
    except ImportError as error:
        message = f"tracing: {error.name} is not installed: pip install 'dragoman[otel]'"
        raise ConfigError(message) from None
    tracer = OtlpTracer()
    try:
        yield tracer
    finally:
        tracer.close()
