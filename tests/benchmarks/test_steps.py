"""Part (d): the time of a step."""

import pytest

from tests.benchmarks import measure, steps

pytestmark = pytest.mark.benchmark


def test_steps() -> None:
    """
    Every graph is profiled beside the machine's limit; the figures are written down, not judged.
    """
    plan = measure.plan("steps")

    figures = steps.measured(plan)

    plan.write(figures)
    assert len(steps.GROUPS) + len(steps.ROWS) == len(figures["graphs"])
