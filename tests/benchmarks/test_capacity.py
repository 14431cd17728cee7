"""Part (c): open loop, Poisson arrivals."""

from collections.abc import Callable

import pytest

from tests.benchmarks import capacity
from tests.benchmarks.measure import Plan

pytestmark = pytest.mark.benchmark


def test_capacity(plan_of: Callable[[str], Plan]) -> None:
    """
    Every server is put under the same load on the same core; the figures are written down, not judged.
    """
    plan = plan_of("capacity")

    figures = capacity.measured(plan)

    plan.write(figures)
    assert all(found["calls_per_second"] > 0 for found in figures["capacity"].values())
