"""Part (c): calls arrive when they like: how many a second does a server hold?

    make bench ARGS="-k capacity"        python -m tests.benchmarks.capacity [--scale 0.1]

Poisson arrivals of texts of one to four sentences in all directions; the server has one core, the callers the
other. A rate is *held* if 95 of 100 answers come within a second, every call is answered, and the median wait of
the last third of the run is not a quarter of a second above that of the first: less is the luck of arrivals.

The servers take turns, for a shared machine is now faster, now slower: each is tried for some seconds, with a higher rate
than before if it held that, else with a lower one. So the rates come to lie about the highest that is held, which is
the capacity: their median. One that is not measured does not run. *loaded* says how long callers wait.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dragoman.bench import load
from dragoman.bench.generator import measure as measure_load
from dragoman.bench.load import Load
from dragoman.bench.report import Report
from tests.benchmarks import measure, selection, servers, sweep
from tests.benchmarks.measure import Plan
from tests.benchmarks.servers import Server
from tests.benchmarks.theirs import Settings

SENTENCES, TEXTS = 1000, 400
LIMIT_SECONDS = 1.0  # of the 95th percentile
GROWTH_SECONDS = 0.25  # of the median; a server that is 4 per cent too slow is half a second behind after 13
WARM_UP_SECONDS, TRY_SECONDS = 4.0, 20.0
FIRST_RATE, STEP, SMALL_STEP, TURNS = 30.0, 1.3, 1.06, 18
Start = Callable[[], AbstractContextManager[Server]]


def measured(plan: Plan) -> dict[str, Any]:
    """Return the capacity of each server."""
    server_core, *rest = measure.cores_of(2)
    with tempfile.TemporaryDirectory() as folder, measure.pinned(rest or [server_core]):
        peer = sweep.converted(plan, Path(folder))
        found = _capacities(plan, starts(plan, peer, [server_core]), texts(plan, peer))
    best = max(
        (name for name in found if "dynamic" in name), key=lambda name: found[name]["calls_per_second"]
    )
    return {
        "headline": "ratio: our capacity divided by theirs",
        "turns": plan.count(TURNS, 3),
        "limit_seconds_p95": LIMIT_SECONDS,
        "best_dynamic": best,
        "ratio": {
            "capacity_to_dynamic": _ratio(found, "ours", best),
            "capacity_to_per_request": _ratio(found, "ours", "ctranslate2 per request"),
        },
        "capacity": found,
    }


def texts(plan: Plan, peer: sweep.Peer) -> tuple[load.Text, ...]:
    """Return what callers send: one to four sentences, in all directions."""
    kept, _ = selection.texts(plan, peer, plan.count(SENTENCES, 60))
    mixed = servers.mixed(kept, plan.count(TEXTS, 40))
    return tuple(load.Text(text.source, text.target, text.text) for text in mixed)


def starts(plan: Plan, peer: sweep.Peer, cores: list[int]) -> dict[str, Start]:
    """Return how to start each server: ours as shipped, theirs in both modes and several batch sizes."""
    settings = Settings(threads=1)
    model = peer.folder(settings)

    def theirs(*flags: str) -> Start:
        return lambda: servers.peer(plan, model, cores, settings, *flags)

    found: dict[str, Start] = {
        "ours": lambda: servers.ours(plan, cores),
        "ctranslate2 per request": theirs("--mode", "per-request"),
    }
    for size in (16, 32):
        found[f"ctranslate2 dynamic {size}"] = theirs("--mode", "dynamic", "--max-batch", str(size))
    return found


class Staircase:
    """The rates one server is tried with: by large steps up to the first that fails, then by small ones up and down.

    >>> stairs = Staircase()
    >>> while len(stairs.tried) < 9:
    ...     stairs.note(stairs.rate < 45.0)
    >>> [round(rate, 1) for rate in stairs.tried]
    [30.0, 39.0, 50.7, 47.8, 45.1, 42.6, 45.1, 42.6, 45.1]
    >>> [round(rate, 1) for rate in stairs.settled]
    [42.6, 45.1, 42.6, 45.1]
    """

    def __init__(self) -> None:
        self.rate = FIRST_RATE
        self.tried: list[float] = []
        self._has_failed = False
        self._settled_at: int | None = None

    def note(self, is_held: bool) -> None:
        """Take in whether the present rate was held, and choose the next."""
        if is_held and self._has_failed and self._settled_at is None:
            self._settled_at = len(self.tried)
        self.tried.append(self.rate)
        self._has_failed |= not is_held
        step = SMALL_STEP if self._has_failed else STEP
        self.rate *= step if is_held else 1 / step

    @property
    def settled(self) -> list[float]:
        """Return the rates from the first on that was held after one that was not; the last if there is none."""
        return self.tried[-1:] if self._settled_at is None else self.tried[self._settled_at :]


def _capacities(plan: Plan, begin: dict[str, Start], asked: tuple[load.Text, ...]) -> dict[str, Any]:
    """Let the servers take turns; return the capacity of each, and what was tried."""
    stairs = {name: Staircase() for name in begin}
    tried: dict[str, list[dict[str, Any]]] = {name: [] for name in begin}
    for turn in range(plan.count(TURNS, 3)):
        for name in list(begin)[:: 1 if turn % 2 == 0 else -1]:
            rate = stairs[name].rate
            report = run(plan, begin[name], asked, rate, TRY_SECONDS)
            is_held = _is_held(report)
            stairs[name].note(is_held)
            tried[name].append({"rate": round(rate, 1), "held": is_held, **figures(report)})
            print(name, tried[name][-1], flush=True)
    return {
        name: {
            "calls_per_second": round(statistics.median(of_server.settled), 1),
            "settled": [round(rate, 1) for rate in of_server.settled],
            "tried": tried[name],
        }
        for name, of_server in stairs.items()
    }


def run(plan: Plan, start: Start, asked: tuple[load.Text, ...], rate: float, seconds: float) -> Report:
    """Put a fresh server under load for a while."""
    with ExitStack() as stack:
        server = stack.enter_context(start())
        offered = Load(
            rate=rate, seconds=max(6.0, seconds * min(1.0, plan.scale * 2)),
            warm_up_seconds=WARM_UP_SECONDS, deadline_seconds=20.0, texts=asked,
        )  # fmt: skip
        return measure_load(f"127.0.0.1:{server.port}", offered)


def _is_held(report: Report) -> bool:
    is_growing = report.growth is not None and report.growth.last - report.growth.first > GROWTH_SECONDS
    return report.num_ok == report.num_sent and not is_growing and p95(report) <= LIMIT_SECONDS


def p95(report: Report) -> float:
    """Return the 95th percentile of the latency, in seconds."""
    return report.latency.p95 if report.latency else float("inf")


def figures(report: Report) -> dict[str, Any]:
    """Return what is written down of a run."""
    late = report.lateness
    return {
        "calls": report.num_sent,
        "failed": report.num_sent - report.num_ok,
        "answered_per_second": round(report.achieved_rate, 1),
        "latency_seconds": {key: round(value, 4) for key, value in asdict(report.latency).items()}
        if report.latency
        else None,
        "generator_late_p99_seconds": round(late.p99, 4) if late else None,
    }


def _ratio(found: dict[str, Any], ours: str, theirs: str) -> float:
    rates = [found[name]["calls_per_second"] for name in (ours, theirs)]
    return round(float(rates[0] / rates[1]), 2) if rates[1] else float("inf")


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("capacity", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
