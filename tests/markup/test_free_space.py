"""What is free of a stretch while others are put into it: the same as looking at every gap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.markup.free_space import FreeSpace
from dragoman.text.spans import Span

TARGET = "one two one three"


WHOLE = Span(0, len(TARGET))


def space(*taken: tuple[int, int], within: Span = WHOLE) -> FreeSpace:
    """Return the space of which some spans are taken."""
    made = FreeSpace(TARGET, within)
    for order, span in enumerate(taken):
        made.take(Span(*span), order)
    return made


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        ([], Span(0, 3)),
        ([(0, 1)], Span(8, 11)),
        ([(2, 2)], Span(8, 11)),
        ([(0, 3), (9, 10)], None),
        ([(3, 3)], Span(0, 3)),
    ],
)
def test_find(taken: list[tuple[int, int]], found: Span | None) -> None:
    """
    A text is found where nothing of it is taken, and nobody stands inside; and again only once it was not.
    """
    assert found == space(*taken).find("one")


def test_find_looks_on() -> None:
    """
    Each is found once, in order, when it is taken.
    """
    made = space()
    found: list[Span] = []
    while (one := made.find("one")) is not None:
        made.take(one, len(found))
        found.append(one)

    assert [Span(0, 3), Span(8, 11)] == found


def test_whole() -> None:
    """
    The stretch is whole until something is put there, though it be empty.
    """
    assert Span(2, 9) == space(within=Span(2, 9)).whole
    assert space((2, 2), within=Span(2, 9)).whole is None


@given(st.lists(st.integers(2, 15), max_size=8), st.integers(0, 17))
def test_gaps(edges: list[int], at: int) -> None:
    """
    The gap of a span, the nearest free place and what lies around a place are those that a look at all gaps finds.
    """
    within = Span(2, 15)
    edges = sorted(edges)
    taken = [Span(*span) for span in zip(edges[::2], edges[1::2], strict=False)]
    made = space(*taken, within=within)
    borders = [within.start, *(edge for span in taken for edge in span), within.end]
    gaps = [Span(*gap) for gap in zip(borders[::2], borders[1::2], strict=True)]

    distance = min(max(gap.start - at, at - gap.end, 0) for gap in gaps)
    assert distance == abs(made.nearest(at) - at)
    assert any(gap.start <= made.nearest(at) <= gap.end for gap in gaps)
    around = made.around(at)
    assert [span for span in taken if span.start < at < span.end] == ([around.span] if around else [])
    for start, end in pairwise(range(1, 17)):
        is_free = any(gap.start <= start and end <= gap.end for gap in gaps)
        assert is_free == (made.gap_of(Span(start, end)) is not None)
