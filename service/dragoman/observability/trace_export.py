"""The exporter of traces: opened if tracing is switched on, closed with the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dragoman.config import Settings
from dragoman.errors import ConfigError
from dragoman.observability.tracing import Tracer


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
