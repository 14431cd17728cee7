"""Part (b): one caller at a time."""

from collections.abc import Callable

import pytest

from tests.benchmarks import single
from tests.benchmarks.measure import Plan

pytestmark = pytest.mark.benchmark


def test_single(plan_of: Callable[[str], Plan]) -> None:
    """
    Both servers are asked for the same sentences, in turns; the figures are written down, not judged.
    """
    plan = plan_of("single")

    figures = single.measured(plan)

    plan.write(figures)
    for case in figures["cases"]:
        assert case["ours"]["calls"] == case["ctranslate2"]["calls"]
