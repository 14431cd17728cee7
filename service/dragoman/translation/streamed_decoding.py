"""Streamed decoding: the sentences of a text of any length, submitted chunk by chunk, with results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from weakref import WeakValueDictionary

from dragoman.batching import stages
from dragoman.batching.decode_pool import DecodePool
from dragoman.batching.decode_request import DecodeRequest, DecodeResult
from dragoman.batching.results import results_of
from dragoman.errors import QueueFull

CHUNK = 32  # sentences that are submitted together
MAX_AT_ONCE = 2 * CHUNK  # sentences of one text in work: the next chunk is queued before this one is done
_MAX_WAIT_SECONDS = 1.0  # between two tries to queue a chunk


class StreamedDecoding:
    """Feeds texts to a decode pool without ever filling its queue; a full queue is waited for."""

    def __init__(self, pool: DecodePool) -> None:
        self._pool = pool
        # One lock for each lane in which a text waits for room; it goes with the last that waits.
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def results(self, requests: Iterable[DecodeRequest]) -> AsyncGenerator[DecodeResult, None]:
        """Yield the result of each sentence of a text, in order, as soon as it is done.

        Raises:
            DeadlineTooShort, DeadlinePassed: The rest would not be done, or was not done, in time.
        """
        not_queued = deque(requests)
        del requests  # each is let go once it is done
        queued: deque[DecodeRequest] = deque()
        passed: list[stages.StageTimes] = []

        async def first_result() -> DecodeResult:
            [result] = await results_of([queued[0]])
            passed.append(stages.stage_times(queued.popleft()))
            return result

        try:
            while not_queued:
                size = min(CHUNK, self._pool.max_waiting, len(not_queued))
                chunk = [not_queued.popleft() for _ in range(size)]
                await self._submit(chunk)
                queued += chunk
                while len(queued) > CHUNK:
                    yield await first_result()
            while queued:
                yield await first_result()
        finally:
            for request in queued:
                request.abandon()
                passed.append(stages.stage_times(request))
            stages.trace(passed)

    async def _submit(self, chunk: list[DecodeRequest]) -> None:
        """Queue a chunk once there is room. In one lane, texts take turns in the order of their arrival."""
        async with self._turns.setdefault(chunk[0].lane, asyncio.Lock()):
            while True:
                try:
                    return self._pool.submit(chunk)
                except QueueFull as full:
                    await asyncio.sleep(min(full.retry_seconds, _MAX_WAIT_SECONDS))
