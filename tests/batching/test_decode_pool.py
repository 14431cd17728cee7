"""The loop that turns decisions into steps, with a fake engine and a fake clock."""

from collections.abc import Callable

import pytest

from dragoman.batching.decode_pool import DecodePool
from dragoman.errors import DeadlineTooShort, DragomanError, QueueFull, Unavailable
from dragoman.observability.metrics import Metrics
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import Finish, Times
from tests.fakes import TAG_ID, FakeClock, FakeRunner, decode_request, make_pool


def steps(pool: DecodePool, count: int = 1) -> None:
    """Take some steps of the one worker."""
    for _ in range(count):
        pool.step(pool.workers[0])


def test_merges_calls(metrics: Metrics) -> None:
    """
    Sentences of different calls share a step, also when one joins while the other runs.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner)
    early, late = decode_request(11, 12, 13), decode_request(21)

    pool.submit([early])
    steps(pool)
    pool.submit([late])
    steps(pool, 3)

    assert [11, 12, 13] == early.future.result(timeout=0).best.tokens
    assert [21] == late.future.result(timeout=0).best.tokens
    assert [1, 2, 2, 1] == [len(batch) for batch in runner.batches]


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


def test_cancelled_leaves_at_the_next_step(metrics: Metrics) -> None:
    """
    A sentence nobody waits for any more costs no further step, and its neighbours go on undisturbed.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner)
    gone, here = decode_request(11, 12, 13), decode_request(21, 22, 23)
    pool.submit([gone, here])
    steps(pool)

    gone.abandon()
    steps(pool, 3)

    assert [2, 1, 1, 1] == [len(batch) for batch in runner.batches]
    assert [21, 22, 23] == here.future.result(timeout=0).best.tokens


def test_all_cancelled(metrics: Metrics) -> None:
    """
    When everybody has hung up nothing is computed, and no row is reported as running.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner)
    gone = decode_request(11, 12, 13)
    pool.submit([gone])
    steps(pool)

    gone.abandon()
    steps(pool)

    assert 1 == len(runner.batches)
    assert 0.0 == metrics.registry.get_sample_value("dragoman_running_sentences")


def test_forced_pieces(metrics: Metrics) -> None:
    """
    Forced pieces are taken whatever the engine would have chosen; a whole forced target ends with its end.
    """
    pool = make_pool(metrics, FakeRunner())
    given = decode_request(11, 12)
    given.target_prefix, given.is_target_forced = [91, 92, 93], True

    pool.submit([given])
    steps(pool, 4)

    result = given.future.result(timeout=0).best
    assert ([91, 92, 93], Finish.FORCED) == (result.tokens, result.finish)
    assert 4 == len(result.log_probabilities)


def test_sources_reach_the_engine_whole(metrics: Metrics) -> None:
    """
    The engine reads the tag, the pieces and the end.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner)

    pool.submit([decode_request(11)])
    steps(pool)

    assert [[[TAG_ID, 11, EOS_ID]]] == runner.batches


def test_times(metrics: Metrics) -> None:
    """
    Waiting ends where the first computation begins; decoding lasts to the end of the last step.
    """
    clock = FakeClock()
    pool = make_pool(metrics, FakeRunner(clock, seconds=0.25))
    sentence = decode_request(11)

    pool.submit([sentence])
    clock.advance(3.0)
    steps(pool, 2)

    assert Times(queue=3.0, encode=0.0, decode=0.5) == sentence.future.result(timeout=0).times


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

    pool.check(hurried, least=1, about=1, work=6)
    pool.submit([decode_request(11, 12, 13) for _ in range(4)])
    with pytest.raises(QueueFull):
        pool.check(hurried, least=2, about=2, work=12)
    with pytest.raises(DeadlineTooShort):
        pool.check(hurried, least=1, about=1, work=60)

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

    before = is_refused(lambda: pool.check(wanted[0], least=100, about=100, work=work))
    assert before == is_refused(lambda: pool.submit(wanted))


def test_what_lies_between_steps_is_part_of_the_pace(metrics: Metrics) -> None:
    """
    A loop that has to wait between two steps is as slow as it seems to those who wait, but idling is not slowness.
    """
    runner = FakeRunner(seconds=1.0)
    pool = make_pool(metrics, runner)
    for _ in range(100):
        runner.clock.advance(5.0)
        pool.submit([decode_request(11)])
        steps(pool)
        runner.clock.advance(1.0)
        steps(pool)

    assert 3.0 / 5 == pytest.approx(
        pool.throughput.seconds_per_token(1), rel=0.05
    )  # 3 pieces read, 2 written


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


def test_failure_of_the_engine(metrics: Metrics) -> None:
    """
    When the engine fails, those in the batch are told, those who wait are served, and the loop lives on.
    """
    runner = FakeRunner(fails_at=0)
    pool = make_pool(metrics, runner, max_running=2)
    first, second, waiting = decode_request(11), decode_request(12), decode_request(13)
    pool.submit([first, second, waiting])
    pool.start()

    assert [13] == waiting.future.result(timeout=5).best.tokens
    for failed in (first, second):
        with pytest.raises(DragomanError, match="RuntimeError: the engine is out of order") as told:
            failed.future.result(timeout=5)
        assert isinstance(told.value.__cause__, RuntimeError)
    later = decode_request(14)
    pool.submit([later])
    assert [14] == later.future.result(timeout=5).best.tokens
    pool.close()


def test_close_finishes_what_waits(metrics: Metrics) -> None:
    """
    Closing finishes the running and the waiting, then refuses what comes later.
    """
    pool = make_pool(metrics, FakeRunner(), max_running=1)
    accepted = [decode_request(11, 12), decode_request(13), decode_request(14)]
    pool.submit(accepted)
    pool.start()

    pool.close()

    assert [[11, 12], [13], [14]] == [sentence.future.result(timeout=0).best.tokens for sentence in accepted]
    with pytest.raises(Unavailable) as refused:
        pool.submit([decode_request(15)])
    assert "DRAINING" == refused.value.reason


def test_close_without_work(metrics: Metrics) -> None:
    """
    An idle loop closes at once, one that was never started too, and closing twice does no harm.
    """
    idle, never_started = make_pool(metrics, FakeRunner()), make_pool(metrics, FakeRunner())
    idle.start()

    for pool in (idle, idle, never_started):
        pool.close()
