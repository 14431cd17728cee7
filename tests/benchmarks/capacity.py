"""Part (c): calls arrive when they like: how many a second does a server hold?

    make bench ARGS="-k capacity"        python -m tests.benchmarks.capacity [--scale 0.1]

Poisson arrivals of texts of one to four sentences in all directions; the server has one core, the callers the
other. A rate is *held* if 95 of 100 answers come within a second, every call is answered, and the median wait of
the last third of the run is not a quarter of a second above that of the first: less is the luck of arrivals. The
capacity is the highest rate held for a minute, to within 4 per cent.
Servers are measured one after the other; one that is not measured does not run. *loaded* says how long they wait.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from service.bench import load
from service.bench.generator import measure as measure_load
from service.bench.load import Load
from service.bench.report import Report
from tests.benchmarks import measure, selection, servers, sweep
from tests.benchmarks.measure import Plan
from tests.benchmarks.servers import Server
from tests.benchmarks.theirs import Settings

SENTENCES, TEXTS = 1000, 400
LIMIT_SECONDS = 1.0  # of the 95th percentile
GROWTH_SECONDS = 0.25  # of the median; a server that is 4 per cent too slow is 1.6 s behind after 40
WARM_UP_SECONDS, TRY_SECONDS, HOLD_SECONDS = 4.0, 20.0, 60.0
STEP, PRECISION = 1.3, 1.04  # between tried rates, until they are so near
Start = Callable[[], AbstractContextManager[Server]]


def measured(plan: Plan) -> dict[str, Any]:
    """Return the capacity of each server."""
    server_core, *rest = measure.cores_of(2)
    with tempfile.TemporaryDirectory() as folder, measure.pinned(rest or [server_core]):
        peer = sweep.converted(plan, Path(folder))
        asked = texts(plan, peer)
        found = {
            name: _capacity(plan, start, asked, name)
            for name, start in starts(plan, peer, [server_core]).items()
        }
    best = max(
        (name for name in found if "dynamic" in name), key=lambda name: found[name]["calls_per_second"]
    )
    return {
        "headline": "ratio: our capacity divided by theirs",
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


def _capacity(plan: Plan, start: Start, asked: tuple[load.Text, ...], name: str) -> dict[str, Any]:
    """Search the highest rate that is held."""
    held, failed, rate = 0.0, 0.0, 10.0
    tried: list[dict[str, Any]] = []
    while not failed or failed / max(held, 1.0) > PRECISION:
        if failed:
            rate = (held * failed) ** 0.5 if held else failed / STEP
        is_near = bool(failed) and failed / max(held, 1.0) < PRECISION**2
        report = run(plan, start, asked, rate, HOLD_SECONDS if is_near else TRY_SECONDS)
        is_held = _is_held(report)
        tried.append({"rate": round(rate, 1), "held": is_held, **figures(report)})
        print(name, tried[-1], flush=True)
        if is_held:
            held, rate = rate, rate * STEP
        else:
            failed = rate
        if failed and failed < 1.0:
            break
    return {"calls_per_second": round(held, 1), "tried": tried}


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
