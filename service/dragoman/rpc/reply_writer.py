"""Sending through grpc.aio, around what it does not do well: calls that end while something is on its way."""

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
    """Writes the replies of a stream, the headers by themselves, and lets nobody leave in the middle of those.

    gRPC would send them once more with the error, which the core forbids: the caller would never hear of the end.
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
    """Take what can be sent no more for the end of the call, of which gRPC will tell us a moment later."""
    try:
        yield
    except grpc.aio.InternalError as error:
        if "grpc_call_start_batch" in str(error):  # not the caller's doing, but misuse
            raise
        raise asyncio.CancelledError from None


def _heed(done: asyncio.Future[None]) -> None:
    """Take note of an error that perhaps nobody waits for any more: the caller is gone."""
    if not done.cancelled():
        done.exception()


async def abort(context: Any, code: grpc.StatusCode, message: str, trailers: Any) -> None:
    """End a call with an error, and leave nothing of it behind.

    gRPC keeps the exception with the call, and the exception's stack trace keeps the call and its request: up to
    100 MB for a message of 4 MiB, until a garbage collection that is long in coming.
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
