"""The access log: one line for each call, its span of a trace, and the ids in its trailing metadata.

It contains figures, names and codes, but never a text or a key.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

from dragoman.observability import tracing
from dragoman.observability.tracing import Tracer

log = logging.getLogger(__name__)
_MAX_REQUEST_ID = 128


def request_id(headers: Mapping[str, str]) -> str:
    """Return the caller's `x-request-id` if it is usable, else a new one."""
    given = headers.get("x-request-id", "")
    if 0 < len(given) <= _MAX_REQUEST_ID and given.isascii() and given.isprintable():
        return given
    return uuid.uuid4().hex


class CallRecord:
    """The record of one call.

    Attributes:
        facts: Figures and names for its line and its span.
    """

    def __init__(self, method: str, context: Any, tracer: Tracer | None) -> None:
        headers = {
            name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        self._method, self.request_id = method, request_id(headers)
        self.facts: dict[str, str | int] = {}
        self._span = tracer.begin(method, headers) if tracer else None
        tracing.follow(self._span)

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """Return the ids for the caller; trailing ones, because headers before an error would prevent gRPC's retries."""
        ids: tuple[tuple[str, str], ...] = (("x-request-id", self.request_id),)
        return (*ids, ("traceresponse", self._span.traceresponse)) if self._span else ids

    def end(self, code: str, seconds: float) -> None:
        """Write the line of the log and end the span."""
        ids = {"request_id": self.request_id}
        if self._span:
            ids["trace_id"] = self._span.trace_id
            self._span.end(code, self.facts)
        fields = {"method": self._method, "code": code, "seconds": round(seconds, 4), **self.facts, **ids}
        log.info("call", extra=fields)
