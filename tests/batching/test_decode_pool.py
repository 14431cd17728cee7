"""The loop that turns decisions into steps, with a fake engine and a fake clock."""

from collections.abc import Callable

import pytest

from dragoman.batching.decode_pool import Loop
from dragoman.errors import DeadlineTooShort, DragomanError, QueueFull, Unavailable
from dragoman.observability.metrics import Metrics
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import Finish, Times
from tests.fakes import TAG_ID, FakeClock, FakeRunner, make_loop, sequence


def steps(loop: Loop, count: int = 1) -> None:
    """Take some steps of the one worker."""
    for _ in range(count):
        loop.step(loop.workers[0])


def test_merges_calls(metrics: Metrics) -> None:
    """
    Sentences of different calls share a step, also when one joins while the other runs.
    """
    runner = FakeRunner()
    loop = make_loop(metrics, runner)
    early, late = sequence(11, 12, 13), sequence(21)

    loop.submit([early])
    steps(loop)
    loop.submit([late])
    steps(loop, 3)

    assert [11, 12, 13] == early.future.result(timeout=0).best.ids
    assert [21] == late.future.result(timeout=0).best.ids
    assert [1, 2, 2, 1] == [len(batch) for batch in runner.batches]


def test_batch_rows_are_counted(metrics: Metrics) -> None:
    """
    Every step counts its rows once, and the gauges follow the rows and the line.
    """
    loop = make_loop(metrics, FakeRunner(), max_running=2)
    value = metrics.registry.get_sample_value

    loop.submit([sequence(11), sequence(12), sequence(13)])
    steps(loop)

    assert 2.0 == value("dragoman_batch_rows_sum")
    assert 1.0 == value("dragoman_queue_depth", {"priority": "interactive"})
    assert 2.0 == value("dragoman_running_sentences")
    steps(loop, 3)
    assert 0.0 == value("dragoman_queue_depth", {"priority": "interactive"})
    assert 0.0 == value("dragoman_running_sentences")


def test_waiting_is_told_by_priority(metrics: Metrics) -> None:
    """
    Who waits, and how long, is counted apart for bulk, for which nobody waits.
    """
    runner = FakeRunner(seconds=1.0)
    loop = make_loop(metrics, runner, max_running=1)
    value = metrics.registry.get_sample_value

    loop.submit([sequence(11, priority=1), sequence(12, priority=1), sequence(13)])
    assert 1.0 == value("dragoman_queue_depth", {"priority": "interactive"})
    assert 2.0 == value("dragoman_queue_depth", {"priority": "bulk"})
    steps(loop, 6)

    assert 0.0 == value("dragoman_queue_wait_seconds_sum", {"priority": "interactive"})
    assert 2.0 + 4.0 == value("dragoman_queue_wait_seconds_sum", {"priority": "bulk"})


def test_cancelled_leaves_at_the_next_step(metrics: Metrics) -> None:
    """
    A sentence nobody waits for any more costs no further step, and its neighbours go on undisturbed.
    """
    runner = FakeRunner()
    loop = make_loop(metrics, runner)
    gone, here = sequence(11, 12, 13), sequence(21, 22, 23)
    loop.submit([gone, here])
    steps(loop)

    gone.abandon()
    steps(loop, 3)

    assert [2, 1, 1, 1] == [len(batch) for batch in runner.batches]
    assert [21, 22, 23] == here.future.result(timeout=0).best.ids


def test_all_cancelled(metrics: Metrics) -> None:
    """
    When everybody has hung up nothing is computed, and no row is reported as running.
    """
    runner = FakeRunner()
    loop = make_loop(metrics, runner)
    gone = sequence(11, 12, 13)
    loop.submit([gone])
    steps(loop)

    gone.abandon()
    steps(loop)

    assert 1 == len(runner.batches)
    assert 0.0 == metrics.registry.get_sample_value("dragoman_running_sentences")


def test_forced_pieces(metrics: Metrics) -> None:
    """
    Forced pieces are taken whatever the engine would have chosen; a whole forced target ends with its end.
    """
    loop = make_loop(metrics, FakeRunner())
    given = sequence(11, 12)
    given.forced, given.is_forced_whole = [91, 92, 93], True

    loop.submit([given])
    steps(loop, 4)

    result = given.future.result(timeout=0).best
    assert ([91, 92, 93], Finish.FORCED) == (result.ids, result.finish)
    assert 4 == len(result.log_probabilities)


def test_sources_reach_the_engine_whole(metrics: Metrics) -> None:
    """
    The engine reads the tag, the pieces and the end.
    """
    runner = FakeRunner()
    loop = make_loop(metrics, runner)

    loop.submit([sequence(11)])
    steps(loop)

    assert [[[TAG_ID, 11, EOS_ID]]] == runner.batches


def test_times(metrics: Metrics) -> None:
    """
    Waiting ends where the first computation begins; decoding lasts to the end of the last step.
    """
    clock = FakeClock()
    loop = make_loop(metrics, FakeRunner(clock, seconds=0.25))
    sentence = sequence(11)

    loop.submit([sentence])
    clock.advance(3.0)
    steps(loop, 2)

    assert Times(queue=3.0, encode=0.0, decode=0.5) == sentence.future.result(timeout=0).times


def test_queue_full_is_all_or_none(metrics: Metrics) -> None:
    """
    A call that does not fit into the line leaves no sentence in it.
    """
    runner = FakeRunner()
    loop = make_loop(metrics, runner, max_running=1, max_waiting=2)
    loop.submit([sequence(11)])

    with pytest.raises(QueueFull):
        loop.submit([sequence(21), sequence(22)])
    steps(loop, 4)

    assert [[TAG_ID, 11, EOS_ID]] == [batch[0] for batch in runner.batches[:1]]
    assert 2 == len(runner.batches)


def test_retry_follows_the_drain_rate(metrics: Metrics) -> None:
    """
    The hint when to return is what the line takes at the measured pace: all steps of a sentence, not one.
    """
    runner = FakeRunner(seconds=1.0)
    loop = make_loop(metrics, runner, max_running=1, max_waiting=4)
    for _ in range(60):  # until the first guess is forgotten
        loop.submit([sequence(11, 12, 13)])
        steps(loop, 4)
    loop.submit([sequence(11, 12, 13) for _ in range(3)])

    with pytest.raises(QueueFull) as full:
        loop.submit([sequence(21), sequence(22)])

    assert pytest.approx(3 * 4.0, rel=0.2) == full.value.retry_seconds


def test_too_short_a_deadline_is_refused_at_once(metrics: Metrics) -> None:
    """
    What cannot be done in time at the measured pace is refused on arrival, with both figures.
    """
    runner = FakeRunner(seconds=1.0)
    loop = make_loop(metrics, runner, max_running=1)
    for _ in range(30):
        loop.submit([sequence(11, 12, 13)])
        steps(loop, 4)
    loop.submit([sequence(11, 12, 13) for _ in range(4)])  # 16 seconds and more

    with pytest.raises(DeadlineTooShort) as refused:
        loop.submit([sequence(11, deadline=runner.clock.now + 0.5)])

    estimated, remaining = (
        float(refused.value.metadata[name]) for name in ("estimated_seconds", "remaining_seconds")
    )
    assert 0.5 == remaining < estimated < 10.0  # it would go before all the others
    assert pytest.approx(estimated - remaining, abs=0.01) == refused.value.retry_seconds
    loop.submit([sequence(11, deadline=runner.clock.now + 10.0)])


def test_most_is_refused_before_it_is_cut_up(metrics: Metrics) -> None:
    """
    Of a text that nobody has read yet its least size is enough for a refusal, and nothing is queued for it.
    """
    runner = FakeRunner(seconds=1.0)
    loop = make_loop(metrics, runner, max_running=1, max_waiting=5)
    for _ in range(30):
        loop.submit([sequence(11, 12, 13)])
        steps(loop, 4)
    hurried = sequence(11, deadline=runner.clock.now + 8.0)

    loop.check(hurried, least=1, about=1, work=6)
    loop.submit([sequence(11, 12, 13) for _ in range(4)])
    with pytest.raises(QueueFull):
        loop.check(hurried, least=2, about=2, work=12)
    with pytest.raises(DeadlineTooShort):
        loop.check(hurried, least=1, about=1, work=60)

    assert 4.0 == metrics.registry.get_sample_value("dragoman_queue_depth", {"priority": "interactive"})


@pytest.mark.parametrize("remaining", [0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
def test_a_right_estimate_decides_as_the_texts_will(metrics: Metrics, remaining: float) -> None:
    """
    Whoever knows beforehand how many sentences there will be is refused neither more nor less than they are.
    """
    loop = make_loop(metrics, FakeRunner(), max_running=64)
    wanted = [sequence(*[11] * 32, deadline=FakeClock().now + remaining) for _ in range(100)]
    work = sum(one.work for one in wanted)

    def is_refused(ask: Callable[[], None]) -> bool:
        try:
            ask()
        except DeadlineTooShort:
            return True
        return False

    before = is_refused(lambda: loop.check(wanted[0], least=100, about=100, work=work))
    assert before == is_refused(lambda: loop.submit(wanted))


def test_what_lies_between_steps_is_part_of_the_pace(metrics: Metrics) -> None:
    """
    A loop that has to wait between two steps is as slow as it seems to those who wait, but idling is not slowness.
    """
    runner = FakeRunner(seconds=1.0)
    loop = make_loop(metrics, runner)
    for _ in range(100):
        runner.clock.advance(5.0)
        loop.submit([sequence(11)])
        steps(loop)
        runner.clock.advance(1.0)
        steps(loop)

    assert 3.0 / 5 == pytest.approx(loop.pace.seconds_per_piece(1), rel=0.05)  # 3 pieces read, 2 written


def test_an_idle_loop_gives_everybody_a_chance(metrics: Metrics) -> None:
    """
    After a pause of the whole machine the pace looks hopeless; the next call is let in, and shows that it is not.
    """
    runner = FakeRunner(seconds=1000.0)
    loop = make_loop(metrics, runner)
    loop.submit([sequence(11)])
    steps(loop, 2)
    runner.seconds = 0.001

    for _ in range(3):
        loop.submit([sequence(11, deadline=runner.clock.now + 1.0)])
        steps(loop, 2)
    with pytest.raises(DeadlineTooShort):
        loop.submit([sequence(*[11] * 900, deadline=runner.clock.now + 1.0)])


def test_given_up_work_is_counted(metrics: Metrics) -> None:
    """
    Sentences given up are counted by where they were, and what they had written as wasted.
    """
    loop = make_loop(metrics, FakeRunner(), max_running=1)
    running, waiting, last = sequence(11, 12, 13), sequence(21), sequence(31)
    loop.submit([running, waiting, last])
    steps(loop, 2)

    running.abandon()
    waiting.abandon()
    steps(loop, 2)

    value = metrics.registry.get_sample_value
    assert 1.0 == value("dragoman_cancelled_total", {"stage": "queue"})
    assert 1.0 == value("dragoman_cancelled_total", {"stage": "decode"})
    assert 2.0 == value("dragoman_wasted_target_tokens_total")
    assert [31] == last.future.result(timeout=0).best.ids


def test_gauges_forget_the_abandoned(metrics: Metrics) -> None:
    """
    Who was given up, in work or in the line, is not counted any more after the next step, though nobody joins or ends.
    """
    loop = make_loop(metrics, FakeRunner(), max_running=2)
    kept, running, *waiting = (sequence(*[11] * 9) for _ in range(5))
    loop.submit([kept, running, *waiting])
    steps(loop)

    for gone in (running, *waiting):
        gone.abandon()
    steps(loop)

    value = metrics.registry.get_sample_value
    assert 1.0 == value("dragoman_running_sentences")
    assert 0.0 == value("dragoman_queue_depth", {"priority": "interactive"})


def test_failure_of_the_engine(metrics: Metrics) -> None:
    """
    When the engine fails, those in the batch are told, those who wait are served, and the loop lives on.
    """
    runner = FakeRunner(fails_at=0)
    loop = make_loop(metrics, runner, max_running=2)
    first, second, waiting = sequence(11), sequence(12), sequence(13)
    loop.submit([first, second, waiting])
    loop.start()

    assert [13] == waiting.future.result(timeout=5).best.ids
    for failed in (first, second):
        with pytest.raises(DragomanError, match="RuntimeError: the engine is out of order") as told:
            failed.future.result(timeout=5)
        assert isinstance(told.value.__cause__, RuntimeError)
    later = sequence(14)
    loop.submit([later])
    assert [14] == later.future.result(timeout=5).best.ids
    loop.close()


def test_close_finishes_what_waits(metrics: Metrics) -> None:
    """
    Closing finishes the running and the waiting, then refuses what comes later.
    """
    loop = make_loop(metrics, FakeRunner(), max_running=1)
    accepted = [sequence(11, 12), sequence(13), sequence(14)]
    loop.submit(accepted)
    loop.start()

    loop.close()

    assert [[11, 12], [13], [14]] == [sentence.future.result(timeout=0).best.ids for sentence in accepted]
    with pytest.raises(Unavailable) as refused:
        loop.submit([sequence(15)])
    assert "DRAINING" == refused.value.reason


def test_close_without_work(metrics: Metrics) -> None:
    """
    An idle loop closes at once, one that was never started too, and closing twice does no harm.
    """
    idle, never_started = make_loop(metrics, FakeRunner()), make_loop(metrics, FakeRunner())
    idle.start()

    for loop in (idle, idle, never_started):
        loop.close()
