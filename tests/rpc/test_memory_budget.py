"""The bound on the bytes of all running calls."""

import pytest

from dragoman.errors import MemoryFull
from dragoman.rpc.memory_budget import MemoryBudget
from tests.fakes import FakeClock


def test_bound() -> None:
    """
    Requests are held up to the limit; the next one is told the limit, what is held, and what it asked for.
    """
    memory = MemoryBudget(100)
    with memory.holding(60), memory.holding(40):
        with (
            pytest.raises(MemoryFull, match="100 held and 1 more asked for, the limit is 100"),
            memory.holding(1),
        ):
            pass  # fmt: skip
        assert 100 == memory.held

    assert 0 == memory.held
    with memory.holding(100):
        pass


def test_one_is_always_held() -> None:
    """
    A single request is held however large: the transport has its own limit, and nothing is refused for ever.
    """
    memory = MemoryBudget(100)

    with memory.holding(1000):
        assert 1000 == memory.held
        with pytest.raises(MemoryFull), memory.holding(1):
            pass


def test_an_account_may_grow() -> None:
    """
    A call that turns out to need more holds more, if there is room; at its end all of it is free.
    """
    memory = MemoryBudget(100)

    with memory.holding(10) as hold:
        hold(60)
        with memory.holding(20), pytest.raises(MemoryFull, match="90 held and 20 more"):
            hold(20)
        hold(1000)  # nobody else holds any
        assert 1070 == memory.held

    assert 0 == memory.held


def test_a_caller_has_a_share() -> None:
    """
    Several calls of one caller leave room for those of others; one alone may be larger, and callers without a name share all.
    """
    memory = MemoryBudget(100, lambda: 0.5)

    with memory.holding(30, "a"), memory.holding(20, "a") as hold:
        with pytest.raises(MemoryFull, match="50 held and 1 more asked for, the limit is 50"):
            hold(1)
        with memory.holding(50, "b"), pytest.raises(MemoryFull, match="100 held"), memory.holding(1, "c"):
            pass
    with memory.holding(10, "a") as hold:
        hold(80)
    with memory.holding(40), memory.holding(60):
        pass
    assert 0 == memory.held


def test_failed_calls_free_theirs() -> None:
    """
    A call that fails, or is cancelled, holds nothing any more.
    """
    memory = MemoryBudget(100)
    with pytest.raises(KeyError), memory.holding(100):
        raise KeyError

    assert 0 == memory.held


def test_when_to_come_back() -> None:
    """
    The hint follows the pace at which bytes were freed, and keeps within a tenth of a second and a minute.
    """
    clock = FakeClock()
    memory = MemoryBudget(100, clock=clock)
    with memory.holding(50):
        with memory.holding(50):
            clock.advance(10)
        with memory.holding(50), pytest.raises(MemoryFull) as measured, memory.holding(20):
            pass
        clock.advance(1e6)
        with memory.holding(50), pytest.raises(MemoryFull) as slow, memory.holding(20):
            pass
    with memory.holding(100), pytest.raises(MemoryFull) as unknown, memory.holding(1):
        pass

    assert 4 == pytest.approx(measured.value.retry_seconds)  # 50 bytes in 10 seconds, 20 needed
    assert 60 == slow.value.retry_seconds
    assert 0.1 == unknown.value.retry_seconds
