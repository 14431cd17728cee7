"""Which sentences share the next step: tables of arrivals and the batches expected."""

import numpy as np
import pytest

from service.batching.scheduler import Scheduler
from service.batching.sequence import Sequence
from service.engine.runner import Step
from service.errors import DeadlinePassed, OverLimit, QueueFull
from service.text.tokenizer import EOS_ID
from service.translation import Finish
from tests.fakes import sequence

NOW = 100.0


def wait(scheduler: Scheduler, *sequences: Sequence) -> None:
    """Let some sentences wait."""
    for waiting in sequences:
        scheduler.waiting.add(waiting)


def replay(arrivals: list[dict[str, int]], *, max_running: int) -> list[str]:
    """Return the batch of each step, one letter a sentence.

    Args:
        arrivals: For each step, the sentences that arrive before it and how many pieces they will have.
    """
    scheduler = Scheduler(max_running=max_running, max_waiting=100)
    names = {}
    batches = []
    for arriving in arrivals:
        for name, length in arriving.items():
            arrived = sequence(7, max_tokens=length)
            names[id(arrived)] = name
            scheduler.waiting.add(arrived)
        scheduler.admit(NOW)
        batches.append("".join(names[id(running)] for running in scheduler.running))
        count = len(scheduler.running)
        scheduler.advance(Step([7] * count, [-0.5] * count, np.zeros((count, 3), np.float32)))
    return batches


@pytest.mark.parametrize(
    ("max_running", "arrivals", "batches"),
    [
        (2, [{}, {}], ["", ""]),
        (4, [{"a": 1, "b": 1}, {}], ["ab", ""]),
        (4, [{"a": 3}, {"b": 2}, {}, {}], ["a", "ab", "ab", ""]),
        (2, [{"a": 2, "b": 1, "c": 1, "d": 1}, {}, {}, {}], ["ab", "ac", "d", ""]),
        (1, [{"a": 2, "b": 1}, {"c": 1}, {}, {}], ["a", "a", "b", "c"]),
        (3, [{"a": 1, "b": 3, "c": 2}, {"d": 1}, {"e": 1}], ["abc", "cbd", "be"]),
    ],
    ids=["idle", "together", "joins-while-running", "row-freed", "in-turn", "gap-filled"],
)
def test_batches(max_running: int, arrivals: list[dict[str, int]], batches: list[str]) -> None:
    """
    A sentence joins as soon as a row is free, oldest first, and leaves after its last piece.
    """
    assert batches == replay(arrivals, max_running=max_running)


def test_skips_abandoned() -> None:
    """
    A sentence whose client hung up never takes a decoder row.
    """
    scheduler = Scheduler(max_running=1, max_waiting=2)
    gone, here = sequence(7), sequence(7)
    wait(scheduler, *[gone, here])

    gone.future.cancel()

    assert [here] == scheduler.admit(NOW)


def test_skips_expired() -> None:
    """
    A sentence whose deadline passed while it waited is told so and never takes a decoder row.
    """
    scheduler = Scheduler(max_running=1, max_waiting=2)
    late, here = sequence(7, deadline=NOW), sequence(7, deadline=NOW + 1)
    wait(scheduler, late, here)

    assert [here] == scheduler.admit(NOW)
    assert isinstance(late.future.exception(timeout=0), DeadlinePassed)


def test_drops_expired_rows() -> None:
    """
    A running sentence leaves at the first step after its deadline.
    """
    scheduler = Scheduler(max_running=2, max_waiting=2)
    short, long = sequence(7, deadline=NOW + 1), sequence(7)
    wait(scheduler, short, long)
    scheduler.admit(NOW)

    assert [] == scheduler.drop_lost(NOW)
    assert [0] == scheduler.drop_lost(NOW + 1)
    assert [long] == scheduler.running
    assert isinstance(short.future.exception(timeout=0), DeadlinePassed)


def test_token_budget() -> None:
    """
    Rows, each as wide as the widest, stay within the token budget; one sentence alone always runs.
    """
    scheduler = Scheduler(max_running=8, max_waiting=8, max_batch_tokens=70)
    huge = sequence(*[7] * 100, max_tokens=100)
    wait(scheduler, huge)
    assert [huge] == scheduler.admit(NOW)

    scheduler.running.clear()
    wait(scheduler, *(sequence(7, max_tokens=15) for _ in range(4)))  # 8 source and 16 target positions each

    assert 2 == len(scheduler.admit(NOW))


def test_narrow_sentences_join_first() -> None:
    """
    A sentence that would widen every row lets those join that do not, but fills a row nobody else wants.
    """
    scheduler = Scheduler(max_running=4, max_waiting=8)
    first, wide, narrow = sequence(7), sequence(*[7] * 20), sequence(7)
    wait(scheduler, first, wide, narrow)

    assert [first, narrow, wide] == scheduler.admit(NOW)
    assert 1 == wide.overtaken


def test_nobody_is_overtaken_for_ever() -> None:
    """
    After `max_overtaken` newer sentences, a wide one joins next, even where it does not suit the batch.
    """
    scheduler = Scheduler(max_running=1, max_waiting=99, max_overtaken=2)
    running = sequence(7)
    wait(scheduler, running)
    scheduler.admit(NOW)
    wide = sequence(*[7] * 20, priority=1)
    wait(scheduler, wide, *(sequence(7) for _ in range(5)))

    order = []
    for _ in range(4):
        scheduler.running.clear()
        order += scheduler.admit(NOW)

    assert 2 == order.index(wide)


def test_drops_abandoned_rows() -> None:
    """
    Running sentences nobody waits for give up their rows, and the others close up in order.
    """
    scheduler = Scheduler(max_running=4, max_waiting=4)
    first, second, third = sequence(7), sequence(7), sequence(7)
    wait(scheduler, *[first, second, third])
    scheduler.admit(NOW)

    second.future.cancel()

    assert [1] == scheduler.drop_lost(NOW)
    assert [first, third] == scheduler.running


def test_advance_names_rows_and_reasons() -> None:
    """
    A step frees the rows of those who wrote their end or reached their limit, and says which it was.
    """
    scheduler = Scheduler(max_running=4, max_waiting=4)
    ends, goes_on, cut = sequence(7), sequence(7), sequence(7, max_tokens=1)
    wait(scheduler, *[ends, goes_on, cut])
    scheduler.admit(NOW)

    rows, finished = scheduler.advance(Step([EOS_ID, 7, 7], [-0.5] * 3, np.zeros((3, 3), np.float32)))

    assert [0, 2] == rows
    assert [(ends, Finish.STOP), (cut, Finish.LENGTH)] == finished
    assert [goes_on] == scheduler.running


def test_queue_full() -> None:
    """
    A full line refuses all sentences of a call, and says the limit, the actual value and when to return.
    """
    scheduler = Scheduler(max_running=1, max_waiting=3)
    wait(scheduler, *[sequence(7), sequence(7)])

    with pytest.raises(
        QueueFull, match="2 sentences are waiting and 2 more asked for, the limit is 3"
    ) as full:
        scheduler.check_room(2, retry_seconds=1.5, now=NOW)

    assert 1.5 == full.value.retry_seconds
    scheduler.check_room(1, retry_seconds=1.5, now=NOW)


def test_queue_forgets_the_abandoned() -> None:
    """
    The places of those who hung up while they waited are given to others.
    """
    scheduler = Scheduler(max_running=1, max_waiting=2)
    gone, here = sequence(7), sequence(7)
    wait(scheduler, *[gone, here])

    gone.future.cancel()
    scheduler.check_room(1, retry_seconds=1.0, now=NOW)

    assert [here] == list(scheduler.waiting)


def test_call_larger_than_the_queue() -> None:
    """
    A call that would not fit an empty line is told so, instead of being asked to come back.
    """
    scheduler = Scheduler(max_running=1, max_waiting=3)

    with pytest.raises(OverLimit, match="sentences in one call: 4, the limit is 3"):
        scheduler.check_room(4, retry_seconds=1.0, now=NOW)
