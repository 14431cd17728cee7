"""Both engines run the same model, or comparing their speed would mean nothing."""

from collections.abc import Callable

import pytest

from tests.benchmarks import parity
from tests.benchmarks.measure import Plan

pytestmark = pytest.mark.benchmark


def test_parity_with_peer(plan_of: Callable[[str], Plan]) -> None:
    """
    In fp32 both write the same tokens, and in int8 both reach the same BLEU.
    """
    pytest.importorskip("torch")
    plan = plan_of("parity")

    figures = parity.measured(plan)

    plan.write(figures)
    assert figures["fp32_greedy"]["sentences"] == figures["fp32_greedy"]["identical"]
    tolerance = parity.LARGEST_DIFFERENCE / plan.scale  # a few sentences say little about BLEU
    assert abs(figures["int8_bleu"]["mean_difference"]["ending"]) <= tolerance
