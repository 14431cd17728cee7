"""Part (c), continued: how long do calls wait at the same rate?

    make bench ARGS="-k loaded"          python -m tests.benchmarks.loaded [--scale 0.1]

Arrivals as in *capacity*, whose figures name the dynamic peer's best setting and capacity. At shares of it our
server and that peer are measured by turns, a minute each; what counts is the median of the rounds, for a minute of a
shared machine says little.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from dragoman.bench.plot import percentile_svg
from dragoman.bench.report import Report
from tests.benchmarks import capacity, measure, sweep
from tests.benchmarks.capacity import p95
from tests.benchmarks.measure import Plan

HOLD_SECONDS = 60.0
SHARES = (0.75, 0.9)  # of the dynamic peer's capacity
ROUNDS = 3


def measured(plan: Plan) -> dict[str, Any]:
    """Return the latencies of both servers at the same rates.

    Raises:
        SystemExit: The capacity was not measured yet.
    """
    path = plan.results / "capacity.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `-k capacity` first, which says at what rates to compare")
    found = json.loads(path.read_text(encoding="utf-8"))
    names = ours, theirs = "ours", found["best_dynamic"]
    rates = {share: share * found["capacity"][theirs]["calls_per_second"] for share in SHARES}
    reports: dict[float, dict[str, list[Report]]] = {share: {name: [] for name in names} for share in SHARES}
    server_core, *rest = measure.cores_of(2)
    with tempfile.TemporaryDirectory() as folder, measure.pinned(rest or [server_core]):
        peer = sweep.converted(plan, Path(folder))
        asked, starts = capacity.texts(plan, peer), capacity.starts(plan, peer, [server_core])
        for _ in range(plan.count(ROUNDS)):
            for share, rate in rates.items():
                for name in names:
                    report = capacity.run(plan, starts[name], asked, rate, HOLD_SECONDS)
                    print(name, round(rate, 1), capacity.figures(report), flush=True)
                    reports[share][name].append(report)
    middle = {
        share: {name: _middle(of_share) for name, of_share in both.items()} for share, both in reports.items()
    }
    for share, rate in rates.items():
        curves = {name: report.latencies for name, report in middle[share].items()}
        svg = percentile_svg(curves, title=f"Latency at {rate:.0f} calls a second, one core")
        (plan.results / f"loaded_{round(100 * share)}.svg").write_text(svg, encoding="utf-8")
    return {
        "headline": "ratio: our median of the rounds' 95th percentiles, at a share of the peer's capacity, divided by its",
        "ratio": {
            str(share): round(p95(both[ours]) / p95(both[theirs]), 3) for share, both in middle.items()
        },
        "calls_per_second": {str(share): round(rate, 1) for share, rate in rates.items()},
        "p95_seconds": {
            str(share): {
                name: [round(p95(report), 4) for report in of_share] for name, of_share in both.items()
            }
            for share, both in reports.items()
        },
        "middle_round": {
            str(share): {name: capacity.figures(report) for name, report in both.items()}
            for share, both in middle.items()
        },
    }


def _middle(reports: list[Report]) -> Report:
    """Return the one with the median 95th percentile."""
    middle = statistics.median_low(p95(report) for report in reports)
    return next(report for report in reports if p95(report) == middle)


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("loaded", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
