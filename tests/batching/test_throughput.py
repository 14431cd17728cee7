"""How long what waits will take."""

import pytest

from dragoman.batching.throughput import ThroughputEstimator
from tests.fakes import decode_request


def test_pace_is_kept_by_size() -> None:
    """
    A piece costs what it cost in batches of its size, lately; an unknown size is guessed from the next smaller.
    """
    throughput = ThroughputEstimator()
    for _ in range(200):
        throughput.observe(rows=1, tokens=1, seconds=0.5)
    for _ in range(200):
        throughput.observe(rows=32, tokens=40, seconds=4.0)

    assert 0.5 == pytest.approx(throughput.seconds_per_token(1))
    assert 0.5 / 1.4**3 == pytest.approx(throughput.seconds_per_token(31))
    assert 0.1 == pytest.approx(throughput.seconds_per_token(32))
    assert 0.1 / 1.4**3 == pytest.approx(throughput.seconds_per_token(500))


def test_pace_weighs_by_pieces() -> None:
    """
    Steps that read much and steps that read nothing average as their work does.
    """
    throughput = ThroughputEstimator()
    for _ in range(200):
        throughput.observe(rows=1, tokens=9, seconds=1.0)
        throughput.observe(rows=1, tokens=1, seconds=1.0)

    assert 0.2 == pytest.approx(throughput.seconds_per_token(1), rel=0.1)


def test_a_late_change_is_noticed() -> None:
    """
    After a hundred steps nothing is left of an earlier pace.
    """
    throughput = ThroughputEstimator()
    for seconds in (1.0, 3.0):
        for _ in range(100):
            throughput.observe(rows=1, tokens=1, seconds=seconds)

    assert 3.0 == pytest.approx(throughput.seconds_per_token(1), rel=0.02)


def test_one_standstill_is_not_the_pace() -> None:
    """
    A step that took a hundred times as long moves the pace by a fifth; if all are so slow, it is believed.
    """
    throughput = ThroughputEstimator()
    for _ in range(100):
        throughput.observe(rows=8, tokens=8, seconds=0.08)

    throughput.observe(rows=8, tokens=8, seconds=8.0)
    assert 0.01 <= throughput.seconds_per_token(8) <= 0.012

    for _ in range(100):
        throughput.observe(rows=8, tokens=8, seconds=8.0)
    assert 1.0 == pytest.approx(throughput.seconds_per_token(8), rel=0.05)


def test_a_size_is_forgotten() -> None:
    """
    A size that has not been seen for a thousand steps is guessed again, so that one bad moment is not believed for ever.
    """
    throughput = ThroughputEstimator()
    throughput.observe(rows=32, tokens=32, seconds=1000.0)
    for _ in range(1000):
        throughput.observe(rows=16, tokens=16, seconds=0.16)

    assert 0.01 / 1.4 == pytest.approx(throughput.seconds_per_token(32))
    assert 2 * 32 * 0.01 / 1.4 == pytest.approx(throughput.step_seconds(32))


def test_estimates() -> None:
    """
    Several loops share what waits; a sentence's own time is that of its steps, with all that is done in them.
    """
    throughput = ThroughputEstimator()
    throughput.observe(rows=4, tokens=4, seconds=0.2)
    throughput.observe(rows=4, tokens=8, seconds=0.4)  # one that joined was read

    assert 2.5 == pytest.approx(throughput.drain_seconds(100, rows=4, num_workers=2), rel=0.05)
    assert 3 * 0.05 + 3 * 0.3 == pytest.approx(
        throughput.request_seconds(decode_request(7), rows=4), rel=0.05
    )


def test_a_crowd_at_the_door_is_not_the_rule() -> None:
    """
    A step in which many joined says what a piece costs, not how long the steps after it are.
    """
    throughput = ThroughputEstimator()
    throughput.observe(rows=16, tokens=16 + 384, seconds=0.4)

    assert 2 * 16 * 0.001 == pytest.approx(throughput.step_seconds(16))


def test_estimates_of_the_unknown() -> None:
    """
    Where nothing has been seen, a piece is read for each that a row writes.
    """
    assert 2 * 4 * 0.001 / 1.4**2 == pytest.approx(ThroughputEstimator().step_seconds(4))
