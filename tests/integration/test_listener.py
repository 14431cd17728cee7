"""A call that ends the main loop of grpc.aio ends neither the server nor anybody else's call."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.pb.dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.fuzz import frames
from tests.integration.conftest import Running, running
from tests.integration.contract import request

NO_NAME = [(name, b"/\xff\xfe" if name == b":path" else value) for name, value in frames.call_headers()]


def attack(address: str) -> None:
    """Call a method whose name is not UTF-8."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as opened:
        opened.sendall(frames.HELLO + frames.call(b"", headers=NO_NAME))
        opened.recv(4096)


async def answered(call: Callable[..., Any], message: Any) -> Any:
    """Return the answer to a call; when gRPC gives up, those that it has not handed over fail."""
    for _ in range(50):
        try:
            return await call(message, timeout=5, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE):
                raise
            await asyncio.sleep(0.05)
    raise AssertionError("it never came about")


async def until(server: Running, busy: int) -> None:
    """Wait until sentences are in work, or none are."""
    for _ in range(1000):
        if busy == bool(server.value("dragoman_running_sentences")):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came about")


async def test_listens_anew(caplog: pytest.LogCaptureFixture) -> None:
    """
    A call that runs meanwhile is answered, as are those who come later, each time; the log says what happened.
    """
    async with running() as server:
        text = "The cat sat on the mat, and slept until the morning came. " * 8
        for _ in range(3):
            long = asyncio.ensure_future(server.stub.Translate(request(text), wait_for_ready=True))
            await until(server, 1)

            await asyncio.to_thread(attack, server.address)

            assert 8 == len((await long).translations[0].sentences)
            async with grpc.aio.insecure_channel(server.address) as channel:
                stub: Any = TranslationServiceStub(channel)
                assert (await answered(stub.Translate, request("Hello."))).translations
            await until(server, 0)

    told = [record.getMessage() for record in caplog.records if "service.rpc.listener" == record.name]
    port = server.address.split(":")[1]
    assert [f"gRPC has given up (UnicodeDecodeError); listening anew on port {port}"] * 3 == told


async def test_the_port_of_health() -> None:
    """
    Health on a port of its own comes back as well.
    """
    async with running(health_port="0") as server:
        address = f"127.0.0.1:{server.server.health_port}"
        await asyncio.to_thread(attack, address)

        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            reply = await answered(stub.Check, health_pb2.HealthCheckRequest())
            assert health_pb2.HealthCheckResponse.SERVING == reply.status


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
