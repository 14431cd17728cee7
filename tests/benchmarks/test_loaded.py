"""Part (c), continued: latency at the same rate, by turns."""

from collections.abc import Callable

import pytest

from tests.benchmarks import loaded
from tests.benchmarks.measure import Plan

pytestmark = pytest.mark.benchmark


def test_loaded(plan_of: Callable[[str], Plan]) -> None:
    """
    Both servers answer every call at every share; the figures are written down, not judged.
    """
    plan = plan_of("loaded")

    figures = loaded.measured(plan)

    plan.write(figures)
    assert all(
        figures["middle_round"][share][name]["failed"] == 0
        for share, both in figures["p95_seconds"].items()
        for name in both
    )
