"""Who joins next: urgency, fit, and the bound on how often a sentence is overtaken."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.queue_limits import QueueLimits
from dragoman.batching.waiting_queue import WaitingQueue
from dragoman.errors import OverLimit, QueueFull
from tests.fakes import decode_request

NOW = 100.0


def always(_: DecodeRequest) -> bool:
    """Accept every sentence."""
    return True


def never(_: DecodeRequest) -> bool:
    """Accept none."""
    return False


def test_most_urgent_first() -> None:
    """
    Priority decides, then the deadline, then who came first.
    """
    queue = WaitingQueue(QueueLimits(max_overtaken=9))
    bulk, calm, pressed, calm_too = (
        decode_request(7, priority=1, deadline=1.0),
        decode_request(7),
        decode_request(7, deadline=5.0),
        decode_request(7),
    )
    for waiting in (bulk, calm, pressed, calm_too):
        queue.add(waiting)

    assert [pressed, calm, calm_too, bulk] == [queue.take(always, always) for _ in range(4)]


def test_what_does_not_fit_waits() -> None:
    """
    Nobody joins a batch that has no room, and nobody loses the place for it.
    """
    queue = WaitingQueue(QueueLimits(max_overtaken=9))
    only = decode_request(7)
    queue.add(only)

    assert queue.take(never, never) is None
    assert [only] == list(queue)


def test_patience_closes_the_line() -> None:
    """
    A sentence that was overtaken often enough keeps everybody else out until there is room for it.
    """
    queue = WaitingQueue(QueueLimits(max_overtaken=3))
    wide, *narrow = decode_request(*[7] * 9), *(decode_request(7) for _ in range(4))
    for waiting in (wide, *narrow):
        queue.add(waiting)

    def fits(candidate: DecodeRequest) -> bool:
        return candidate is not wide

    assert narrow[:3] == [queue.take(fits, always) for _ in range(3)]
    assert queue.take(fits, always) is None
    assert wide is queue.take(always, always)


def test_callers_take_turns() -> None:
    """
    Whoever brings many sentences gets no more of the engine than whoever brings few.
    """
    queue = WaitingQueue(QueueLimits())
    for caller, count in (("bulk", 6), ("small", 2)):
        for _ in range(count):
            waiting = decode_request(7)
            waiting.caller = caller
            queue.add(waiting)

    order = [taken.caller for taken in (queue.take(always, always) for _ in range(8)) if taken]

    assert ["bulk", "small", "bulk", "small"] == order[:4]
    assert 6 == order.count("bulk")


def test_what_suits_goes_first_among_equals() -> None:
    """
    Of one caller's sentences, one that makes the batch no wider joins before a wide one.
    """
    queue, wide, narrow = WaitingQueue(QueueLimits()), decode_request(*[7] * 9), decode_request(7)
    for waiting in (wide, narrow):
        queue.add(waiting)

    assert [narrow, wide] == [queue.take(always, lambda candidate: candidate is narrow) for _ in range(2)]


@pytest.mark.parametrize(("priority", "caller"), [(1, ""), (0, "another")], ids=["bulk", "another's"])
def test_to_suit_is_no_reason_to_go_before_others(priority: int, caller: str) -> None:
    """
    A wide sentence does not wait for the narrow ones of bulk, nor for those of another caller when it is its turn.
    """
    queue, wide = WaitingQueue(QueueLimits()), decode_request(*[7] * 9)
    queue.add(wide)
    for _ in range(9):
        narrow = decode_request(7, priority=priority)
        narrow.caller = caller
        queue.add(narrow)

    assert wide is queue.take(always, lambda candidate: candidate is not wide)


def test_bulk_gets_a_share_after_a_while() -> None:
    """
    Under endless interactive load, every fourth sentence to join is the oldest of the bulk.
    """
    queue = WaitingQueue(QueueLimits(max_overtaken=8))
    for _ in range(5):
        queue.add(decode_request(7, priority=1))
    joined = []
    for _ in range(40):
        queue.add(decode_request(7))
        joined.append(queue.take(always, always))

    priorities = [taken.priority for taken in joined if taken]
    assert 0 == sum(priorities[:8])
    assert 5 == sum(priorities)
    assert [8, 12, 16, 20, 24] == [place for place, priority in enumerate(priorities) if priority]


@settings(max_examples=200)
@given(
    arrivals=st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from([1.0, 2.0, math.inf]), st.integers(1, 40), st.sampled_from("abc")
        ),
        min_size=1, max_size=60,
    ),
    limit=st.integers(0, 5),
    burst=st.integers(1, 8),
)  # fmt: skip
def test_bound(arrivals: list[tuple[int, float, int, str]], limit: int, burst: int) -> None:
    """
    Whatever arrives, and however it suits, no sentence sees more newer ones join first than the bound says.
    """
    queue = WaitingQueue(QueueLimits(max_overtaken=limit))
    joined: list[DecodeRequest] = []
    older: dict[DecodeRequest, int] = {}
    waiting = [decode_request(*[7] * n, priority=p, deadline=d) for p, d, n, _ in arrivals]
    for arriving, (_, _, _, caller) in zip(waiting, arrivals, strict=True):
        arriving.caller = caller
    while waiting or len(queue):
        for arriving in waiting[:burst]:
            older[arriving] = len(queue)
            queue.add(arriving)
        waiting = waiting[burst:]
        taken = queue.take(always, lambda s: len(s.source_tokens) % 3 == 0)
        assert taken is not None
        joined.append(taken)

    for place, sentence in enumerate(joined):
        newer = sum(before.arrival > sentence.arrival for before in joined[:place])
        assert newer <= limit + 3 * (older[sentence] + 1)
    assert 0 == queue.work == queue.rows


@settings(max_examples=200)
@given(
    waiting=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([1.0, 2.0, 3.0]), st.integers(1, 40), st.sampled_from("abc")),
        max_size=30,
    ),
    priority=st.integers(0, 2),
    deadline=st.sampled_from([0.5, 1.5, 2.5, 3.5]),
    caller=st.sampled_from("abd"),
    taken=st.integers(0, 10),
)  # fmt: skip
def test_work_before(
    waiting: list[tuple[int, float, int, str]], priority: int, deadline: float, caller: str, taken: int
) -> None:
    """
    Before a newcomer go its caller's more urgent sentences, and of each other caller at most as much as its own.
    """
    queue = WaitingQueue(QueueLimits())
    for its_priority, its_deadline, tokens, its_caller in waiting:
        arriving = decode_request(*[7] * tokens, priority=its_priority, deadline=its_deadline)
        arriving.caller = its_caller
        queue.add(arriving)
    for _ in range(min(taken, len(waiting))):
        queue.take(always, always)
    newcomer = decode_request(7, priority=priority, deadline=deadline)
    newcomer.caller = caller

    own = sum(s.work for s in queue if s.caller == caller and (s.priority, s.deadline) < (priority, deadline))
    others = sum(s.work for s in queue if s.caller != caller and s.priority <= priority)
    turns = max(1, len({s.caller for s in queue} - {caller}))
    assert own + min(others, turns * (own + newcomer.work)) == queue.work_before(newcomer)


def test_queue_full() -> None:
    """
    A full line refuses all sentences of a call, and says the limit, the actual value and when to return.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=3))
    queue.add(decode_request(7))
    queue.add(decode_request(7))

    with pytest.raises(
        QueueFull, match=r"2 sentences \(12 pieces\) are waiting and 2 \(12\) more asked for, the limit is 3"
    ) as full:
        queue.check_room("", 2, 12, retry_seconds=1.5, now=NOW)

    assert 1.5 == full.value.retry_seconds
    queue.check_room("", 1, 6, retry_seconds=1.5, now=NOW)


def of(caller: str, count: int) -> list[DecodeRequest]:
    """Return some sentences of one caller."""
    made = [decode_request(7) for _ in range(count)]
    for one in made:
        one.caller = caller
    return made


def test_a_caller_has_a_share() -> None:
    """
    Who is known may fill a share of the line, in sentences and in pieces; the rest is left for others.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=10, max_caller_share=0.5))
    for waiting in of("a", 5):
        queue.add(waiting)

    with pytest.raises(
        QueueFull, match="5 of your sentences are waiting and 1 more asked for, the limit is 50% of 10"
    ):
        queue.check_room("a", 1, 6, retry_seconds=1.0, now=NOW)
    queue.check_room("b", 5, 30, retry_seconds=1.0, now=NOW)
    queue.check_room("", 5, 30, retry_seconds=1.0, now=NOW)

    work = of("a", 1)[0].work
    queue = WaitingQueue(QueueLimits(max_work=10 * work, max_caller_share=0.5))
    for waiting in of("a", 5):
        queue.add(waiting)
    with pytest.raises(QueueFull, match="of your sentences"):
        queue.check_room("a", 1, 6, retry_seconds=1.0, now=NOW)
    queue.take(always, always)
    queue.check_room("a", 1, 6, retry_seconds=1.0, now=NOW)


def test_bulk_has_a_share() -> None:
    """
    All bulk together may fill a share of the line, whoever it is from: interactive calls always find places.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=10, max_caller_share=0.5))
    queue.check_room(
        "", 10, 60, retry_seconds=1.0, now=NOW, priority=1
    )  # the first may be as large as the line
    for _ in range(4):
        queue.add(decode_request(7, priority=1))

    queue.check_room("", 1, 6, retry_seconds=1.0, now=NOW, priority=1)
    with pytest.raises(
        QueueFull, match="4 bulk sentences are waiting and 2 more asked for, the limit is 50% of 10"
    ):
        queue.check_room("", 2, 12, retry_seconds=1.0, now=NOW, priority=1)
    queue.check_room("", 6, 36, retry_seconds=1.0, now=NOW)


def test_one_call_may_be_larger_than_a_share() -> None:
    """
    Who has nothing in the line may put in a call of any size that fits: it would else never be served.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=10, max_caller_share=0.1))

    queue.check_room("a", 10, 60, retry_seconds=1.0, now=NOW)


def test_unknown_callers_have_no_share() -> None:
    """
    Where nobody can be told apart, everybody may fill the whole line.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=10, max_caller_share=0.1))
    for waiting in of("", 9):
        queue.add(waiting)

    queue.check_room("", 1, 6, retry_seconds=1.0, now=NOW)


def test_a_share_forgets_the_abandoned() -> None:
    """
    Sentences that nobody waits for do not count against their caller.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=10, max_caller_share=0.5))
    gone = of("a", 5)
    for waiting in gone:
        queue.add(waiting)
        waiting.abandon()

    queue.check_room("a", 5, 30, retry_seconds=1.0, now=NOW)


def test_queue_forgets_the_abandoned() -> None:
    """
    The places of those who hung up while they waited are given to others.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=2))
    gone, here = decode_request(7), decode_request(7)
    queue.add(gone)
    queue.add(here)

    gone.abandon()
    queue.check_room("", 1, 6, retry_seconds=1.0, now=NOW)

    assert [here] == list(queue)


def test_call_larger_than_the_queue() -> None:
    """
    A call that would not fit an empty line is told so, instead of being asked to come back.
    """
    with pytest.raises(OverLimit, match="sentences in one call: 4, the limit is 3"):
        WaitingQueue(QueueLimits(max_waiting=3)).check_room("", 4, 24, retry_seconds=1.0, now=NOW)


def test_limits_change() -> None:
    """
    New limits hold from the next call on, that of one caller's share too; nobody who waits is sent away.
    """
    queue = WaitingQueue(QueueLimits(max_waiting=10, max_caller_share=0.5))
    for _ in range(3):
        waiting = decode_request(7)
        waiting.caller = "a"
        queue.add(waiting)
    queue.check_room("a", 1, 6, retry_seconds=1.0, now=NOW)

    queue.limits = QueueLimits(max_waiting=10, max_work=1000, max_overtaken=64, max_caller_share=0.3)

    with pytest.raises(QueueFull, match="30% of 10"):
        queue.check_room("a", 1, 6, retry_seconds=1.0, now=NOW)
    assert 3 == len(queue)
