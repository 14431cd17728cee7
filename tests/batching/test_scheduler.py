"""Which sentences share the next step: tables of arrivals and the batches expected."""

import pytest

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.scheduler import Scheduler
from dragoman.errors import DeadlinePassed
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import Finish, Search
from tests.fakes import decode_request, make_scheduler, step_of

NOW = 100.0


def wait(scheduler: Scheduler, *requests: DecodeRequest) -> None:
    """Let some sentences wait."""
    for waiting in requests:
        scheduler.waiting.add(waiting)


def replay(arrivals: list[dict[str, int]], *, max_running: int) -> list[str]:
    """Return the batch of each step, one letter a sentence.

    Args:
        arrivals: For each step, the sentences that arrive before it and how many pieces they will have.
    """
    scheduler = make_scheduler(max_running=max_running)
    names = {}
    batches = []
    for arriving in arrivals:
        for name, length in arriving.items():
            arrived = decode_request(7, max_tokens=length)
            names[id(arrived)] = name
            scheduler.waiting.add(arrived)
        scheduler.admit(NOW)
        of_row = {hypothesis.row: s for s in scheduler.running for hypothesis in s.live}
        batches.append("".join(names[id(of_row[row])] for row in range(len(scheduler.rows))))
        scheduler.advance(step_of([{7: -0.5}] * len(scheduler.rows)))
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


@pytest.mark.parametrize(
    ("running", "waiting", "joining"),
    [(0, 9, 8), (6, 2, 2), (6, 9, 2), (7, 1, 1), (7, 2, 0), (8, 1, 0)],
    ids=["empty", "room-for-all", "a-quarter-free", "the-last", "too-few-free", "full"],
)
def test_several_join_together(running: int, waiting: int, joining: int) -> None:
    """
    If more wait than there are free rows, nobody joins before a quarter of the rows is free.
    """
    scheduler = make_scheduler(max_running=8)
    wait(scheduler, *(decode_request(7) for _ in range(running)))
    assert running == len(scheduler.admit(NOW))

    wait(scheduler, *(decode_request(7) for _ in range(waiting)))

    assert joining == len(scheduler.admit(NOW))


def test_a_share_is_not_the_room_there_is() -> None:
    """
    Beside another loop, which is to have the rest, a few join as well: there are rows enough.
    """
    scheduler = make_scheduler(max_running=16)
    wait(scheduler, *(decode_request(7) for _ in range(4)))
    scheduler.admit(NOW)

    wait(scheduler, *(decode_request(7) for _ in range(4)))

    assert 2 == len(scheduler.admit(NOW, share=6))


def test_skips_abandoned() -> None:
    """
    A sentence whose client hung up never takes a decoder row.
    """
    scheduler = make_scheduler(max_running=1)
    gone, here = decode_request(7), decode_request(7)
    wait(scheduler, *[gone, here])

    gone.abandon()

    assert [here] == scheduler.admit(NOW)


def test_skips_expired() -> None:
    """
    A sentence whose deadline passed while it waited is told so and never takes a decoder row.
    """
    scheduler = make_scheduler(max_running=1)
    late, here = decode_request(7, deadline=NOW), decode_request(7, deadline=NOW + 1)
    wait(scheduler, late, here)

    assert [here] == scheduler.admit(NOW)
    assert isinstance(late.future.exception(timeout=0), DeadlinePassed)


def test_drops_expired_rows() -> None:
    """
    A running sentence leaves at the first step after its deadline.
    """
    scheduler = make_scheduler(max_running=2)
    short, long = decode_request(7, deadline=NOW + 1), decode_request(7)
    wait(scheduler, short, long)
    scheduler.admit(NOW)

    assert [] == scheduler.drop_lost(NOW).left
    assert [0] == scheduler.drop_lost(NOW + 1).left
    assert [long] == scheduler.running
    assert isinstance(short.future.exception(timeout=0), DeadlinePassed)


def test_token_budget() -> None:
    """
    Rows, each as wide as the widest, stay within the token budget; one sentence alone always runs.
    """
    scheduler = make_scheduler(max_running=8, max_batch_tokens=70)
    huge = decode_request(*[7] * 100, max_tokens=100)
    wait(scheduler, huge)
    assert [huge] == scheduler.admit(NOW)

    scheduler.clear()
    wait(
        scheduler, *(decode_request(7, max_tokens=15) for _ in range(4))
    )  # 8 source and 16 target positions each

    assert 2 == len(scheduler.admit(NOW))


def test_narrow_sentences_join_first() -> None:
    """
    A sentence that would widen every row lets those join that do not, but fills a row nobody else wants.
    """
    scheduler = make_scheduler(max_running=4)
    first, wide, narrow = decode_request(7), decode_request(*[7] * 20), decode_request(7)
    wait(scheduler, first, wide, narrow)

    assert [first, narrow, wide] == scheduler.admit(NOW)


def test_nobody_is_overtaken_for_ever() -> None:
    """
    A wide bulk sentence joins once it was overtaken often enough, even where it does not suit the batch.
    """
    scheduler = make_scheduler(max_running=1, max_overtaken=3)
    running = decode_request(7)
    wait(scheduler, running)
    scheduler.admit(NOW)
    wide = decode_request(*[7] * 20, priority=1)
    wait(scheduler, wide, *(decode_request(7) for _ in range(5)))

    order = []
    for _ in range(4):
        scheduler.clear()
        order += scheduler.admit(NOW)

    assert 3 == order.index(wide)


def test_drops_abandoned_rows() -> None:
    """
    Running sentences nobody waits for give up their rows, and the others close up in order.
    """
    scheduler = make_scheduler(max_running=4)
    first, second, third = decode_request(7), decode_request(7), decode_request(7)
    wait(scheduler, *[first, second, third])
    scheduler.admit(NOW)

    second.abandon()

    assert [1] == scheduler.drop_lost(NOW).left
    assert [first, third] == scheduler.running


def test_advance_names_rows_and_reasons() -> None:
    """
    A step frees the rows of those who wrote their end or reached their limit, and says which it was.
    """
    scheduler = make_scheduler(max_running=4)
    ends, goes_on, cut = decode_request(7), decode_request(7), decode_request(7, max_tokens=1)
    wait(scheduler, *[ends, goes_on, cut])
    scheduler.admit(NOW)

    outcome = scheduler.advance(step_of([{EOS_ID: -0.5}, {7: -0.5}, {7: -0.5}]))

    assert [0, 2] == outcome.left
    assert [ends, cut] == outcome.finished
    assert [Finish.STOP, Finish.LENGTH] == [done.ended[0].finish for done in outcome.finished]
    assert [goes_on] == scheduler.running
    assert [goes_on.live[0]] == scheduler.rows
    assert 0 == goes_on.live[0].row


def test_beam_takes_its_rows_when_it_branches() -> None:
    """
    A beam holds one row until its first choice, then a row for each hypothesis, new ones behind the last.
    """
    scheduler = make_scheduler(max_running=4)
    greedy, beam = decode_request(7), decode_request(7, search=Search(beam_size=3))
    wait(scheduler, beam, greedy)
    scheduler.admit(NOW)

    outcome = scheduler.advance(step_of([{11: -1.0, 12: -2.0, 13: -3.0}, {21: -0.5}], num_top=6))

    assert [(0, 2, 0), (0, 3, 0)] == outcome.branches
    assert [[11], [21], [12], [13]] == [hypothesis.tokens for hypothesis in scheduler.rows]
    assert [0, 1, 2, 3] == [hypothesis.row for hypothesis in scheduler.rows]


def test_beam_moves_no_more_than_it_must() -> None:
    """
    A hypothesis goes on in its parent's row; its sister takes a row whose own has no future.
    """
    scheduler = make_scheduler(max_running=4)
    wait(scheduler, decode_request(7, search=Search(beam_size=2)))
    scheduler.admit(NOW)
    scheduler.advance(step_of([{11: -1.0, 12: -2.0}], num_top=4))

    outcome = scheduler.advance(step_of([{14: -9.0}, {15: -0.1, 16: -0.2}], num_top=4))

    assert [(1, 0, 1)] == outcome.branches  # both have read the start
    assert [[12, 16], [12, 15]] == [hypothesis.tokens for hypothesis in scheduler.rows]
    assert [] == outcome.left


def test_beam_gives_up_rows_when_it_ends() -> None:
    """
    All rows of a beam are free once it is done, and those behind close up.
    """
    scheduler = make_scheduler(max_running=4)
    beam, greedy = decode_request(7, search=Search(beam_size=2)), decode_request(7)
    wait(scheduler, beam, greedy)
    scheduler.admit(NOW)
    scheduler.advance(step_of([{11: -1.0, 12: -2.0}, {21: -0.5}], num_top=4))

    ends = {EOS_ID: -0.1, 13: -5.0}
    outcome = scheduler.advance(step_of([ends, {22: -0.5}, ends], num_top=4))

    assert [beam] == outcome.finished
    assert [0, 2] == sorted(outcome.left)
    assert [[21, 22]] == [hypothesis.tokens for hypothesis in scheduler.rows]


def test_beams_count_all_their_rows() -> None:
    """
    Room is kept for every hypothesis of a beam, also before it has branched.
    """
    scheduler = make_scheduler(max_running=8)
    wait(scheduler, *(decode_request(7, search=Search(beam_size=3)) for _ in range(3)))

    assert 2 == len(scheduler.admit(NOW))


def test_share() -> None:
    """
    An engine takes no more than its share while others have room, but never nothing.
    """
    scheduler = make_scheduler(max_running=8)
    wait(scheduler, *(decode_request(7) for _ in range(5)))

    assert 3 == len(scheduler.admit(NOW, share=3))
    assert 0 == len(scheduler.admit(NOW, share=2))


def test_what_would_be_late_is_not_begun() -> None:
    """
    A sentence that could not be finished any more leaves the line; alone it is tried, for the estimate may be wrong.
    """
    scheduler = make_scheduler()
    wait(scheduler, decode_request(7, deadline=103.0))

    assert 1 == len(scheduler.admit(NOW, own_seconds=lambda _: 5.0))

    late, in_time = decode_request(7, deadline=103.0), decode_request(7, deadline=110.0)
    wait(scheduler, late, in_time)
    assert [in_time] == scheduler.admit(NOW, own_seconds=lambda _: 5.0)
    with pytest.raises(DeadlinePassed):
        late.future.result(timeout=0)
