"""The report of a measurement: rates, percentiles, and warnings about its validity.

Third stop of a measurement: load -> generator -> *report* -> plot. Arithmetic only; all times are seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from dragoman.bench.load import Load

OK = "OK"
UNFINISHED = "UNFINISHED"  # neither answered nor failed when the run ended
MALFORMED = "MALFORMED_REPLY"
_TIMED_OUT = {OK, "DEADLINE_EXCEEDED"}  # calls whose duration says how long the server made them wait
_MIN_PER_THIRD = 10  # calls; the median of fewer says little
_MIN_CALLS = 100  # of which the slowest is p99
_GROWTH = 1.5
_MIN_GROWTH_SECONDS = 0.005
_MAX_LATENESS_SECONDS = 0.005
_MAX_LATENESS_SHARE = 0.1  # of the median latency
_CURVE_POINTS = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """One call: when it was due, sent and over, in seconds since the start, and its gRPC code by name."""

    due: float
    sent: float
    done: float
    code: str = OK
    target_tokens: int = 0

    @property
    def latency(self) -> float:
        """Return the seconds since the call was *due*: those it waited in the generator count too."""
        return self.done - self.due

    @property
    def lateness(self) -> float:
        """Return how many seconds too late the generator sent it."""
        return self.sent - self.due


def percentile(ordered: Sequence[float], per_cent: float) -> float:
    """Return the smallest value that so many per cent of the values do not exceed (nearest rank).

    Args:
        ordered: At least one value, in ascending order.
    """
    rank = math.ceil(
        round(per_cent * len(ordered) / 100, 9)
    )  # rounded: 99.9 % of 1000 is 999, not a hair more
    return ordered[max(0, rank - 1)]


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return (per cent, value) from the median to as far up as so many values reach, at most 99.9.

    The points are even on the scale of 1 / (1 - p), on which each further nine takes as much room.
    """
    ordered = sorted(values)
    last = math.log(min(1000, max(2, len(ordered))) / 2)
    tails = [2 * math.exp(last * i / (_CURVE_POINTS - 1)) for i in range(_CURVE_POINTS)] if last else [2.0]
    return [(100 - 100 / tail, percentile(ordered, 100 - 100 / tail)) for tail in tails] if ordered else []


@dataclass(frozen=True)
class Spread:
    """How a quantity was spread over the calls, in seconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Summarise some values; None if there are none."""
        if not values:
            return None
        ordered = sorted(values)
        p50, p90, p95, p99 = (percentile(ordered, per_cent) for per_cent in (50, 90, 95, 99))
        return cls(fmean(ordered), p50, p90, p95, p99, ordered[-1])


@dataclass(frozen=True)
class Growth:
    """Median latency, in seconds, of the calls due in the first and in the last third of the run."""

    first: float
    last: float

    @property
    def is_growing(self) -> bool:
        """Tell whether calls waited longer and longer: the server does not keep up."""
        return self.last > max(_GROWTH * self.first, self.first + _MIN_GROWTH_SECONDS)


@dataclass(frozen=True)
class Report:
    """What a measurement found. Calls due during the warm-up are in none of the figures."""

    address: str
    model: str  # as the server calls it
    load: Load
    window: float  # seconds that count: fewer than wanted if somebody interrupted
    num_sent: int
    num_ok: int
    num_unfinished: int
    failures: dict[str, int]  # gRPC code -> calls
    achieved_rate: float  # calls a second answered within the window
    target_tokens_per_second: float | None  # of the same calls; None when the server does not count tokens
    latency: Spread | None  # of the calls that were answered
    lateness: Spread | None  # of the generator, all calls
    growth: Growth | None  # None when there were too few calls to tell
    latencies: tuple[float, ...]  # of the calls that were answered, as they were due

    @classmethod
    def of(
        cls, address: str, load: Load, samples: Sequence[Sample], *, stopped_seconds: float, model: str = ""
    ) -> Report:
        """Count and order samples.

        Args:
            stopped_seconds: When the last call could have been due, which is earlier than planned after Ctrl-C.
        """
        begin, end = load.warm_up_seconds, max(load.warm_up_seconds, stopped_seconds)
        measured = sorted(
            (sample for sample in samples if begin <= sample.due), key=lambda sample: sample.due
        )
        codes = Counter(sample.code for sample in measured)
        num_ok, num_unfinished = codes.pop(OK, 0), codes.pop(UNFINISHED, 0)
        inside = [sample for sample in samples if sample.code == OK and begin <= sample.done <= end]
        target_tokens = sum(sample.target_tokens for sample in inside)
        latencies = tuple(sample.latency for sample in measured if sample.code == OK)
        return cls(
            address, model, load, end - begin,
            num_sent=len(measured), num_ok=num_ok, num_unfinished=num_unfinished,
            failures=dict(sorted(codes.items())),
            achieved_rate=len(inside) / (end - begin) if inside else 0.0,
            target_tokens_per_second=target_tokens / (end - begin) if target_tokens else None,
            latency=Spread.of(latencies), lateness=Spread.of([sample.lateness for sample in measured]),
            growth=_growth(measured, begin, end), latencies=latencies,
        )  # fmt: skip

    @property
    def is_complete(self) -> bool:
        """Tell whether the load was sent to its end."""
        return self.window >= self.load.seconds * (1 - 1e-6)

    def doubts(self) -> Iterator[str]:
        """Yield a sentence for each reason not to take the figures at face value."""
        if not self.is_complete:
            yield f"interrupted after {self.window:.1f} of {self.load.seconds:g} seconds that count"
        if 0 < self.num_ok < _MIN_CALLS:
            yield f"{self.num_ok} calls were answered; p99 says little about fewer than {_MIN_CALLS}"
        num_failed = sum(self.failures.values())
        if num_failed:
            share = num_failed / self.num_sent
            yield f"{share:.1%} of the calls failed, and are not among the latencies"
        if self._is_late and self.lateness:
            yield (
                f"the generator itself was late, by {_ms(self.lateness.p99)} at p99 and {_ms(self.lateness.max)}"
                " at most: it lacked processor time, and the latencies include it"
            )
        if self.load.rate is not None and self.growth and self.growth.is_growing:
            yield (
                f"the queue grew: median latency {_ms(self.growth.first)} in the first third,"
                f" {_ms(self.growth.last)} in the last; the server does not keep up with this rate"
            )

    @property
    def _is_late(self) -> bool:
        if self.lateness is None:
            return False
        share = _MAX_LATENESS_SHARE * self.latency.p50 if self.latency else 0.0
        return self.lateness.p99 > max(_MAX_LATENESS_SECONDS, share)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON, with the curve of the latencies instead of each of them."""
        plain = asdict(self) | {"doubts": [*self.doubts()], "is_complete": self.is_complete}
        plain["curve"] = [{"per_cent": round(x, 3), "seconds": y} for x, y in curve(self.latencies)]
        plain["load"]["num_texts"] = len(plain["load"].pop("texts"))
        del plain["latencies"]
        for name in ("latency", "lateness", "growth"):
            plain[f"{name}_seconds"] = plain.pop(name)
        plain["window_seconds"] = plain.pop("window")
        return plain


def _growth(measured: Sequence[Sample], begin: float, end: float) -> Growth | None:
    third = (end - begin) / 3
    waits = [(sample.due, sample.latency) for sample in measured if sample.code in _TIMED_OUT]
    first = [latency for due, latency in waits if due < begin + third]
    last = [latency for due, latency in waits if due >= end - third]
    if min(len(first), len(last)) < _MIN_PER_THIRD:
        return None
    return Growth(median(first), median(last))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
