"""Health as gRPC defines it: bounded before it is asked, and no hindrance to the end of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2

from dragoman.rpc.intake import Intake, address
from dragoman.rpc.peers import Peers

MAX_REQUEST_BYTES = 1024  # a service has a name, not a story
_LAST_WORD_SECONDS = 0.1


class Health(health.aio.HealthServicer):  # type: ignore[name-defined]  # stubs lack it
    """The library's servicer for strangers: short names, few watchers, watches that end with the server.

    Nobody is asked for a key here, so nothing may be held for whoever asks: requests are read like all others,
    through the intake, and are refused when they are longer than a service's name can be. A watch lasts as long as
    its client likes. Left to be cancelled by gRPC, one that ends with the server leaves a stack trace in the log of
    every rollout.
    """

    def __init__(self, intake: Intake, peers: Peers, max_watches: int) -> None:
        """Start without services.

        Args:
            intake: Where requests are read; not that of callers.
            peers: Who asks too often is shut out.
            max_watches: Watches at once, of all clients.
        """
        super().__init__()
        self._intake, self._peers, self._max_watches = intake, peers, max_watches
        self._closing = asyncio.Event()
        self._watches: set[asyncio.Future[None]] = set()

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handlers of the service, which take bytes."""
        one = grpc.stream_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            health.SERVICE_NAME,
            {
                "Check": one(self._check),
                "List": one(self._list),
                "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, _: AsyncIterator[bytes], context: Any) -> bytes:
        request = await self._request(health_pb2.HealthCheckRequest, context)
        reply: health_pb2.HealthCheckResponse = await super().Check(request, context)
        serialized: bytes = reply.SerializeToString()
        return serialized

    async def _list(self, _: AsyncIterator[bytes], context: Any) -> bytes:
        await self._request(health_pb2.HealthListRequest, context)
        statuses = {
            name: health_pb2.HealthCheckResponse(status=status)
            for name, status in self._server_status.items()
        }
        serialized: bytes = health_pb2.HealthListResponse(statuses=statuses).SerializeToString()
        return serialized

    async def _watch(self, _: AsyncIterator[bytes], context: Any) -> None:
        request = await self._request(health_pb2.HealthCheckRequest, context)
        if len(self._watches) >= self._max_watches:
            message = f"watches of health: {len(self._watches):,}, the limit is {self._max_watches:,}"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        await self._watch_until_closing(request, _Serializing(context))

    async def _watch_until_closing(self, request: Any, context: Any) -> None:
        watch = asyncio.ensure_future(super().Watch(request, context))
        closing = asyncio.ensure_future(self._closing.wait())
        self._watches.add(watch)
        try:
            await asyncio.wait((watch, closing), return_when=asyncio.FIRST_COMPLETED)
            if not watch.done():
                await asyncio.wait((watch,), timeout=_LAST_WORD_SECONDS)  # it may be saying NOT_SERVING
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        finally:
            watch.cancel()
            closing.cancel()
            self._watches.discard(watch)

    async def _request(self, request_type: type[Message], context: Any) -> Any:
        """Read the request of a call, or end it."""
        self._peers.charge(context.peer(), "health_calls")
        payload = await self._intake.read(context, address(context))
        if payload is grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs lack it
            payload = b""  # the default, as whoever sends nothing means
        if len(payload) > MAX_REQUEST_BYTES:
            message = f"bytes of a health request: {len(payload):,}, the limit is {MAX_REQUEST_BYTES:,}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        try:
            return request_type.FromString(payload)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a request for health")

    async def report(self, name: str, *, is_serving: bool) -> None:
        """Say from now on whether a service serves."""
        status = health_pb2.HealthCheckResponse
        await self.set(name, status.SERVING if is_serving else status.NOT_SERVING)

    async def close(self, timeout: float) -> None:
        """End the watches that run, and wait until they have told their clients."""
        self._closing.set()
        deadline = asyncio.get_running_loop().time() + timeout
        while self._watches and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)


class _Serializing:
    """A call's context whose replies are messages."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def write(self, reply: Message) -> None:
        await self._context.write(reply.SerializeToString())

    async def abort(self, code: grpc.StatusCode, message: str = "") -> None:
        await self._context.abort(code, message)
