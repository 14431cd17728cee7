"""Waiting for results: the bridge from the futures of decode workers to an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count

from dragoman.batching.decode_request import DecodeRequest, DecodeResult


async def results_of(requests: Sequence[DecodeRequest]) -> list[DecodeResult]:
    """Wait for the results of some sentences; if one fails or the caller goes away, abandon the others.

    The event loop is woken once for all of them, not once for each.

    Raises:
        Exception: The error of the first sentence that failed.
    """
    if not requests:
        return []
    loop = asyncio.get_running_loop()
    all_done: asyncio.Future[None] = loop.create_future()
    num_requests = len(requests)
    numbers = count(1)  # atomic, because several workers may finish sentences of one call

    def settle(failure: BaseException | None) -> None:
        """Wake the waiting task, in the thread of the event loop."""
        if all_done.done():
            return
        if failure is None:
            all_done.set_result(None)
        else:
            all_done.set_exception(failure)

    def note(future: Future[DecodeResult]) -> None:
        """Note that a sentence is done, in the thread of a worker."""
        failure = None if future.cancelled() else future.exception()
        if (failure or next(numbers) == num_requests) and not loop.is_closed():
            loop.call_soon_threadsafe(settle, failure)

    for request in requests:
        request.future.add_done_callback(note)
    try:
        await all_done
        return [request.future.result() for request in requests]
    finally:
        for request in requests:
            request.abandon()
