"""The intake: places for requests on their way in, shared by callers, bounded in time."""

import asyncio
from typing import Any

import pytest

from dragoman.errors import DeadlinePassed, ProcessMemoryFull
from dragoman.rpc import intake as module
from dragoman.rpc.intake import Intake


class Request:
    """A call whose request arrives when the test says so."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.is_read = False

    async def read(self) -> bytes:
        """Return the request once it has arrived."""
        self.is_read = True
        await self.arrived.wait()
        return b"request"


def start(intake: Intake, caller: str) -> tuple[Request, asyncio.Task[Any]]:
    """Begin to read a request."""
    request = Request()
    return request, asyncio.create_task(intake.read(request, caller))


async def settle() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_caller_has_half_of_the_places() -> None:
    """
    Of four places a caller that stalls takes two; others are read meanwhile, and its third once it has one free.
    """
    intake = Intake(max_bytes=4, max_message_bytes=1, seconds=60)
    stalled = [start(intake, "a") for _ in range(3)]
    other, reading = start(intake, "b")
    await settle()

    assert [True, True, False] == [request.is_read for request, _ in stalled]
    assert other.is_read

    stalled[0][0].arrived.set()
    await settle()
    assert stalled[2][0].is_read
    for request in (other, *(request for request, _ in stalled)):
        request.arrived.set()
    assert [b"request"] * 4 == await asyncio.gather(reading, *(task for _, task in stalled))


async def test_it_takes_too_long() -> None:
    """
    A request that does not arrive in time is given up with the limit, and its place is free again.
    """
    intake = Intake(max_bytes=2, max_message_bytes=1, seconds=0.01)

    for _ in range(5):
        with pytest.raises(DeadlinePassed, match=r"did not arrive within 0\.0 s"):
            await intake.read(Request(), "a")


async def test_whoever_gives_up_leaves_nothing() -> None:
    """
    A call that ends while it waits for a place, or while it is read, takes none with it.
    """
    intake = Intake(max_bytes=2, max_message_bytes=1, seconds=60)
    tasks = [start(intake, "a")[1] for _ in range(4)]
    await settle()

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    request, reading = start(intake, "a")
    request.arrived.set()
    assert b"request" == await reading


async def test_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When memory is short, requests that have been on their way for a while end, and so do streams that rest.
    """
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", -1.0)
    intake = Intake(max_bytes=4, max_message_bytes=1, seconds=60)
    _, reading = start(intake, "a")
    await settle()

    with intake.idle() as told:
        assert 2 == intake.shed()
        assert told.done()
    with pytest.raises(ProcessMemoryFull):
        await reading
    assert 0 == intake.shed()
