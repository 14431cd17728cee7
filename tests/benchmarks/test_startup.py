"""Part (e): start-up and memory."""

from collections.abc import Callable

import pytest

from tests.benchmarks import startup
from tests.benchmarks.measure import Plan

pytestmark = pytest.mark.benchmark


def test_startup(plan_of: Callable[[str], Plan]) -> None:
    """
    Both servers start in turns and answer the same requests; the figures are written down, not judged.
    """
    plan = plan_of("startup")

    figures = startup.measured(plan)

    plan.write(figures)
    assert figures["starts"] >= 1
