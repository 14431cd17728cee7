"""The service config that we publish for clients, in gRPC's own hands: who gets the calls, and what is tried again."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dragoman.observability.metrics import SERVICE
from tests.deploy.manifests import DEPLOY

CONFIG = (DEPLOY / "client-service-config.json").read_text("utf-8")
METHOD = f"/{SERVICE}/Translate"
Status = health_pb2.HealthCheckResponse


class Replica:
    """A server that counts its calls and ends each as it is told."""

    def __init__(self, answers: Iterator[grpc.StatusCode]) -> None:
        self._answers, self.calls = answers, 0
        self.health = health.HealthServicer()
        self.health.set(SERVICE, Status.SERVING)
        self.server = grpc.server(ThreadPoolExecutor(4))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Translate": handler}),)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def stop(self) -> None:
        """End at once."""
        self.server.stop(None).wait()

    def _answer(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        code = next(self._answers, grpc.StatusCode.OK)
        if code is not grpc.StatusCode.OK:
            context.abort(code, "as told")
        return request


@contextmanager
def replicas(
    *answers: list[grpc.StatusCode],
) -> Iterator[tuple[list[Replica], Callable[[], grpc.StatusCode]]]:
    """Run a replica for each list of answers (OK when they are used up), and a client with our config."""
    with ExitStack() as stack:
        running = [Replica(iter(codes)) for codes in answers]
        for replica in running:
            replica.server.start()
            stack.callback(replica.stop)
        target = "ipv4:" + ",".join(f"127.0.0.1:{replica.port}" for replica in running)
        options = [("grpc.service_config", CONFIG), ("grpc.use_local_subchannel_pool", 1)]
        channel = stack.enter_context(grpc.insecure_channel(target, options=options))
        method = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)

        def call() -> grpc.StatusCode:
            try:
                method(b"", timeout=10, wait_for_ready=True)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
            return grpc.StatusCode.OK

        yield running, call


def patiently(condition: Callable[[], bool]) -> None:
    """Wait for what gRPC does in its own time."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.02)


def test_says_what_it_should() -> None:
    """
    Round robin over the pods that serve; retries of UNAVAILABLE and nothing else; throttled; for our service.
    """
    config = json.loads(CONFIG)
    [method] = config["methodConfig"]

    assert [{"round_robin": {}}] == config["loadBalancingConfig"]
    assert SERVICE == config["healthCheckConfig"]["serviceName"]
    assert [{"service": SERVICE}] == method["name"]
    assert ["UNAVAILABLE"] == method["retryPolicy"]["retryableStatusCodes"]
    assert method["retryPolicy"]["maxAttempts"] <= 5  # gRPC takes no more for granted
    assert {"maxTokens", "tokenRatio"} == config["retryThrottling"].keys()


def test_spreads_calls() -> None:
    """
    Replicas take turns.
    """
    with replicas([], [], []) as (running, call):
        patiently(lambda: call() is grpc.StatusCode.OK and all(replica.calls for replica in running))
        before = [replica.calls for replica in running]

        for _ in range(30):
            call()

        assert [10, 10, 10] == [replica.calls - old for replica, old in zip(running, before, strict=True)]


@pytest.mark.parametrize(
    ("answer", "code", "attempts"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK, 2),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED, 1),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED, 1),
        (grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL, 1),
    ],
)
def test_retries(answer: grpc.StatusCode, code: grpc.StatusCode, attempts: int) -> None:
    """
    A call that a leaving server refused is tried again; one that failed for any other reason is not.
    """
    with replicas([answer]) as ([replica], call):
        assert code is call()

        assert attempts == replica.calls


def test_throttles_retries() -> None:
    """
    When everything is refused, clients soon try once each instead of multiplying the load.
    """
    with replicas([grpc.StatusCode.UNAVAILABLE] * 1000) as ([replica], call):
        for _ in range(20):
            call()
        before = replica.calls

        for _ in range(10):
            call()

        assert 10 == replica.calls - before


def test_avoids_those_that_do_not_serve() -> None:
    """
    A replica that drains says so in its health, and gets no further calls.
    """
    with replicas([], []) as ([staying, leaving], call):
        patiently(lambda: call() is grpc.StatusCode.OK and staying.calls > 0 and leaving.calls > 0)

        leaving.health.set(SERVICE, Status.NOT_SERVING)
        patiently(lambda: _keeps_its_calls(leaving, call))

        assert staying.calls > leaving.calls


def _keeps_its_calls(replica: Replica, call: Callable[[], grpc.StatusCode]) -> bool:
    before = replica.calls
    for _ in range(6):
        call()
    return before == replica.calls
