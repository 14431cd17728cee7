"""Part (a): sentences that are all there from the start."""

from collections.abc import Callable

import pytest

from tests.benchmarks import offline
from tests.benchmarks.measure import Plan

pytestmark = pytest.mark.benchmark


def test_offline(plan_of: Callable[[str], Plan]) -> None:
    """
    Both engines are measured in one run, in turns; the figures are written down, not judged.
    """
    plan = plan_of("offline")

    figures = offline.measured(plan)

    plan.write(figures)
    assert len(offline.BEAMS) * len(offline.CORES) == len(figures["cases"])
