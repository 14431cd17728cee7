"""The reply writer: sends through grpc.aio, which does not handle calls well that end during a write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

Send = Callable[[Message], Awaitable[None]]


class ReplyWriter:
    """Writes the replies of a stream. It sends the headers first, and waits for them even if the call ends meanwhile.

    Otherwise gRPC would send them again with the error, which its core forbids, and the caller would never learn that the
    call has ended.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._headers: asyncio.Future[None] | None = None

    async def _send(self, reply: Message) -> None:
        if self._headers is None:
            self._headers = asyncio.ensure_future(self._context.send_initial_metadata(()))
            self._headers.add_done_callback(_heed)
        with _perhaps_for_nobody():
            await asyncio.shield(self._headers)
            await self._context.write(reply.SerializeToString())

    async def __aenter__(self) -> Send:
        return self._send

    async def __aexit__(self, *_: object) -> None:
        if self._headers is not None:
            await asyncio.wait((self._headers,))


@contextmanager
def _perhaps_for_nobody() -> Iterator[None]:
    """Treat a failed write as the end of the call, which gRPC reports a moment later."""
    try:
        yield
    except grpc.aio.InternalError as error:
        if "grpc_call_start_batch" in str(error):  # misuse of gRPC, not an ended call
            raise
        raise asyncio.CancelledError from None


def _heed(done: asyncio.Future[None]) -> None:
    """Retrieve an error that nobody may wait for any more, because the caller is gone."""
    if not done.cancelled():
        done.exception()


async def abort(context: Any, code: grpc.StatusCode, message: str, trailers: Any) -> None:
    """End a call with an error, and release everything that it holds.

    gRPC keeps the exception with the call, and the traceback of the exception keeps the call and its request: up to
    100 MB for a message of 4 MiB, until the garbage collector runs.
    """
    try:
        with _perhaps_for_nobody():
            await context.abort(code, message, trailers)
    except grpc.aio.AbortError as aborted:
        task = asyncio.current_task()
        assert task is not None, "gRPC runs each call as a task. This is a bug."
        task.add_done_callback(partial(_forget, aborted))
        raise


def _forget(aborted: BaseException, task: asyncio.Task[None]) -> None:
    aborted.__traceback__ = aborted.__context__ = None
