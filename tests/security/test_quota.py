"""The bucket of a quota."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.security.quota import Bucket


def test_a_minute_at_once() -> None:
    """
    A full bucket gives a minute's worth at once, and then as much as flows in.
    """
    bucket = Bucket.started(60, share=1, at=0)
    for _ in range(60):
        assert 0 == bucket.wait_seconds(1, now=0)
        bucket.take(1)

    assert 1 == pytest.approx(bucket.wait_seconds(1, now=0))
    assert 0.25 == pytest.approx(bucket.wait_seconds(1, now=0.75))
    assert 0 == pytest.approx(bucket.wait_seconds(1, now=1))


def test_a_start() -> None:
    """
    A bucket of a server that has just started holds a share of a minute, but one request at least, and fills as any other.
    """
    bucket = Bucket.started(60, share=0.25, at=0)

    assert 0 == bucket.wait_seconds(15, now=0)
    assert 1 == pytest.approx(bucket.wait_seconds(16, now=0))
    assert 0 == bucket.wait_seconds(60, now=45)
    assert 0 == Bucket.started(2, share=0.25, at=0).wait_seconds(1, now=0)
    assert 30 == pytest.approx(Bucket.started(0.5, share=0, at=0).wait_seconds(1, now=0) + 30)


def test_more_than_it_holds() -> None:
    """
    Who asks for more than a minute's worth gets it from a full bucket, and pays before it gets anything else.
    """
    bucket = Bucket.started(60, share=1, at=0)

    assert 0 == bucket.wait_seconds(180, now=0)
    bucket.take(180)

    assert 121 == pytest.approx(bucket.wait_seconds(1, now=0))
    assert 180 == pytest.approx(bucket.wait_seconds(180, now=0))


def test_never_more_than_a_minute() -> None:
    """
    Neither time nor what is put back fills it beyond a minute's worth.
    """
    bucket = Bucket.started(60, share=1, at=0)
    bucket.take(-1000)
    bucket.wait_seconds(0, now=10_000)

    bucket.take(60)

    assert bucket.wait_seconds(1, now=10_000) > 0


def test_a_clock_that_goes_back() -> None:
    """
    Time that goes back takes nothing away.
    """
    bucket = Bucket.started(60, share=1, at=100)

    assert 0 == bucket.wait_seconds(60, now=0)


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 3000)), min_size=1, max_size=60),
)
def test_the_average_is_kept(per_minute: int, asked: list[tuple[float, int]]) -> None:
    """
    Whatever is asked for and when: what was given before the last gift is at most what flowed in and one full bucket.
    """
    bucket, now, given_, last = Bucket.started(per_minute, 1, 0), 0.0, 0, 0
    for pause, amount in asked:
        now += pause
        if bucket.wait_seconds(amount, now) == 0:
            bucket.take(amount)
            given_, last = given_ + amount, amount

    assert given_ - last <= per_minute + now * per_minute / 60 + 1e-6
