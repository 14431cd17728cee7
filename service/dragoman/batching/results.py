"""How an event loop waits for what the decode loops make of some sentences.

Between *translator* and *decode_request*, whose futures are set in the threads of the decode loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count

from dragoman.batching.decode_request import DecodeRequest, DecodeResult


async def results_of(requests: Sequence[DecodeRequest]) -> list[DecodeResult]:
    """Wait until some sentences are done; if the caller goes away or one fails, the others leave at the next step.

    The event loop is woken once for all of them, not once for each.

    Raises:
        Exception: What the first that failed did.
    """
    if not requests:
        return []
    loop = asyncio.get_running_loop()
    all_done: asyncio.Future[None] = loop.create_future()
    wanted, numbers = len(requests), count(1)  # atomic: sentences of a call may be in several decode loops

    def tell(failure: BaseException | None) -> None:
        if all_done.done():  # nobody waits any more
            return
        if failure is None:
            all_done.set_result(None)
        else:
            all_done.set_exception(failure)

    def note(future: Future[DecodeResult]) -> None:
        failure = None if future.cancelled() else future.exception()
        if (failure or next(numbers) == wanted) and not loop.is_closed():
            loop.call_soon_threadsafe(tell, failure)

    for request in requests:
        request.future.add_done_callback(note)
    try:
        await all_done
        return [request.future.result() for request in requests]
    finally:
        for request in requests:
            request.abandon()
