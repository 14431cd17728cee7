"""What the metrics of a pool say, with a fake engine and a fake clock."""

from dragoman.observability.metrics import Metrics
from tests.fakes import FakeRunner, decode_request, make_pool, steps


def test_batch_rows_are_counted(metrics: Metrics) -> None:
    """
    Every step counts its rows once, and the gauges follow the rows and the line.
    """
    pool = make_pool(metrics, FakeRunner(), max_running=2)
    value = metrics.registry.get_sample_value

    pool.submit([decode_request(11), decode_request(12), decode_request(13)])
    steps(pool)

    assert 2.0 == value("dragoman_batch_rows_sum")
    assert 1.0 == value("dragoman_queue_depth", {"priority": "interactive"})
    assert 2.0 == value("dragoman_running_sentences")
    steps(pool, 3)
    assert 0.0 == value("dragoman_queue_depth", {"priority": "interactive"})
    assert 0.0 == value("dragoman_running_sentences")


def test_waiting_is_told_by_priority(metrics: Metrics) -> None:
    """
    Who waits, and how long, is counted apart for bulk, for which nobody waits.
    """
    runner = FakeRunner(seconds=1.0)
    pool = make_pool(metrics, runner, max_running=1)
    value = metrics.registry.get_sample_value

    pool.submit([decode_request(11, priority=1), decode_request(12, priority=1), decode_request(13)])
    assert 1.0 == value("dragoman_queue_depth", {"priority": "interactive"})
    assert 2.0 == value("dragoman_queue_depth", {"priority": "bulk"})
    steps(pool, 6)

    assert 0.0 == value("dragoman_queue_wait_seconds_sum", {"priority": "interactive"})
    assert 2.0 + 4.0 == value("dragoman_queue_wait_seconds_sum", {"priority": "bulk"})


def test_given_up_work_is_counted(metrics: Metrics) -> None:
    """
    Sentences given up are counted by where they were, and what they had written as wasted.
    """
    pool = make_pool(metrics, FakeRunner(), max_running=1)
    running, waiting, last = decode_request(11, 12, 13), decode_request(21), decode_request(31)
    pool.submit([running, waiting, last])
    steps(pool, 2)

    running.abandon()
    waiting.abandon()
    steps(pool, 2)

    value = metrics.registry.get_sample_value
    assert 1.0 == value("dragoman_cancelled_total", {"stage": "queue"})
    assert 1.0 == value("dragoman_cancelled_total", {"stage": "decode"})
    assert 2.0 == value("dragoman_wasted_target_tokens_total")
    assert [31] == last.future.result(timeout=0).best.tokens


def test_gauges_forget_the_abandoned(metrics: Metrics) -> None:
    """
    Who was given up, in work or in the line, is not counted any more after the next step, though nobody joins or ends.
    """
    pool = make_pool(metrics, FakeRunner(), max_running=2)
    kept, running, *waiting = (decode_request(*[11] * 9) for _ in range(5))
    pool.submit([kept, running, *waiting])
    steps(pool)

    for gone in (running, *waiting):
        gone.abandon()
    steps(pool)

    value = metrics.registry.get_sample_value
    assert 1.0 == value("dragoman_running_sentences")
    assert 0.0 == value("dragoman_queue_depth", {"priority": "interactive"})
