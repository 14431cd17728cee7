"""Connections, closed from outside of gRPC, whose asynchronous server cannot close one.

A socket is shut down for all descriptors that share it, so a second one of our own does: gRPC learns of it as of any client
that hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dragoman.observability.metrics import Metrics
from dragoman.rpc.peers import Address, Peers, plain

log = logging.getLogger(__name__)
_DESCRIPTORS = Path("/proc/self/fd")
_PAUSE_SECONDS = 0.01  # between two looks while there is somebody to shut out
_REST = 10  # times as long as a look took, if that is longer: with thousands of connections it takes some
_MOST_LEFT = 64  # pieces of what was received and is thrown away; what comes later resets the connection
_PIECE = bytearray(2**18)
Verdict = Callable[[Address, int], str | None]


class Connections:
    """Closes those of peers that are shut out; used by the event loop only."""

    def __init__(self, peers: Peers, metrics: Metrics) -> None:
        self._peers, self._metrics = peers, metrics

    async def run(self) -> None:
        """Look again and again while somebody is shut out: who is banned connects anew."""
        while True:
            await self._peers.unrest.wait()
            began = time.monotonic()
            for address, reason in shut_down(self._peers.verdict):
                self._metrics.refused_connections.labels(reason).inc()
                if reason != "banned":  # once is enough
                    log.info("a connection from %s is closed: %s", address, reason)
            self._peers.settle()
            await asyncio.sleep(max(_PAUSE_SECONDS, _REST * (time.monotonic() - began)))


def shut_down(verdict: Verdict) -> list[tuple[Address, str]]:
    """Shut down the connections of which `verdict` says for what reason; return whose, and the reasons."""
    closed = []
    for connection in _sockets():
        with contextlib.suppress(OSError, ValueError):  # it has no peer, or none any more
            host, port = connection.getpeername()[:2]
            address = plain(host)
            if reason := verdict(address, port):
                connection.shutdown(socket.SHUT_RDWR)
                closed.append((address, reason))
                _drain(connection)
    return closed


def _drain(connection: socket.socket) -> None:
    """Throw away what was received: gRPC would read it to the end before it learns that the connection is closed."""
    for _ in range(_MOST_LEFT):
        if not connection.recv_into(_PIECE, 0, socket.MSG_DONTWAIT):
            return


def _sockets() -> Iterator[socket.socket]:
    """Yield a descriptor of our own for each socket of this process; a number alone might be somebody else's by now."""
    with contextlib.suppress(OSError):
        for entry in list(_DESCRIPTORS.iterdir()):
            with contextlib.suppress(OSError):
                own = os.dup(int(entry.name))
                try:
                    opened = socket.socket(fileno=own)
                except OSError:  # not a socket
                    os.close(own)
                    continue
                with opened:
                    yield opened
