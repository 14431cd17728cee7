"""Part (f): cost against length and batch size, and how it is drawn."""

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.benchmarks import curves
from tests.benchmarks.measure import Plan


@pytest.mark.benchmark
def test_curves(plan_of: Callable[[str], Plan]) -> None:
    """
    Both engines write as much as they read, in turns; the figures are written down and drawn, not judged.
    """
    plan = plan_of("curves")

    figures = curves.write(plan)

    assert (plan.results / "curves.svg").stat().st_size > 0
    assert {1, 64} <= {point["batch"] for point in figures["points"]}


def test_figure() -> None:
    """
    A figure is well-formed, has a line for each engine and series, and stays the same for the same points.
    """
    points = [
        {"tokens": tokens, "batch": batch, "ours_ms_per_sentence": tokens / batch, "ctranslate2_ms_per_sentence": 2}
        for tokens in (8, 32, 128)
        for batch in (1, 8, 64)
    ]  # fmt: skip

    drawn = curves.drawn(points)

    paths = ElementTree.fromstring(drawn).iterfind("{http://www.w3.org/2000/svg}path[@stroke-linejoin]")
    assert 2 * 2 * 3 == len(list(paths))
    assert drawn == curves.drawn(points)
