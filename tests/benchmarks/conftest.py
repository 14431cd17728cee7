"""What the measurements share: a plan from the environment, and the library they are measured against."""

from collections.abc import Callable

import pytest

from tests.benchmarks import measure
from tests.benchmarks.measure import Plan


@pytest.fixture
def plan_of() -> Callable[[str], Plan]:
    """Return what makes the plan of a measurement; without CTranslate2 there is none, without weights it fails."""
    pytest.importorskip("ctranslate2")  # only `make bench` installs it

    def make(name: str) -> Plan:
        plan = measure.plan(name)
        if not plan.checkpoint.exists():
            pytest.fail(f"no weights for the peer: {plan.checkpoint} (BENCH_CHECKPOINT)")
        return plan

    return make
