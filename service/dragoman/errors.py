"""Every condition a caller or an operator can meet.

    DragomanError
    ├── InvalidRequest          the request can never succeed as it is
    │   ├── OverLimit           too many or too long: says the limit and the actual value
    │   └── NotYetServed        the contract has it, this version does not
    ├── NotServed               no such language, pair, model or version here
    ├── QueueFull               come back in `retry_seconds`
    │   ├── MemoryFull          likewise: too many bytes of requests are held
    │   └── ProcessMemoryFull   likewise: the process itself is near its limit of memory
    ├── QuotaExhausted          likewise: the caller's own limit
    ├── Unauthenticated         no credential, or a wrong one
    ├── NotAllowed              the credential is not for this
    ├── DeadlinePassed          it was not done in time
    ├── Unavailable             starting, loading or draining
    └── StartupError            the server cannot start
        ├── BundleError         the model directory is missing, altered or from the future
        └── ConfigError         a setting is unknown or out of range

`dragoman.rpc.status` turns all but the last group into gRPC codes.
"""

from __future__ import annotations

_MAX_QUOTED = 60  # code points; trailers of a call hold 8 KiB, and a message is in them three times


def quoted(text: str) -> str:
    """Return what somebody sent as a message may show it: in quotes, on one line, and not too long."""
    return repr(text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…")


def duration(seconds: float) -> str:
    """Return a time as people write it, to three digits.

    >>> duration(0.00095), duration(0.0342), duration(1.0842), duration(725.4)
    ('0.95 ms', '34.2 ms', '1.08 s', '725 s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"


class DragomanError(Exception):
    """A condition with a stable `reason`, and facts (`metadata`) that a program can read."""

    reason = "INTERNAL_ERROR"

    def __init__(self, message: str, *, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata = {name: str(value) for name, value in metadata.items()}


class InvalidRequest(DragomanError):
    """The request is wrong whatever the state of the server; `field` is the path of the culprit."""

    reason = "INVALID_OPTION"

    def __init__(self, message: str, *, field: str, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.field = field


class OverLimit(InvalidRequest):
    """Something is larger than its limit."""

    reason = "TEXT_TOO_LONG"

    def __init__(self, what: str, *, field: str, limit: int, actual: int, reason: str) -> None:
        message = f"{what}: {actual:,}, the limit is {limit:,}"
        super().__init__(message, field=field, reason=reason, limit=limit, actual=actual)


class NotYetServed(InvalidRequest):
    """A field of the contract that this version does not serve; it is refused, never ignored."""

    reason = "NOT_YET_SERVED"

    def __init__(self, field: str, what: str = "") -> None:
        what = what or field
        super().__init__(f"{what} is part of the contract but not served by this version", field=field)


class NotServed(DragomanError):
    """A language, pair, model or version that this server does not have."""

    reason = "LANGUAGE_NOT_SERVED"


class QueueFull(DragomanError):
    """Waiting longer would only break the caller's deadline."""

    reason = "QUEUE_FULL"

    def __init__(self, message: str, *, retry_seconds: float, **figures: int) -> None:
        super().__init__(message, reason=None, retry_seconds=f"{retry_seconds:.3f}", **figures)
        self.retry_seconds = retry_seconds


class MemoryFull(QueueFull):
    """What is held for all running calls together is as large as it may be."""

    reason = "MEMORY_FULL"

    def __init__(self, *, limit: int, held: int, actual: int, retry_seconds: float) -> None:
        message = f"bytes of requests and attention: {held:,} held and {actual:,} more asked for, the limit is {limit:,}"
        super().__init__(message, retry_seconds=retry_seconds, limit=limit, actual=held + actual)


class ProcessMemoryFull(QueueFull):
    """The process holds nearly all the memory it may, whatever it is held for."""

    reason = "PROCESS_MEMORY_FULL"

    def __init__(self) -> None:
        super().__init__("the server is short of memory for the moment", retry_seconds=1.0)


class QuotaExhausted(DragomanError):
    """The caller has used up what it may ask for in a minute; `subject` is whose quota it is."""

    reason = "QUOTA_EXHAUSTED"

    def __init__(self, message: str, *, subject: str, limit: int, actual: int, retry_seconds: float) -> None:
        super().__init__(message, limit=limit, actual=actual, retry_seconds=f"{retry_seconds:.3f}")
        self.subject, self.retry_seconds = subject, retry_seconds


class Unauthenticated(DragomanError):
    """Nobody knows who calls; the message shows nothing of what was sent."""

    reason = "CREDENTIAL_INVALID"


class NotAllowed(DragomanError):
    """It is known who calls, and that this is not theirs to call."""

    reason = "NOT_ALLOWED"


class DeadlineTooShort(DragomanError):
    """It would not be done in time; better said now than later."""

    reason = "DEADLINE_TOO_SHORT"

    def __init__(self, estimated_seconds: float, remaining_seconds: float) -> None:
        super().__init__(
            f"it would take about {duration(estimated_seconds)}, the deadline is in {duration(remaining_seconds)}",
            estimated_seconds=f"{estimated_seconds:.6f}", remaining_seconds=f"{remaining_seconds:.6f}",
        )  # fmt: skip
        self.retry_seconds = max(0.1, estimated_seconds - remaining_seconds)


class DeadlinePassed(DragomanError):
    """The time allowed ran out before the work was done."""

    reason = "DEADLINE_PASSED"


class Unavailable(DragomanError):
    """Not ready yet, or not any more; another replica may be."""

    reason = "STARTING"


class StartupError(DragomanError):
    """The server cannot start; the message is one line for the operator."""


class BundleError(StartupError):
    """A bundle that cannot be trusted is not loaded at all."""


class ConfigError(StartupError):
    """A setting is unknown, malformed or out of range."""
