"""Connections that are closed from outside of gRPC."""

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from dragoman.errors import ConfigError
from dragoman.rpc.connections import shut_down
from tests.servers import running


@contextlib.contextmanager
def pair(family: socket.AddressFamily, host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of a connection, that of the client first."""
    with (
        socket.create_server((host, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2], 10) as ours,
        listening.accept()[0] as theirs,
    ):
        yield ours, theirs


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_closes(family: socket.AddressFamily, host: str) -> None:
    """
    The connection that was meant is closed, and what it had sent is thrown away; the others are not.
    """
    with pair(family, host) as (ours, theirs), pair(family, host) as (other, kept):
        ours.sendall(b"x" * 100_000)
        name = (ip_address(host), ours.getsockname()[1])

        closed = shut_down(lambda address, port: "flood" if (address, port) == name else None)

        assert [(ip_address(host), "flood")] == closed
        assert b"" == theirs.recv(1)
        other.sendall(b"y")
        assert b"y" == kept.recv(1)


async def test_a_network_that_is_none() -> None:
    """
    A trusted network that makes no sense is told before the server starts.
    """
    with pytest.raises(ConfigError, match=r"trusted_peers: 10\.0\.0\.1/8 has host bits set"):
        async with running(trusted_peers="10.0.0.1/8"):
            pass
