"""A call that ends the main loop of grpc.aio ends neither the server nor anybody else's call.

So it is where the insides of grpc.aio are not those that `dragoman.rpc.arrivals` stands on; else it does not get that far.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from dragoman.errors import StartupError
from dragoman.rpc import arrivals, listener
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.certificates import Authority
from tests.fuzz import frames
from tests.rpc.contract import request
from tests.rpc.guards import SERVING, encrypted, health_of, secure
from tests.servers import running, until

T = TypeVar("T")

NO_NAME = [(name, b"/\xff\xfe" if name == b":path" else value) for name, value in frames.call_headers()]


def attack(address: str, authority: Authority | None = None) -> None:
    """Call a method whose name is not UTF-8, with TLS where an authority is to be trusted."""
    host, port = address.split(":")
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
        if authority:
            context = ssl.create_default_context(cafile=str(authority.file))
            context.set_alpn_protocols(["h2"])
            opened = stack.enter_context(context.wrap_socket(opened, server_hostname=host))
        opened.sendall(frames.HELLO + frames.call(b"", headers=NO_NAME))
        opened.recv(4096)


@pytest.fixture(autouse=True)
def other_insides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls arrive as grpc.aio has them."""
    monkeypatch.setattr(arrivals, "IS_SUPPORTED", False)


PATIENTLY: Any = {"timeout": 2, "wait_for_ready": True}


def plain(address: str) -> grpc.aio.Channel:
    """Return a connection of its own."""
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


async def answered(channel: grpc.aio.Channel) -> Any:
    """Return the answer to a short call, and close the channel."""
    async with channel:
        stub: Any = TranslationServiceStub(channel)
        return await stub.Translate(request("Hello."), **PATIENTLY)


async def healthy(channel: grpc.aio.Channel) -> bool:
    """Tell whether health says that the server serves, and close the channel."""
    async with channel:
        return bool(SERVING == await health_of(channel, **PATIENTLY))


async def at_last(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask on a new channel until there is an answer.

    When gRPC gives up, calls that it has not handed over fail; and a channel that connects at that very moment may
    wait for ever (one in a thousand did, with the port open again), so each attempt has its own.
    """
    passing = (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    for _ in range(20):
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            if error.code() not in passing:
                raise
        await asyncio.sleep(0.05)
    raise AssertionError("it never came about")


async def test_listens_anew(caplog: pytest.LogCaptureFixture) -> None:
    """
    A call that runs meanwhile is answered, as are those who come later, each time; the log says what happened.
    """
    async with running() as server:
        text = "The cat sat on the mat, and slept until the morning came. " * 8
        for _ in range(3):
            with server.held():
                running_call = asyncio.ensure_future(
                    server.stub.Translate(request(text), wait_for_ready=True)
                )
                await until(lambda: server.running)

                await asyncio.to_thread(attack, server.address)
                assert await at_last(lambda: healthy(plain(server.address)))

            assert 8 == len((await running_call).translations[0].sentences)
            assert (await at_last(lambda: answered(plain(server.address)))).translations

    told = [record.getMessage() for record in caplog.records if "dragoman.rpc.listener" == record.name]
    port = server.address.split(":")[1]
    assert [f"gRPC has given up (UnicodeDecodeError); listening anew on port {port}"] * 3 == told


async def test_listens_anew_with_tls(tmp_path: Path) -> None:
    """
    So does a server with TLS, each time, also with a certificate that came after its start.
    """
    authority = Authority(tmp_path / "ca")
    async with encrypted(authority, *authority.write("server")) as server:
        for number in range(3):
            await asyncio.to_thread(attack, server.address, authority)
            if number == 1:
                authority.write("server")

            assert (await at_last(lambda: answered(secure(server, authority)))).translations


async def test_the_port_of_health() -> None:
    """
    Health on a port of its own comes back as well.
    """
    async with running(health_port="0") as server:
        address = f"127.0.0.1:{server.server.health_port}"
        await asyncio.to_thread(attack, address)

        assert await at_last(lambda: healthy(plain(address)))


async def test_a_port_that_is_taken_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Somebody else may take the port between two servers: it is listened on as soon as it is free again.
    """
    opened, tries = listener._open, []

    def open_at_last(*arguments: Any) -> int:
        tries.append(arguments)
        if len(tries) < 3:
            raise StartupError("cannot listen")
        return opened(*arguments)

    async with running() as server:
        monkeypatch.setattr(listener, "_open", open_at_last)
        await asyncio.to_thread(attack, server.address)

        assert (await at_last(lambda: answered(plain(server.address)))).translations

    assert 3 == len(tries)


async def test_no_thread_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server that gRPC cannot make, for want of a thread, is an error that says so at the start, and made later after that.
    """

    def fail() -> Any:
        raise RuntimeError("can't start new thread")

    alone = listener.Listener(fail, "127.0.0.1")
    with pytest.raises(StartupError, match="gRPC cannot start: can't start new thread"):
        await alone.start(0, 0.0)

    async with running() as server:
        main = server.server._main
        build, failures = main._build, iter([fail, fail])
        monkeypatch.setattr(main, "_build", lambda: next(failures, build)())
        await asyncio.to_thread(attack, server.address)

        assert (await at_last(lambda: answered(plain(server.address)))).translations

    assert next(failures, None) is None


async def test_no_method_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The core holds no memory for calls to come of which grpc.aio would let go when it gives up: it crashed who came next.
    """
    registered = []
    kind = type(grpc.aio.server())
    monkeypatch.setattr(
        kind, "add_registered_method_handlers", lambda _, service, handlers: registered.append(service)
    )

    async with running(health_port="0") as server:
        assert (await server.stub.Translate(request("Hello."))).translations

    assert [] == registered
