"""A port and the gRPC server behind it, which is replaced if it gives up.

grpc.aio 1.85 ends its main loop, and with it the server, when somebody calls a method whose name is not UTF-8.
`dragoman.rpc.arrivals` keeps such names away from it where it can; where it cannot, another server listens at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable
from functools import partial

import grpc

from dragoman.errors import StartupError

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.05
_TELL_EVERY = 100  # attempts


class Listener:
    """One port. When a server fails, its running calls go on, and clients connect again for the next ones."""

    def __init__(
        self,
        build: Callable[[], grpc.aio.Server],
        host: str,
        credentials: Callable[[], grpc.ServerCredentials | None] = lambda: None,
    ) -> None:
        """Prepare to listen.

        Args:
            build: Makes a server with everything but a port.
            credentials: Makes the TLS credentials of one port; gRPC asks for a certificate once for each.
        """
        self._build = build
        self._host = host
        self._credentials = credentials
        self._servers: list[
            grpc.aio.Server
        ] = []  # the last is the present one; those before it have given up
        self._watching: asyncio.Task[None] | None = None

    async def start(self, port: int, grace: float) -> int:
        """Listen, now and again whenever the server fails; return the port.

        Args:
            port: 0 chooses a free one.
            grace: How long calls may go on in a server that has failed, in seconds.

        Raises:
            StartupError: The port is taken, the address is not ours, or there is no thread to spare.
        """
        bound = await self._listen(port)
        self._watching = asyncio.create_task(self._watch(bound, grace))
        return bound

    async def stop(self, grace: float) -> None:
        """Refuse new calls, and end running ones after some time. A second call may shorten that time."""
        if self._watching:
            self._watching.cancel()
        await asyncio.gather(*(server.stop(grace) for server in self._servers))

    async def _listen(self, port: int) -> int:
        try:
            server = self._build()
        except RuntimeError as error:  # the first server starts a thread of gRPC's
            raise StartupError(f"gRPC cannot start: {error}") from None
        bound = _open(server, self._host, port, self._credentials())
        self._servers.append(server)
        await server.start()
        return bound

    async def _watch(self, port: int, grace: float) -> None:
        while True:
            present = self._servers[-1]
            try:
                await present.wait_for_termination(_LOOK_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is that ended it
                log.warning("gRPC has given up (%s); listening anew on port %d", type(error).__name__, port)
                leaving = asyncio.ensure_future(present.stop(grace))
                leaving.add_done_callback(partial(self._forget, present))
                await self._listen_again(port)

    def _forget(self, server: grpc.aio.Server, done: asyncio.Future[None]) -> None:
        if server in self._servers:
            self._servers.remove(server)

    async def _listen_again(self, port: int) -> None:
        """Listen as soon as the port is free; the failed server closes it before its calls are over."""
        for attempt in itertools.count(1):
            try:
                _try_address(self._host, port)
                await self._listen(port)
                return
            except (OSError, StartupError) as error:
                if not attempt % _TELL_EVERY:
                    log.error("still not listening on port %d: %s", port, error)
                await asyncio.sleep(_LOOK_SECONDS)


def _open(
    server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Open a port and return its number.

    Raises:
        StartupError: It is taken, or the address is not ours.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        _try_address(host, port)
        if credentials is not None:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except OSError as error:
        raise StartupError(f"cannot listen on {address}: {error.strerror}") from None
    except RuntimeError as error:
        raise StartupError(f"cannot listen on {address}: {error}") from None


def _try_address(host: str, port: int) -> None:
    """Bind to an address for a moment, because the system says what is wrong, while gRPC only logs it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
