"""Limits of connections: each has the effect that its setting promises."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from dragoman.config import Settings
from dragoman.rpc import transport
from dragoman.security.guard import Caller
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.fuzz import frames
from tests.rpc.contract import detail, refused, request
from tests.rpc.test_streaming import messages
from tests.servers import Running, running, until

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY = 4, 6, 7
_NO_ERROR, _ENHANCE_YOUR_CALM = 0, 11


class Wire:
    """A client that speaks HTTP/2 frame by frame, and answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        writer.write(_PREFACE)
        self.send(_SETTINGS)

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send a frame of the connection as a whole."""
        self._writer.write(struct.pack(">I", len(payload))[1:] + bytes((kind, 0)) + bytes(4) + payload)

    async def until(self, *wanted: int) -> tuple[int, bytes]:
        """Read frames up to one of some kinds, and return which it is and what it says."""
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] in wanted:
                return head[3], payload

    async def ends(self) -> None:
        """Read until the server hangs up."""
        while await self._reader.read(1000):
            pass


@asynccontextmanager
async def wire(server: Running) -> AsyncIterator[Wire]:
    """Connect to a server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(60):
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()


def goaway(payload: bytes) -> int:
    """Return why a connection is ended."""
    return int.from_bytes(payload[4:8], "big")


async def test_age() -> None:
    """
    An old connection is ended without a failed call: the client is told to go, and goes on with another one.
    """
    async with running(max_connection_age_seconds="0.5") as server, wire(server) as watching:
        peers = set()
        caller = server.server._rpcs._access.caller

        def spy(method: str | None, context: Any) -> Caller:
            peers.add(context.peer())
            return caller(method, context)

        server.server._rpcs._access.caller = spy  # type: ignore[method-assign]
        told = asyncio.create_task(watching.until(_GOAWAY))
        calls = 0
        while len(peers) < 3 or calls <= 30:
            await server.stub.ListModels(pb.ListModelsRequest(), timeout=5)
            calls += 1

        assert _NO_ERROR == goaway((await told)[1])


async def test_age_spares_streams() -> None:
    """
    A stream that is open when its connection grows old goes on, for as long as the grace says.
    """
    async with running(max_connection_age_seconds="0.3") as server:
        stream = server.stub.StreamTranslate()
        for message in messages(["Yes.", "No.", "Yes.", "No."]):
            await stream.write(message)
            assert (await stream.read()).last
            await asyncio.sleep(0.3)
        await stream.done_writing()
        assert "OK" == (await stream.code()).name


async def test_grace_ends() -> None:
    """
    After the grace an old connection is ended, whatever still runs on it.
    """
    settings = {"max_connection_age_seconds": "0.3", "max_connection_grace_seconds": "3"}
    async with running(**settings) as server:
        stream = server.stub.StreamTranslate()
        [first] = messages(["Yes."])
        await stream.write(first)
        assert (await stream.read()).last

        async with asyncio.timeout(5):
            assert "UNAVAILABLE" == (await refused(stream.read()))[0]


async def test_metadata() -> None:
    """
    Metadata up to the limit is served every time; beyond it the call is refused every time.
    """
    async with running(max_metadata_bytes="8192") as server:
        for size, code in ((6_000, "OK"), (9_000, "RESOURCE_EXHAUSTED")):
            for _ in range(10):
                call = server.stub.ListModels(pb.ListModelsRequest(), metadata=(("x-token", "t" * size),))
                assert code == (await call.code()).name


async def test_streams_of_a_connection() -> None:
    """
    Calls over the limit of one connection wait at the client, and are made one after the other.
    """
    async with running(max_connection_streams="2") as server:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, server.server._rpcs.running)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await server.stub.ListModels(pb.ListModelsRequest())  # the limit is known to the client from here on
        await asyncio.gather(*(server.stub.Translate(request("The cat sleeps.")) for _ in range(12)))
        watching.cancel()

        assert 2 == most


@pytest.mark.parametrize(("settings", "is_ended"), [({}, True), ({"max_ping_strikes": "0"}, False)])
async def test_ping_strikes(settings: dict[str, str], is_ended: bool) -> None:
    """
    A client that pings all the time is told to calm down, and is disconnected.
    """
    async with running(**settings) as server, wire(server) as client:
        answers: list[int] = []
        while len(answers) < 20 and answers[-1:] != [_GOAWAY]:
            client.send(_PING, b"12345678")
            kind, payload = await client.until(_PING, _GOAWAY)
            answers.append(kind)

        assert is_ended == (kind == _GOAWAY)
        assert len(answers) <= 6 if is_ended else len(answers) == 20
        assert not is_ended or _ENHANCE_YOUR_CALM == goaway(payload)


async def test_patient_pings() -> None:
    """
    A client that pings no oftener than it may is left alone.
    """
    async with running(min_ping_seconds="0.05", max_ping_strikes="1") as server, wire(server) as client:
        for _ in range(8):
            client.send(_PING, b"12345678")
            await client.until(_PING)
            await asyncio.sleep(0.1)


async def test_dead_clients() -> None:
    """
    A client that does not answer is taken for dead.
    """
    settings = {"keepalive_seconds": "0.3", "keepalive_timeout_seconds": "0.3"}
    async with running(**settings) as server, wire(server) as client:
        await client.until(_PING)

        await client.until(_GOAWAY)
        await client.ends()


async def test_bytes_of_requests() -> None:
    """
    Requests that are too many bytes together are refused with the time to come back; those accepted are served.
    """
    text = "The cat sat on the mat, and slept until the morning came. " * 20
    async with running(max_held_bytes="3000", decode_loops="1") as server:
        calls = [server.stub.Translate(request(text)) for _ in range(6)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        failed: list[Any] = [error for error in outcomes if isinstance(error, grpc.aio.AioRpcError)]
        assert 4 == len(failed)
        for error in failed:
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is error.code()
            assert "MEMORY_FULL" == detail(error, error_details_pb2.ErrorInfo).reason
            milliseconds = detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds()
            assert milliseconds >= 100
            assert str(milliseconds) == dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
        assert 0 == server.server.security.access.memory.held
        await server.stub.Translate(request(text))


async def test_bytes_of_streams() -> None:
    """
    Texts of streams are held too; one too many gets its error, and the stream goes on.
    """
    text = "The cat sat on the mat, and slept until the morning came. " * 20
    async with running(max_held_bytes="3000", decode_loops="1") as server:
        replies = [reply async for reply in server.stub.StreamTranslate(iter(messages([text] * 4)))]

        reasons = [reply.error.reason for reply in replies if reply.HasField("error")]
        assert ["MEMORY_FULL"] * 2 == reasons
        assert 2 == sum(reply.last and not reply.HasField("error") for reply in replies)
        assert 0 == server.server.security.access.memory.held


def test_every_limit_is_passed_on() -> None:
    """
    Every setting of the connection changes an argument; no age means none.
    """
    plain = dict(transport.arguments(Settings(), 1024))
    for name in (
        "max_connections", "max_metadata_bytes", "max_connection_streams", "max_connection_age_seconds",
        "max_connection_grace_seconds", "keepalive_seconds", "keepalive_timeout_seconds", "min_ping_seconds",
        "max_ping_strikes",
    ):  # fmt: skip
        changed: Any = {name: getattr(Settings(), name) + 7}
        assert plain != dict(transport.arguments(Settings(**changed), 1024)), name
    assert plain != dict(transport.arguments(Settings(), 1025))
    assert 2**31 - 1 == dict(transport.arguments(Settings(max_connection_age_seconds=0.0), 1024))["grpc.max_connection_age_ms"]  # fmt: skip


async def test_two_connections() -> None:
    """
    One connection's calls do not count against another's limit.
    """
    async with running(max_connection_streams="1") as server:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as other:
            held = server.stub.StreamTranslate()
            await held.write(messages(["Yes."])[0])
            assert (await held.read()).last

            await TranslationServiceStub(other).ListModels(pb.ListModelsRequest(), timeout=5)
            code, _, _, _ = await refused(server.stub.ListModels(pb.ListModelsRequest(), timeout=0.3))

            assert "DEADLINE_EXCEEDED" == code
            held.cancel()


async def test_unread_replies() -> None:
    """
    A reply counts as held until it has been sent: a client that takes no replies does not get more than its room.
    """
    no_window = frames.PREFACE + frames.frame(frames.SETTINGS, payload=struct.pack(">HI", 4, 0))
    text = "The cat sat on the mat, and slept until the morning came. " * 20
    async with running() as server:
        memory = server.server.security.access.memory
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(no_window + frames.call(request(text).SerializeToString()))
        await until(lambda: server.value("dragoman_target_tokens_total", pair="en-fr") and not server.running)

        assert memory.held >= len(text)
        writer.close()
        await until(lambda: not memory.held)
