"""Health as gRPC defines it, whose watchers do not hold up the end of the server."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2

Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
_LAST_WORD_SECONDS = 0.1


class Health(health.aio.HealthServicer):  # type: ignore[name-defined]  # stubs lack it
    """The library's servicer; but a watch ends by itself once the server is about to close.

    A watch lasts as long as its client likes. Left to be cancelled by gRPC, one that ends at that very
    moment leaves a stack trace in the log of every rollout.
    """

    def __init__(self) -> None:
        super().__init__()
        self._closing = asyncio.Event()
        self._watches: set[asyncio.Future[None]] = set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """Report the status of a service now and whenever it changes, until the server closes."""
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

    async def close(self, timeout: float) -> None:
        """End the watches that run, and wait until they have told their clients."""
        self._closing.set()
        deadline = asyncio.get_running_loop().time() + timeout
        while self._watches and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
