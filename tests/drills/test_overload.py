"""Five times as many calls as the server can do: it does as many as ever, and tells the others at once."""

import asyncio
from collections import Counter
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dragoman.bench.generator import Run, measure
from dragoman.bench.load import Load, Text, built_in_texts
from dragoman.bench.report import OK, Report
from tests.conftest import Scale
from tests.drills.replica import Replica, load_cores, replica
from tests.drills.results import write

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(600)]
TIMES_CAPACITY = 5
DEADLINE_SECONDS = 4.0
MARGIN_SECONDS = 1.0  # by which a call may end after its deadline: the client's own clock ends it
ALLOWED = {"DEADLINE_TOO_SHORT", "QUEUE_FULL", "DEADLINE_PASSED", "DEADLINE_EXCEEDED"}  # of failures


def mails() -> tuple[Text, ...]:
    """Return texts of one size, so that who is refused does not change what is asked: all of a direction in each."""
    directions: dict[tuple[str, str], list[str]] = {}
    for text in built_in_texts():
        directions.setdefault((text.source, text.target), []).append(text.content)
    return tuple(Text(*direction, " ".join(texts)) for direction, texts in directions.items())


class Outcomes:
    """What became of the calls that failed: `hintless` were refused without a word on when to come back."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.hintless = 0
        self.slowest = 0.0  # of all calls, in seconds
        self.answered = 0  # in the warm-up too

    def __call__(self, error: grpc.aio.AioRpcError) -> None:
        """Take in one failure."""
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        has_hint = False
        for detail in status.details if status else ():
            detail.Unpack(info)
            has_hint |= detail.Unpack(retry)
        trailers: Any = error.trailing_metadata() or ()
        if info.reason == "QUEUE_FULL":
            has_hint &= "grpc-retry-pushback-ms" in dict(trailers)
        if info.reason in ("QUEUE_FULL", "DEADLINE_TOO_SHORT"):
            self.hintless += not has_hint
        self.kinds[info.reason or error.code().name] += 1

    @property
    def late(self) -> int:
        """Return how many calls were accepted, or not even looked at, and then not done in time."""
        return self.kinds["DEADLINE_PASSED"] + self.kinds["DEADLINE_EXCEEDED"]


class Memory:
    """Watches a server's memory from a thread."""

    def __init__(self, server: Replica) -> None:
        self._server, self._is_over, self.mebibytes = server, Event(), list[float]()
        self._thread = Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._is_over.wait(0.25):
            self.mebibytes.append(self._server.footprint.resident_mebibytes)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def growth(self) -> float:
        """Return the most of the second half over the most of the second quarter, when all is warm."""
        quarter = len(self.mebibytes) // 4
        return max(self.mebibytes[2 * quarter :]) / max(self.mebibytes[quarter : 2 * quarter])


@pytest.mark.parametrize("kind", ["mails", "strings"])
def test_overload(tmp_path: Path, scale: Scale, kind: str) -> None:
    """
    At five times its capacity a server does as much as at its capacity, in time, in the same memory.

    What it refuses is told when to come back, and no call hangs. Mails have ten texts, strings are one to four
    sentences. Refusing costs up to 0.8 ms of processor time, most of it gRPC's: as strings cost only ten times as
    much, what is left for them is less, and their calls that gRPC itself ends (CANCELLED) have no hint.
    """
    if kind == "strings" and not scale.is_full:
        pytest.skip("one kind is enough at two per cent: --full")
    with load_cores(), replica(tmp_path) as server:
        capacity, report, outcomes, memory = run(server, scale, kind)

    goodput = report.achieved_rate / capacity.achieved_rate
    if scale.is_full:
        write(f"overload_{kind}", figures(capacity, report, outcomes, memory), f"overload and {kind}")
    assert outcomes.slowest < DEADLINE_SECONDS + (MARGIN_SECONDS if scale.is_full else 15)
    assert 0 == outcomes.hintless
    assert outcomes.kinds.keys() <= ALLOWED | ({"CANCELLED"} if kind == "strings" else set())
    assert report.num_ok > 0
    if scale.is_full:  # two per cent are four seconds, of which a stall of the machine may take half
        assert 0 == report.num_unfinished
        assert outcomes.late <= 0.01 * (outcomes.answered + outcomes.late)
        assert memory.growth < 1.05
        assert goodput > 0.9 or kind == "strings"


def run(server: Replica, scale: Scale, kind: str) -> tuple[Report, Report, Outcomes, Memory]:
    """Measure the capacity, then ask for too much."""
    texts, callers = (mails(), 16) if kind == "mails" else (built_in_texts(), 96)
    alone = Load(callers=callers, seconds=scale(20, least=3), texts=texts, deadline_seconds=60)
    capacity = measure(server.address, alone)
    load = Load(
        rate=TIMES_CAPACITY * capacity.achieved_rate, seconds=scale(180, least=4), texts=texts,
        warm_up_seconds=DEADLINE_SECONDS + 1, deadline_seconds=DEADLINE_SECONDS,
    )  # fmt: skip
    outcomes = Outcomes()
    overload = Run(server.address, load, on_failure=outcomes)
    with Memory(server) as memory:
        asyncio.run(overload.go())
    outcomes.answered = sum(sample.code == OK for sample in overload.samples)
    outcomes.slowest = max(sample.done - sample.sent for sample in overload.samples)
    return capacity, overload.report(), outcomes, memory


def figures(capacity: Report, report: Report, outcomes: Outcomes, memory: Memory) -> dict[str, Any]:
    """Return what is published."""
    return {
        "capacity_calls_per_second": round(capacity.achieved_rate, 2),
        "capacity_target_tokens_per_second": round(capacity.target_tokens_per_second or 0, 1),
        "offered_calls_per_second": round(report.load.rate or 0, 2),
        "goodput_calls": round(report.achieved_rate / capacity.achieved_rate, 3),
        "goodput_target_tokens": round(
            (report.target_tokens_per_second or 0) / (capacity.target_tokens_per_second or 1), 3
        ),
        "deadline_seconds": DEADLINE_SECONDS,
        "latency_seconds": {
            name: round(getattr(report.latency, name), 3) for name in ("p50", "p95", "p99", "max")
        },
        "calls_sent": report.num_sent,
        "calls_answered": report.num_ok,
        "calls_answered_with_warm_up": outcomes.answered,
        "failures_with_warm_up": dict(outcomes.kinds),
        "refused_without_hint": outcomes.hintless,
        "slowest_end_seconds": round(outcomes.slowest, 3),
        "resident_mebibytes": [round(memory.mebibytes[0], 1), round(memory.mebibytes[-1], 1)],
        "memory_growth": round(memory.growth, 3),
        "generator_late_p99_seconds": round(report.lateness.p99, 4) if report.lateness else None,
    }
