"""How an event loop waits for what the decode loops make of some sentences.

Between *translator* and *sequence*, whose futures are set in the threads of the decode loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Items
from concurrent.futures import Future
from itertools import count

from dragoman.batching.sequence import Result, Sequence


async def results_of(sequences: Items[Sequence]) -> list[Result]:
    """Wait until some sentences are done; if the caller goes away or one fails, the others leave at the next step.

    The event loop is woken once for all of them, not once for each.

    Raises:
        Exception: What the first that failed did.
    """
    if not sequences:
        return []
    loop = asyncio.get_running_loop()
    all_done: asyncio.Future[None] = loop.create_future()
    wanted, numbers = len(sequences), count(1)  # atomic: sentences of a call may be in several decode loops

    def tell(failure: BaseException | None) -> None:
        if all_done.done():  # nobody waits any more
            return
        if failure is None:
            all_done.set_result(None)
        else:
            all_done.set_exception(failure)

    def note(future: Future[Result]) -> None:
        failure = None if future.cancelled() else future.exception()
        if (failure or next(numbers) == wanted) and not loop.is_closed():
            loop.call_soon_threadsafe(tell, failure)

    for sequence in sequences:
        sequence.future.add_done_callback(note)
    try:
        await all_done
        return [sequence.future.result() for sequence in sequences]
    finally:
        for sequence in sequences:
            sequence.abandon()
