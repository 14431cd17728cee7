"""Strangers who send odd or too many calls: their connections end, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dragoman.security import key_store
from tests.fuzz import frames
from tests.rpc.contract import request
from tests.rpc.guards import bearer, guarded, models
from tests.servers import Running, running, until

STRANGER = "127.0.0.2"  # where nobody else calls from
FEW = {"max_refused_calls_per_second": "20"}
NO_TEXT = [(name, b"/\xff\xfe" if name == b":path" else value) for name, value in frames.call_headers()]
UNIMPLEMENTED, UNAUTHENTICATED = b"grpc-status\x0212", b"grpc-status\x0216"


class Stranger:
    """Somebody who speaks HTTP/2 frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._stream = 1
        writer.write(frames.HELLO)

    def call(self, count: int, headers: frames.Headers | None = None, *, is_reset: bool = False) -> None:
        """Begin some calls, and take them back at once if so wanted."""
        for _ in range(count):
            self._writer.write(frames.opened(self._stream, headers, is_reset=is_reset))
            self._stream += 2

    async def answer(self, expected: bytes) -> None:
        """Read until there is such an answer."""
        received = b""
        while expected not in received:
            more = await self._reader.read(4096)
            assert more, f"the server hung up after {received!r}"
            received += more

    async def is_hung_up_on(self) -> None:
        """Wait until the server closes the connection."""
        try:
            while await self._reader.read(4096):
                pass
        except ConnectionError:
            pass


@asynccontextmanager
async def stranger(port: int, source: str = STRANGER) -> AsyncIterator[Stranger]:
    """Connect from an address of one's own."""
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        try:
            yield Stranger(reader, writer)
        finally:
            writer.close()


def closed(server: Running, reason: str) -> float:
    """Return how many connections were closed for a reason."""
    return server.value("dragoman_refused_connections_total", reason=reason)


async def test_names_that_are_not_text() -> None:
    """
    A method name that is not UTF-8 is a method we do not have; who calls beside it keeps its connection.
    """
    peers = set()
    async with running(max_refused_calls_per_second="0") as server:
        caller = server.server._rpcs._access.caller

        def spy(method: str | None, context: Any) -> Any:
            peers.add(context.peer())
            return caller(method, context)

        server.server._rpcs._access.caller = spy  # type: ignore[method-assign]
        for _ in range(40):
            async with stranger(server.port) as odd:
                odd.call(1, NO_TEXT)
                await odd.answer(UNIMPLEMENTED)
            await models(server.channel)

        assert 1 == len(peers)
        assert 40 == server.value("dragoman_dropped_calls_total", reason="unknown_method")


async def test_names_that_are_not_text_on_the_port_of_health() -> None:
    """
    So is it on the port of health.
    """
    async with running(health_port="0") as server, stranger(server.server.health_port or 0) as odd:
        odd.call(1, NO_TEXT)
        await odd.answer(UNIMPLEMENTED)


async def test_refused_calls(key_file: Any, caplog: pytest.LogCaptureFixture) -> None:
    """
    A connection over which too many calls without a key come is closed, and its address banned for a while; callers are served.
    """
    key = key_store.create(key_file, "billing")
    caplog.set_level("INFO", "dragoman.rpc.connections")
    async with guarded(key_file, **FEW, ban_seconds="1") as server:
        async with stranger(server.port) as first:
            first.call(60)
            await first.is_hung_up_on()
        async with stranger(server.port) as second:
            second.call(60)
            await second.is_hung_up_on()
        banned = closed(server, "banned")
        answered = await server.stub.Translate(request("Hi."), metadata=bearer(key))

        await until(lambda: not server.server.security.access.peers.unrest.is_set())
        async with stranger(server.port) as later:
            later.call(1)
            await later.answer(UNAUTHENTICATED)

    assert answered.translations
    assert (1, True) == (closed(server, "refused_calls"), banned >= 1)
    assert 1 == caplog.text.count(f"a connection from {STRANGER} is closed: refused_calls")


@pytest.mark.parametrize(
    ("reason", "headers", "is_reset"),
    [
        ("reset_calls", frames.call_headers("StreamTranslate"), True),
        ("unknown_methods", NO_TEXT, False),
        ("health_calls", frames.call_headers("Check", "grpc.health.v1.Health"), False),
    ],
)
async def test_other_floods(reason: str, headers: frames.Headers, is_reset: bool) -> None:
    """
    So is one over which calls are begun and taken back, or come for nothing: methods we do not have, health.
    """
    async with running(**FEW) as server:
        async with stranger(server.port) as flooding:
            flooding.call(100, headers, is_reset=is_reset)
            await flooding.is_hung_up_on()

        await models(server.channel)

    assert 1 == closed(server, reason)


async def test_trusted_peers() -> None:
    """
    The connections of a proxy that we are told of are never closed.
    """
    async with (
        running(**FEW, trusted_peers="127.0.0.2/32, 10.0.0.0/8") as server,
        stranger(server.port) as proxy,
    ):
        proxy.call(100, NO_TEXT)
        await until(lambda: server.value("dragoman_dropped_calls_total", reason="unknown_method") == 100)
        proxy.call(1, frames.call_headers("Nothing"))
        await proxy.answer(UNIMPLEMENTED)

    assert 0 == closed(server, "unknown_methods")


async def test_an_address_with_callers(key_file: Any) -> None:
    """
    An address from which callers come is not banned for a stranger behind it: only the stranger's connection is closed.
    """
    key = key_store.create(key_file, "billing")
    async with guarded(key_file, **FEW) as server:
        await models(server.channel, metadata=bearer(key))
        async with stranger(server.port, "127.0.0.1") as flooding:
            flooding.call(60)
            await flooding.is_hung_up_on()

        await models(server.channel, metadata=bearer(key))

    assert (1, 0) == (closed(server, "refused_calls"), closed(server, "banned"))


async def test_every_method_is_known() -> None:
    """
    No method that we serve counts as one we do not have; and every call that came was taken.
    """
    async with running() as server:
        core = server.server._main._servers[-1]._server  # type: ignore[attr-defined]
        known = {name.decode() for name in core._wanted}

        await models(server.channel)
        await until(lambda: 1 == server.value("dragoman_arrived_calls_total"))

        assert 1 == server.value("dragoman_taken_calls_total")

    assert {
        "/dragoman.v1.TranslationService/Translate",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    } <= known
