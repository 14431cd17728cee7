"""Build, listen, serve, drain."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.errors import StartupError
from service.metrics import SERVICE, Metrics
from service.rpc.calls import Calls
from service.rpc.health import Health
from service.rpc.served import Served
from service.rpc.servicer import Servicer

log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_QUIET_SECONDS, _NEWS_SECONDS = 0.2, 2.0  # without a new call, and at most
_FLUSH_SECONDS = 1.0  # for the last replies to reach the wire


class Server:
    """One gRPC server: ready after `start`, gone after `drain`."""

    def __init__(self, served: Served, metrics: Metrics) -> None:
        self._served = served
        settings = served.settings
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server behind it
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                (
                    "grpc.server.max_pending_requests",
                    settings.max_unread_calls,
                ),  # else all are refused too late
                ("grpc.server.max_pending_requests_hard_limit", 2 * settings.max_unread_calls),
                ("grpc.max_send_message_length", -1),  # soft alignments of a large request outgrow it
            ]
        )
        self._calls = Calls(metrics, settings.default_deadline_seconds)
        self._grpc.add_generic_rpc_handlers((Servicer(served).handlers(self._calls),))
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        if settings.reflection:
            names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._grpc)

    async def start(self) -> int:
        """Listen and report SERVING; return the port.

        Raises:
            StartupError: The port is taken or the address is not ours.
        """
        settings = self._served.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.port}"
        try:
            _try_address(settings.host, settings.port)
            port: int = self._grpc.add_insecure_port(address)
        except OSError as error:
            raise StartupError(f"cannot listen on {address}: {error.strerror}") from None
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address}: {error}") from None
        await self._grpc.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def drain(self) -> None:
        """Report NOT_SERVING, let running calls finish, close."""
        self._calls.is_draining = True
        await self._health.enter_graceful_shutdown()
        await self._let_the_last_in()
        stopping = asyncio.ensure_future(self._grpc.stop(self._served.settings.drain_seconds))
        while self._calls.running and not stopping.done():
            await asyncio.sleep(_POLL_SECONDS)
        await self._health.close(_FLUSH_SECONDS)
        await self._grpc.stop(_FLUSH_SECONDS)  # or an open reflection stream would keep us for the whole time
        await stopping
        await asyncio.to_thread(self._served.loop.close)

    async def _let_the_last_in(self) -> None:
        """Take calls until the news has reached those who send them: gRPC cancels what it has not handed over yet."""
        seen, quiet = -1, 0.0
        deadline = time.monotonic() + min(_NEWS_SECONDS, self._served.settings.drain_seconds)
        while quiet < _QUIET_SECONDS and time.monotonic() < deadline:
            quiet = quiet + _POLL_SECONDS if self._calls.begun == seen else 0.0
            seen = self._calls.begun
            await asyncio.sleep(_POLL_SECONDS)


def _try_address(host: str, port: int) -> None:
    """Bind for a moment: the system says what is wrong, where gRPC would only log it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


async def serve_until_stopped(server: Server, announce: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    announce(await server.start())
    await stop.wait()
    log.info("draining")
    await server.drain()
