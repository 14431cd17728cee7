"""Who is let into the queue: room and deadlines, with a fake engine and a fake clock."""

from collections.abc import Callable

import pytest

from dragoman.errors import DeadlineTooShort, QueueFull
from dragoman.observability.metrics import Metrics
from dragoman.text.tokenizer import EOS_ID
from tests.fakes import TAG_ID, FakeClock, FakeRunner, decode_request, make_pool, steps


def test_queue_full_is_all_or_none(metrics: Metrics) -> None:
    """
    A call that does not fit into the line leaves no sentence in it.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner, max_running=1, max_waiting=2)
    pool.submit([decode_request(11)])

    with pytest.raises(QueueFull):
        pool.submit([decode_request(21), decode_request(22)])
    steps(pool, 4)

    assert [[TAG_ID, 11, EOS_ID]] == [batch[0] for batch in runner.batches[:1]]
    assert 2 == len(runner.batches)


def test_retry_follows_the_drain_rate(metrics: Metrics) -> None:
    """
    The hint when to return is what the line takes at the measured pace: all steps of a sentence, not one.
    """
    runner = FakeRunner(seconds=1.0)
    pool = make_pool(metrics, runner, max_running=1, max_waiting=4)
    for _ in range(60):  # until the first guess is forgotten
        pool.submit([decode_request(11, 12, 13)])
        steps(pool, 4)
    pool.submit([decode_request(11, 12, 13) for _ in range(3)])

    with pytest.raises(QueueFull) as full:
        pool.submit([decode_request(21), decode_request(22)])

    assert pytest.approx(3 * 4.0, rel=0.2) == full.value.retry_seconds


def test_too_short_a_deadline_is_refused_at_once(metrics: Metrics) -> None:
    """
    What cannot be done in time at the measured pace is refused on arrival, with both figures.
    """
    runner = FakeRunner(seconds=1.0)
    pool = make_pool(metrics, runner, max_running=1)
    for _ in range(30):
        pool.submit([decode_request(11, 12, 13)])
        steps(pool, 4)
    pool.submit([decode_request(11, 12, 13) for _ in range(4)])  # 16 seconds and more

    with pytest.raises(DeadlineTooShort) as refused:
        pool.submit([decode_request(11, deadline=runner.clock.now + 0.5)])

    estimated, remaining = (
        float(refused.value.metadata[name]) for name in ("estimated_seconds", "remaining_seconds")
    )
    assert 0.5 == remaining < estimated < 10.0  # it would go before all the others
    assert pytest.approx(estimated - remaining, abs=0.01) == refused.value.retry_seconds
    pool.submit([decode_request(11, deadline=runner.clock.now + 10.0)])


def test_most_is_refused_before_it_is_cut_up(metrics: Metrics) -> None:
    """
    Of a text that nobody has read yet its least size is enough for a refusal, and nothing is queued for it.
    """
    runner = FakeRunner(seconds=1.0)
    pool = make_pool(metrics, runner, max_running=1, max_waiting=5)
    for _ in range(30):
        pool.submit([decode_request(11, 12, 13)])
        steps(pool, 4)
    hurried = decode_request(11, deadline=runner.clock.now + 8.0)

    pool.check(hurried, min_sentences=1, num_sentences=1, work=6)
    pool.submit([decode_request(11, 12, 13) for _ in range(4)])
    with pytest.raises(QueueFull):
        pool.check(hurried, min_sentences=2, num_sentences=2, work=12)
    with pytest.raises(DeadlineTooShort):
        pool.check(hurried, min_sentences=1, num_sentences=1, work=60)

    assert 4.0 == metrics.registry.get_sample_value("dragoman_queue_depth", {"priority": "interactive"})


@pytest.mark.parametrize("remaining", [0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
def test_a_right_estimate_decides_as_the_texts_will(metrics: Metrics, remaining: float) -> None:
    """
    Whoever knows beforehand how many sentences there will be is refused neither more nor less than they are.
    """
    pool = make_pool(metrics, FakeRunner(), max_running=64)
    wanted = [decode_request(*[11] * 32, deadline=FakeClock().now + remaining) for _ in range(100)]
    work = sum(one.work for one in wanted)

    def is_refused(ask: Callable[[], None]) -> bool:
        try:
            ask()
        except DeadlineTooShort:
            return True
        return False

    before = is_refused(lambda: pool.check(wanted[0], min_sentences=100, num_sentences=100, work=work))
    assert before == is_refused(lambda: pool.submit(wanted))


def test_an_idle_loop_gives_everybody_a_chance(metrics: Metrics) -> None:
    """
    After a pause of the whole machine the pace looks hopeless; the next call is let in, and shows that it is not.
    """
    runner = FakeRunner(seconds=1000.0)
    pool = make_pool(metrics, runner)
    pool.submit([decode_request(11)])
    steps(pool, 2)
    runner.seconds = 0.001

    for _ in range(3):
        pool.submit([decode_request(11, deadline=runner.clock.now + 1.0)])
        steps(pool, 2)
    with pytest.raises(DeadlineTooShort):
        pool.submit([decode_request(*[11] * 900, deadline=runner.clock.now + 1.0)])
