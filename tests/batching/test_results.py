"""How an event loop waits for sentences that decode loops, in threads of their own, are done with."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dragoman.batching.decode_request import DecodeRequest, DecodeResult, Output
from dragoman.batching.results import results_of
from dragoman.errors import DragomanError
from dragoman.types import Finish, Times
from tests.fakes import decode_request


def result(number: int) -> DecodeResult:
    """Return a translation of one piece, to be told from others."""
    return DecodeResult(Output([number], [0.0, 0.0], [], Finish.STOP), [], Times())


def elsewhere(work: Callable[[], object]) -> None:
    """Do something in another thread, and wait for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def waiting(requests: list[DecodeRequest]) -> asyncio.Task[list[DecodeResult]]:
    """Return a task that waits for the sentences by now."""
    task = asyncio.create_task(results_of(requests))
    await asyncio.sleep(0)
    return task


async def test_results_keep_the_order() -> None:
    """
    Whichever sentence is done first, results come in the order that was asked for.
    """
    one, two = decode_request(1), decode_request(2)
    task = await waiting([one, two])

    elsewhere(partial(two.future.set_result, result(2)))
    elsewhere(partial(one.future.set_result, result(1)))

    assert [[1], [2]] == [found.best.tokens for found in await task]


async def test_wakes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The event loop is woken once for all sentences of a call, by the last.
    """
    sentences = [decode_request(number) for number in range(8)]
    loop = asyncio.get_running_loop()
    wakings: list[tuple[Any, ...]] = []
    wake = loop.call_soon_threadsafe

    def counted(*given: Any) -> asyncio.Handle:
        wakings.append(given)
        return wake(*given)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    task = await waiting(sentences)

    for number, sentence in enumerate(sentences):
        assert not wakings
        elsewhere(partial(sentence.future.set_result, result(number)))
    await task

    assert 1 == len(wakings)


async def test_done_before() -> None:
    """
    Who comes late waits for nothing, and no sentence at all is done at once.
    """
    one = decode_request(1)
    one.future.set_result(result(1))

    assert [[1]] == [found.best.tokens for found in await results_of([one])]
    assert [] == await results_of([])


async def test_one_fails() -> None:
    """
    The first failure ends the wait, and the other sentences are given up.
    """
    bad, good = decode_request(1), decode_request(2)
    task = await waiting([bad, good])

    elsewhere(partial(bad.future.set_exception, DragomanError("broken")))

    with pytest.raises(DragomanError, match="broken"):
        await task
    assert good.is_abandoned


async def test_all_fail() -> None:
    """
    A batch that fails fails every sentence of a call; the caller is told once.
    """
    sentences = [decode_request(1), decode_request(2), decode_request(3)]
    task = await waiting(sentences)

    for number, one in enumerate(sentences):
        elsewhere(partial(one.future.set_exception, DragomanError(f"no {number}")))

    with pytest.raises(DragomanError, match="no 0"):
        await task


async def test_caller_leaves() -> None:
    """
    When the caller goes away its sentences are given up; one that is done meanwhile harms nobody.
    """
    done, running = decode_request(1), decode_request(2)
    task = await waiting([done, running])
    elsewhere(partial(done.future.set_result, result(1)))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert running.is_abandoned
    assert not done.is_abandoned


async def test_nothing_is_left_for_the_collector() -> None:
    """
    A sentence and all it holds is gone with the last who knows it, not at some later collection.
    """
    one = decode_request(1)
    task = await waiting([one])
    elsewhere(partial(one.future.set_result, result(1)))
    await task
    left = weakref.ref(one)

    gc.disable()
    try:
        del one, task
        assert left() is None
    finally:
        gc.enable()
