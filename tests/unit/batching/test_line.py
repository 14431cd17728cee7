"""Who joins next: urgency, fit, and the bound on how often a sentence is overtaken."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.line import Line
from service.batching.sequence import Sequence
from tests.fakes import sequence


def always(_: Sequence) -> bool:
    """Accept every sentence."""
    return True


def never(_: Sequence) -> bool:
    """Accept none."""
    return False


def test_most_urgent_first() -> None:
    """
    Priority decides, then the deadline, then who came first.
    """
    line = Line(max_overtaken=9)
    bulk, calm, pressed, calm_too = (
        sequence(7, priority=1, deadline=1.0),
        sequence(7),
        sequence(7, deadline=5.0),
        sequence(7),
    )
    for waiting in (bulk, calm, pressed, calm_too):
        line.add(waiting)

    assert [pressed, calm, calm_too, bulk] == [line.take(always, always) for _ in range(4)]


def test_what_does_not_fit_waits() -> None:
    """
    Nobody joins a batch that has no room, and nobody loses the place for it.
    """
    line = Line(max_overtaken=9)
    only = sequence(7)
    line.add(only)

    assert line.take(never, never) is None
    assert [only] == list(line)


def test_patience_closes_the_line() -> None:
    """
    A sentence that was overtaken often enough keeps everybody else out until there is room for it.
    """
    line = Line(max_overtaken=1)
    wide, narrow, later = sequence(*[7] * 9), sequence(7), sequence(7)
    for waiting in (wide, narrow, later):
        line.add(waiting)

    def fits(candidate: Sequence) -> bool:
        return candidate is not wide

    assert narrow is line.take(fits, always)
    assert line.take(fits, always) is None
    assert wide is line.take(always, always)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([1.0, 2.0, math.inf]), st.integers(1, 40)),
        min_size=1, max_size=60,
    ),
    limit=st.integers(0, 5),
    burst=st.integers(1, 8),
)  # fmt: skip
def test_bound(arrivals: list[tuple[int, float, int]], limit: int, burst: int) -> None:
    """
    Whatever arrives, and however it suits, no sentence sees more than `max_overtaken` newer ones join first.
    """
    line = Line(limit)
    joined: list[Sequence] = []
    waiting = [sequence(*[7] * n, priority=p, deadline=d) for p, d, n in arrivals]
    while waiting or len(line):
        for arriving in waiting[:burst]:
            line.add(arriving)
        waiting = waiting[burst:]
        taken = line.take(always, lambda s: len(s.source_ids) % 3 == 0)
        assert taken is not None
        joined.append(taken)

    for place, sentence in enumerate(joined):
        newer = sum(before.arrival > sentence.arrival for before in joined[:place])
        assert newer <= limit
        assert newer == sentence.overtaken
