"""Build, listen, serve, drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from dragoman.engine.processors import memory_limit
from dragoman.observability.metrics import SERVICE, Metrics
from dragoman.observability.tracing import Tracer
from dragoman.registry.allocator import give_memory_back
from dragoman.registry.model_registry import ModelRegistry
from dragoman.rpc import arrivals, transport
from dragoman.rpc.access import GuardedReflection
from dragoman.rpc.backlog import Backlog
from dragoman.rpc.connections import Connections
from dragoman.rpc.handlers import RpcHandlers
from dragoman.rpc.health import MAX_REQUEST_BYTES, Health
from dragoman.rpc.intake import Intake
from dragoman.rpc.listener import Listener
from dragoman.rpc.overload import Overload
from dragoman.rpc.security import Security
from dragoman.rpc.servicer import Servicer
from dragoman.v1 import translation_pb2

_HEALTH = [health_pb2.DESCRIPTOR.services_by_name["Health"]]
_POLL_SECONDS = 0.05
_QUIET_SECONDS, _NEWS_SECONDS = 0.2, 2.0  # without a new call, and at most
_STRANGERS_PLACES = 8  # for requests for health and reflection at once
_SHARE_OF_MEMORY = 0.85  # of the container, from which on the process counts as short of memory
_FLUSH_SECONDS = 1.0  # for the last replies to reach the wire


class Server:
    """One gRPC server: ready after `start`, gone after `drain`."""

    def __init__(self, registry: ModelRegistry, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._registry, self._metrics = registry, metrics
        settings = registry.settings
        self.security = Security(settings, metrics, lambda: registry.settings.max_caller_share)
        access = self.security.access
        intake = Intake(settings.max_reading_bytes, settings.max_message_bytes, settings.request_seconds)
        # Whoever is asked for no key has places of his own, and cannot take those of callers.
        self._strangers = Intake(
            _STRANGERS_PLACES * settings.max_message_bytes,
            settings.max_message_bytes,
            settings.request_seconds,
        )
        limit = settings.max_resident_bytes or int(_SHARE_OF_MEMORY * memory_limit())
        self._overload = Overload(limit, lambda: intake.shed() + self._strangers.shed(), give_memory_back)
        self._looking: list[asyncio.Task[None]] = []
        self._rpcs = RpcHandlers(
            metrics,
            lambda: registry.settings.default_deadline_seconds,
            access,
            intake,
            self._overload,
            tracer,
        )
        self._handlers = Servicer(registry).generic_handler(self._rpcs)
        self._health = Health(self._strangers, access.peers, settings.max_health_watches)
        # The service only: "" is the process, which is not to be started anew for what others send it.
        self._backlog = Backlog(
            metrics, lambda is_serving: self._health.report(SERVICE, is_serving=is_serving)
        )
        self._connections = Connections(access.peers, metrics)
        self._main = Listener(self._build, settings.host, lambda: self.security.credentials)
        self._health_alone: Listener | None = None  # a port of its own, if wanted
        self.health_port: int | None = None

    def _build(self) -> grpc.aio.Server:
        settings = self._registry.settings
        services = [*_HEALTH, translation_pb2.DESCRIPTOR.services_by_name["TranslationService"]]
        if settings.reflection:
            services.append(reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"])
        server = self._arrivals(services, settings.max_message_bytes)
        server.add_generic_rpc_handlers((self._handlers,))
        if settings.reflection:
            names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflecting = GuardedReflection(names, self.security.access, self._strangers)
            server.add_generic_rpc_handlers((reflecting.handlers(),))
        return server

    def _build_health(self) -> grpc.aio.Server:
        return self._arrivals(_HEALTH, MAX_REQUEST_BYTES)

    def _arrivals(self, services: Sequence[Any], max_message_bytes: int) -> grpc.aio.Server:
        options = transport.arguments(self._registry.settings, max_message_bytes)
        server = arrivals.server(options, services, self.security.access.peers, self._backlog, self._metrics)
        server.add_generic_rpc_handlers((self._health.handlers(),))
        return server

    async def start(self) -> int:
        """Listen and report SERVING; return the port.

        Raises:
            StartupError: A port is taken or the address is not ours.
        """
        settings = self._registry.settings
        if settings.health_port >= 0:
            self._health_alone = Listener(self._build_health, settings.host)
            self.health_port = await self._health_alone.start(settings.health_port, settings.drain_seconds)
        port = await self._main.start(settings.port, settings.drain_seconds)
        self.security.watch()
        self._looking = [
            asyncio.create_task(each.run()) for each in (self._overload, self._backlog, self._connections)
        ]
        for name in ("", SERVICE):
            await self._health.report(name, is_serving=True)
        return port

    async def drain(self) -> None:
        """Report NOT_SERVING, let running calls finish, close."""
        self._rpcs.draining.set()
        await self._health.enter_graceful_shutdown()
        await self._let_the_last_in()
        stopping = asyncio.ensure_future(self._main.stop(self._registry.settings.drain_seconds))
        while self._rpcs.running and not stopping.done():
            await asyncio.sleep(_POLL_SECONDS)
        await self.security.close()
        for task in self._looking:
            task.cancel()
        await self._health.close(_FLUSH_SECONDS)
        await self._main.stop(_FLUSH_SECONDS)  # or an open reflection stream would keep us for the whole time
        await stopping
        if self._health_alone:
            await self._health_alone.stop(_FLUSH_SECONDS)  # the last to go: until now it said NOT_SERVING
        await asyncio.to_thread(self._registry.close)

    async def _let_the_last_in(self) -> None:
        """Take calls until the news has reached those who send them: gRPC cancels what it has not handed over yet."""
        seen, quiet = -1, 0.0
        deadline = time.monotonic() + min(_NEWS_SECONDS, self._registry.settings.drain_seconds)
        while quiet < _QUIET_SECONDS and time.monotonic() < deadline:
            quiet = quiet + _POLL_SECONDS if self._rpcs.begun == seen else 0.0
            seen = self._rpcs.begun
            await asyncio.sleep(_POLL_SECONDS)
