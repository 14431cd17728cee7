"""One server among many callers: crowds, health, drain, reflection, metrics."""

import asyncio
import urllib.request
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import start_http_server

from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import refused, request
from tests.servers import Running, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestHealth:
    @pytest.mark.parametrize("service", ["", SERVICE])
    async def test_check(self, server: Running, service: str) -> None:
        """
        The server as a whole and the service by its name are serving.
        """
        stub: Any = health_pb2_grpc.HealthStub(server.channel)

        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))

        assert health_pb2.HealthCheckResponse.SERVING == reply.status

    async def test_unknown(self, server: Running) -> None:
        """
        A service that is not ours is NOT_FOUND.
        """
        stub: Any = health_pb2_grpc.HealthStub(server.channel)

        assert "NOT_FOUND" == (await refused(stub.Check(health_pb2.HealthCheckRequest(service="x"))))[0]

    async def test_watch_sees_the_drain(self) -> None:
        """
        Whoever watches is told when the server drains, and does not keep it from ending.
        """
        async with running(drain_seconds="20") as leaving:
            stub: Any = health_pb2_grpc.HealthStub(leaving.channel)
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert health_pb2.HealthCheckResponse.SERVING == (await watching.read()).status
            began = asyncio.get_running_loop().time()

            draining = asyncio.create_task(leaving.server.drain())

            assert health_pb2.HealthCheckResponse.NOT_SERVING == (await watching.read()).status
            await draining
            assert asyncio.get_running_loop().time() - began < 15


async def test_drain_finishes_running_calls() -> None:
    """
    A call that was accepted is answered although the server drains; what comes later is refused.
    """
    async with running() as leaving:
        with leaving.held():
            call = leaving.stub.Translate(request("The cat sat on the mat, and slept. " * 10))
            await until(lambda: leaving.running)

            draining = asyncio.create_task(leaving.server.drain())
            await asyncio.sleep(0.1)

        assert 10 == len((await call).translations[0].sentences)
        await draining
        assert "UNAVAILABLE" == (await refused(leaving.stub.Translate(request("Yes."))))[0]


@pytest.mark.parametrize("texts", [0, 1])
async def test_drain_does_not_wait_for_idle_streams(texts: int) -> None:
    """
    A stream whose caller sends nothing more is told to go elsewhere once its texts are answered.
    """
    async with running(drain_seconds="20") as leaving:
        call = leaving.stub.StreamTranslate()
        await call.wait_for_connection()
        for number in range(texts):
            options = pb.StreamTranslateOptions(source_language_code="en", target_language_code="fr")
            await call.write(pb.StreamTranslateRequest(id=str(number), content="Yes.", options=options))
            assert (await call.read()).last
        labels = {"grpc_type": "bidi_stream", "grpc_service": SERVICE, "grpc_method": "StreamTranslate"}
        await until(lambda: leaving.value("grpc_server_started_total", **labels))
        began = asyncio.get_running_loop().time()

        await leaving.server.drain()

        assert asyncio.get_running_loop().time() - began < 15
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
        assert grpc.StatusCode.UNAVAILABLE is error.value.code()
        assert "the server is shutting down" == error.value.details()


async def test_drain_loses_no_call_that_was_sent() -> None:
    """
    Calls that were on their way when the drain began, and had not been looked at, are answered like all others.
    """
    async with running() as leaving:
        calls = [leaving.stub.Translate(request("Yes.")) for _ in range(30)]
        await until(lambda: leaving.server._rpcs.begun)

        draining = asyncio.create_task(leaving.server.drain())

        assert 30 == len(await asyncio.gather(*calls))
        await draining


async def test_reflection(server: Running) -> None:
    """
    Tools may ask for the contract.
    """
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    async for reply in stub.ServerReflectionInfo(iter([asked])):
        names = {listed.name for listed in reply.list_services_response.service}

    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_metrics_over_http(server: Running) -> None:
    """
    Calls and engine are seen at /metrics under the names that dashboards expect.
    """
    await server.stub.Translate(request("Hello."))
    http, thread = start_http_server(0, "127.0.0.1", server.metrics.registry)

    with urllib.request.urlopen(f"http://127.0.0.1:{http.server_port}/metrics", timeout=5) as reply:
        text = reply.read().decode()

    http.shutdown()
    http.server_close()
    thread.join()
    labels = f'{{grpc_code="OK",grpc_method="Translate",grpc_service="{SERVICE}",grpc_type="unary"}}'
    assert f"grpc_server_handled_total{labels}" in text
    assert 'dragoman_target_tokens_total{pair="en-fr"}' in text
    assert f'dragoman_model_info{{model="{server.registry.bundle.full_name}"}} 1.0' in text
    assert "dragoman_cpu_limit_cores" in text
