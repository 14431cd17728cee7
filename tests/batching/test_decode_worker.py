"""The steps of a worker, with a fake engine and a fake clock."""

import pytest

from dragoman.batching.scheduler import Scheduler
from dragoman.errors import DragomanError
from dragoman.observability.metrics import Metrics
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import Finish, Times
from tests.fakes import TAG_ID, FakeClock, FakeRunner, decode_request, make_pool, steps


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
        pool._workload.throughput.seconds_per_token(1), rel=0.05
    )  # 3 pieces read, 2 written


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


def test_failure_of_the_recovery(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When even giving up a batch fails, for want of memory say, its callers are told and the thread lives on.
    """
    runner = FakeRunner(fails_at=0)
    clear, failures = runner.clear, iter([MemoryError(), MemoryError()])

    def fail_twice() -> None:
        if error := next(failures, None):
            raise error
        clear()

    monkeypatch.setattr(runner, "clear", fail_twice)
    pool = make_pool(metrics, runner)
    first, later = decode_request(11), decode_request(12)
    pool.submit([first])
    pool.start()

    with pytest.raises(DragomanError, match="the engine is out of order"):
        first.future.result(timeout=5)
    pool.submit([later])
    assert [12] == later.future.result(timeout=5).best.tokens
    pool.close()


def test_failure_to_wait(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A worker that cannot even wait for work, since the system has no lock to spare, tries again.
    """
    pool = make_pool(metrics, FakeRunner())
    workload = pool._workload
    wait, failures = workload.wait_for_work, iter([RuntimeError("can't allocate lock")])

    def fail_once(scheduler: Scheduler) -> bool:
        if error := next(failures, None):
            raise error
        return wait(scheduler)

    monkeypatch.setattr(workload, "wait_for_work", fail_once)
    pool.start()
    asked = decode_request(11)
    pool.submit([asked])

    assert [11] == asked.future.result(timeout=5).best.tokens
    pool.close()
