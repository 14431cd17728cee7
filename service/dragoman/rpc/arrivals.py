"""Arrivals: the asynchronous server of gRPC, and what becomes of a call before anybody handles it.

grpc.aio 1.85 takes calls from its core one by one, which is slower than a stranger sends them; the core then ends calls at
random. And it decodes the name of the method before any code of ours sees the call: one that is not UTF-8 ends the server.
Here several calls are taken at once, those of banned peers end where they are taken, and the names we serve are
registered, so that the core itself tells apart what has another name: that is answered UNIMPLEMENTED, its name unread.

This stands on insides of grpc.aio. Where they are missing calls arrive as grpc.aio has them, and `dragoman.rpc.listener`
listens anew when a name has ended its server.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, cast

import grpc
import grpc.aio._server
from grpc._cython import cygrpc

from dragoman.observability.metrics import Metrics
from dragoman.rpc.backlog import Backlog
from dragoman.rpc.peers import Peers

_INSIDES = ("_make_request_call_future", "_request_call", "_request_registered_call", "is_running")
IS_SUPPORTED = all(hasattr(cygrpc.AioServer, name) for name in _INSIDES) and all(
    hasattr(cygrpc, name)
    for name in (
        "_handle_rpc",
        "_MethodResolver",
        "_RequestCallError",
        "_ServicerContext",
        "_schedule_rpc_coro",
        "channelz_get_server",
        "channelz_get_servers",
    )
)
_TAKEN_AT_ONCE = 32  # calls of one method, which wake us once: more than 10,000 a second on one core
Request = Coroutine[Any, Any, Any]  # for a call


def server(
    options: list[tuple[str, int]], services: Iterable[Any], peers: Peers, backlog: Backlog, metrics: Metrics
) -> grpc.aio.Server:
    """Return a server to which handlers are to be added.

    Args:
        services: The descriptors of all that it will serve.
    """
    if not IS_SUPPORTED:
        return grpc.aio.server(options=options)
    core = _Core(cygrpc.get_working_loop(), options, peers, metrics)
    backlog.add(core)
    made: Any = _Server(core)
    for service in services:
        # Without handlers, which are found by name as ever: so there is one place that knows them.
        made.add_registered_method_handlers(
            service.full_name,
            dict.fromkeys(method.name for method in service.methods),
        )
    return cast("grpc.aio.Server", made)


class _Server(grpc.aio._server.Server):
    """The public face, with another inside."""

    def __init__(self, core: _Core) -> None:
        self._loop, self._server = cygrpc.get_working_loop(), core


class _Core(cygrpc.AioServer):
    """What takes calls from the core: its main loop asks for the next one again and again, and we decide what it gets."""

    def __init__(self, loop: Any, options: list[tuple[str, int]], peers: Peers, metrics: Metrics) -> None:
        super().__init__(loop, None, (), (), tuple(options), None)
        self._event_loop, self._peers, self._metrics = loop, peers, metrics
        self._outstanding: set[Request] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._wanted: dict[bytes, asyncio.Future[Any]] = {}  # by the main loop, a call of each method
        self._unwanted: dict[bytes, deque[Any]] = {}  # calls that were taken before they were wanted
        self.taken, self._id = 0, _newest_server()

    def arrived(self) -> int:
        """Return how many calls came, also those that the core ended by itself; 0 once the server is gone."""
        try:
            found = json.loads(cygrpc.channelz_get_server(self._id))
        except ValueError:
            return 0
        return int(found["server"]["data"].get("callsStarted", 0))

    async def shutdown(self, grace: float | None) -> None:
        """Stop; gRPC waits for the end of all calls, also of those that nobody will want any more."""
        stopping = self._event_loop.create_task(super().shutdown(grace))
        await asyncio.sleep(0)  # from here on it is not running
        self._unwanted.clear()
        await stopping

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        """Return a future of the next call of a method, or of those that are not registered."""
        future = asyncio.Future[Any](loop=self._event_loop)
        if method is None:
            self._request(None)
            return future  # stays open: none of these calls gets beyond `_refuse`
        if method not in self._wanted:
            self._unwanted[method] = deque()
            for _ in range(_TAKEN_AT_ONCE):
                self._request(method)
        self._wanted[method] = future
        if waiting := self._unwanted.get(method):
            future.set_result(waiting.popleft())
            self._request(method)
        return future

    def _request(self, method: bytes | None) -> None:
        """Ask the core for a call.

        Not in a task: when a task is cancelled, as all are when a program ends early, the core writes to memory that is free.
        """
        request = self._request_call() if method is None else self._request_registered_call(method)
        arriving = request.send(None)
        arriving._asyncio_future_blocking = False  # as a task does that waits for it
        self._outstanding.add(request)  # the core has but an address
        arriving.add_done_callback(lambda _: self._complete(method, request))

    def _complete(self, method: bytes | None, request: Request) -> None:
        self._outstanding.discard(request)
        try:
            request.send(None)
        except StopIteration as completed:
            self._take(method, completed.value)
        except cygrpc._RequestCallError as error:
            if self.is_running():
                self._request(method)
            elif method is not None and not self._wanted[method].done():
                self._wanted[method].set_exception(error)  # which ends the main loop

    def _take(self, method: bytes | None, call: Any) -> None:
        self.taken += 1
        peer: str = cygrpc._ServicerContext(call, None, None, self._event_loop).peer()
        if not self.is_running():
            return
        if self._peers.is_banned(peer):
            self._metrics.dropped_calls.labels("banned").inc()  # which ends it: nothing refers to it any more
        elif method is None:
            self._refuse(call, peer)
        elif self._wanted[method].done():
            self._unwanted[method].append(call)
            return  # and no more until it is wanted
        else:
            self._wanted[method].set_result(call)
        self._request(method)

    def _refuse(self, call: Any, peer: str) -> None:
        """Answer that there is no such method."""
        self._metrics.dropped_calls.labels("unknown_method").inc()
        self._peers.charge(peer, "unknown_methods")
        nothing = cygrpc._MethodResolver([], {})
        answer = cygrpc._handle_rpc("", nothing, (), call, self._event_loop, False)
        task = self._event_loop.create_task(cygrpc._schedule_rpc_coro(answer, call, self._event_loop, ""))
        self._answering.add(task)  # the loop itself does not keep it
        task.add_done_callback(self._answering.discard)


def _newest_server() -> int:
    """Return the number that the core gave to the server it made last."""
    newest, is_end = 0, False
    while not is_end:
        page = json.loads(cygrpc.channelz_get_servers(newest + 1))
        servers = page.get("server", [])
        newest = int(servers[-1]["ref"]["serverId"]) if servers else newest
        is_end = page.get("end", not servers)
    return newest
