"""Clients of several servers under one address: who gets the calls, and what is tried again."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dragoman import AsyncClient, Client, ServerError, Translation
from dragoman.client.connection import SERVICE_CONFIG
from dragoman.v1 import translation_pb2 as pb
from tests.deploy.manifests import DEPLOY

SERVICE = pb.DESCRIPTOR.services_by_name["TranslationService"].full_name
Status = health_pb2.HealthCheckResponse
Call = Callable[[], list[Translation]]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Server:
    """A server that counts its calls, fails the first ones as told, and writes texts in capitals."""

    def __init__(self, failures: Sequence[grpc.StatusCode] = ()) -> None:
        self.calls = 0
        self._failures = iter(failures)
        self.health = health.HealthServicer()
        self.health.set(SERVICE, Status.SERVING)
        method = grpc.unary_unary_rpc_method_handler(
            self._translate, pb.TranslateRequest.FromString, pb.TranslateResponse.SerializeToString
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"Translate": method})
        self.server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def stop(self) -> None:
        """End at once."""
        self.server.stop(None).wait()

    def _translate(self, request: pb.TranslateRequest, context: Any) -> pb.TranslateResponse:
        self.calls += 1
        if (code := next(self._failures, None)) is not None:
            context.abort(code, "as told")
        return pb.TranslateResponse(
            translations=[pb.Translation(translated_text=text.upper()) for text in request.contents]
        )


@contextmanager
def running(*servers: Server) -> Iterator[str]:
    """Start servers and yield one address of all."""
    with ExitStack() as stack:
        for one in servers:
            one.server.start()
            stack.callback(one.stop)
        yield "ipv4:" + ",".join(f"127.0.0.1:{one.port}" for one in servers)


@contextmanager
def sync_calls(address: str) -> Iterator[Call]:
    """Yield a function that calls with a `Client`."""
    with Client(address, timeout=10) as client:
        yield lambda: client.translate(["hi"], source="en", target="fr")


@contextmanager
def async_calls(address: str) -> Iterator[Call]:
    """Yield a function that calls with an `AsyncClient`, in a loop that lives as long."""
    with asyncio.Runner() as runner:

        async def opened() -> AsyncClient:
            return AsyncClient(address, timeout=10)

        client = runner.run(opened())
        yield lambda: runner.run(client.translate(["hi"], source="en", target="fr"))
        runner.run(client.close())


@pytest.fixture(params=[sync_calls, async_calls], ids=["Client", "AsyncClient"])
def calls(request: pytest.FixtureRequest) -> Any:
    """Return a way to call, with either client."""
    return request.param


def until(condition: Callable[[], bool]) -> None:
    """Wait for what gRPC does in its own time."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_one_service_config() -> None:
    """
    Our clients use the very service config that is published for other languages.
    """
    assert (DEPLOY / "client-service-config.json").read_text("utf-8") == SERVICE_CONFIG


def test_takes_turns(calls: Any) -> None:
    """
    Calls take turns over all servers of the address.
    """
    servers = [Server(), Server(), Server()]
    with running(*servers) as address, calls(address) as call:
        until(lambda: bool(call()) and all(server.calls for server in servers))
        before = [server.calls for server in servers]

        for _ in range(30):
            assert ["HI"] == [translation.text for translation in call()]

        assert [10, 10, 10] == [server.calls - old for server, old in zip(servers, before, strict=True)]


def test_tries_again(calls: Any) -> None:
    """
    A call that a leaving server refused is tried again, and its caller notices nothing.
    """
    server = Server([UNAVAILABLE, UNAVAILABLE])
    with running(server) as address, calls(address) as call:
        assert ["HI"] == [translation.text for translation in call()]

        assert 3 == server.calls


def test_does_not_repeat_what_failed(calls: Any) -> None:
    """
    A call that failed for another reason reaches its caller, as a ServerError with gRPC's name for it.
    """
    server = Server([grpc.StatusCode.INTERNAL])
    with running(server) as address, calls(address) as call:
        with pytest.raises(ServerError, match="as told") as failed:
            call()

        assert ("INTERNAL", 1) == (failed.value.code, server.calls)


def test_leaves_out_a_server_that_drains(calls: Any) -> None:
    """
    A server that says NOT_SERVING gets no further calls.
    """
    staying, leaving = Server(), Server()
    with running(staying, leaving) as address, calls(address) as call:
        until(lambda: bool(call()) and staying.calls > 0 and leaving.calls > 0)
        leaving.health.set(SERVICE, Status.NOT_SERVING)

        def keeps_its_calls() -> bool:
            before = leaving.calls
            return all(call() for _ in range(6)) and before == leaving.calls

        until(keeps_its_calls)
