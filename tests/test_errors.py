"""What each condition looks like to a client."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from dragoman import errors
from dragoman.errors import DragomanError
from dragoman.observability.metrics import REASONS
from dragoman.rpc import status, to_proto


def descendants(kind: type[DragomanError]) -> Iterator[type[DragomanError]]:
    """Yield a class and everything derived from it."""
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def details(error: DragomanError, kind: type[Message]) -> list[Any]:
    """Return the details of one kind that a client gets with an error."""
    packed = Status.FromString(bytes(dict(status.trailers(error))["grpc-status-details-bin"]))  # type: ignore[arg-type]
    assert status.number_of(error) == packed.code
    assert error.message == packed.message
    found = []
    for detail in packed.details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


CLIENT_ERRORS = [kind for kind in descendants(DragomanError) if not issubclass(kind, errors.StartupError)]


@pytest.mark.parametrize("kind", CLIENT_ERRORS)
def test_every_error_has_a_code(kind: type[DragomanError]) -> None:
    """
    Whoever adds an error decides what its client sees, and under which reason it is counted.
    """
    assert kind in status.CODES
    assert kind.reason in REASONS


def test_startup_errors_have_none() -> None:
    """
    What stops the server from starting has no client to go to.
    """
    assert not [kind for kind in descendants(errors.StartupError) if kind in status.CODES]


def test_info() -> None:
    """
    Every error carries its reason and its facts, as strings, in ErrorInfo.
    """
    error = errors.NotServed("no such pair", reason="PAIR_NOT_SERVED", served="en->fr", count=1)

    [info] = details(error, error_details_pb2.ErrorInfo)

    assert ("PAIR_NOT_SERVED", "dragoman", {"served": "en->fr", "count": "1"}) == (
        info.reason,
        info.domain,
        dict(info.metadata),
    )
    assert [] == details(error, error_details_pb2.BadRequest)


def test_field() -> None:
    """
    A fault of one field adds its path; a fault of the whole message has none to add.
    """
    [bad] = details(errors.NotYetServed("decoding.beam_size"), error_details_pb2.BadRequest)

    assert ["decoding.beam_size"] == [violation.field for violation in bad.field_violations]
    assert [] == details(errors.InvalidRequest("no message", field=""), error_details_pb2.BadRequest)


def test_limit() -> None:
    """
    What is over a limit says the limit and the actual value, in words and as facts.
    """
    error = errors.OverLimit(
        "code points in contents[3]", field="contents[3]", limit=20_000, actual=20_001, reason="TEXT_TOO_LONG"
    )

    [info] = details(error, error_details_pb2.ErrorInfo)

    assert "code points in contents[3]: 20,001, the limit is 20,000" == error.message
    assert {"limit": "20000", "actual": "20001"} == dict(info.metadata)


def test_retry() -> None:
    """
    A full queue says when to come back: in a detail for programs, and in the trailer that gRPC's retries read.
    """
    error = errors.QueueFull("full", retry_seconds=1.25)

    [retry] = details(error, error_details_pb2.RetryInfo)

    assert 1250 == retry.retry_delay.ToMilliseconds()
    assert "1250" == dict(status.trailers(error))["grpc-retry-pushback-ms"]


@pytest.mark.parametrize(
    ("error", "figures"),
    [
        (errors.QueueFull("full", retry_seconds=1.25), {"retry_seconds": "1.250"}),
        (
            errors.MemoryFull(limit=9, held=7, actual=3, retry_seconds=2.0),
            {"retry_seconds": "2.000", "limit": "9", "actual": "10"},
        ),
    ],
)
def test_figures(error: errors.DragomanError, figures: dict[str, str]) -> None:
    """
    What was too much is in the metadata, and when to come back: a text's own error has no other place for it.
    """
    assert figures == dict(to_proto.pack_error(error).metadata)


def test_quota() -> None:
    """
    A quota that is used up says whose it is, which, and when to come back, to a millisecond not too early.
    """
    error = errors.QuotaExhausted("used up", subject="key:a", limit=6, actual=1, retry_seconds=0.0101)

    [failure] = details(error, error_details_pb2.QuotaFailure)
    [retry] = details(error, error_details_pb2.RetryInfo)

    assert [("key:a", "used up")] == [(item.subject, item.description) for item in failure.violations]
    assert 11 == retry.retry_delay.ToMilliseconds()
    assert "11" == dict(status.trailers(error))["grpc-retry-pushback-ms"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [("xx", "'xx'"), ("a\nb", r"'a\nb'"), ("é🎉", "'é🎉'"), ("x" * 9000, "'" + "x" * 59 + "…'")],
    ids=["plain", "lines", "unicode", "endless"],
)
def test_quoted(said: str, shown: str) -> None:
    """
    What a caller sent is shown on one line and cut short, since trailers hold little.
    """
    assert shown == errors.quoted(said)


@pytest.mark.parametrize(
    ("estimated", "remaining", "said"),
    [
        (0.0342, 0.00095, "it would take about 34.2 ms, the deadline is in 0.95 ms"),
        (1.04, 1.01, "it would take about 1.04 s, the deadline is in 1.01 s"),
        (1234.5, 99.94, "it would take about 1,234 s, the deadline is in 99.9 s"),
    ],
)
def test_too_short_a_deadline(estimated: float, remaining: float, said: str) -> None:
    """
    Both times are given so that they can be told apart, however short they are.
    """
    error = errors.DeadlineTooShort(estimated, remaining)

    assert said == error.message
    assert estimated == float(str(error.metadata["estimated_seconds"]))
    assert remaining == float(str(error.metadata["remaining_seconds"]))
