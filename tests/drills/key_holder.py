"""A caller with a key, what becomes of its calls while others misbehave, and what health says meanwhile."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.observability.metrics import SERVICE
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.rpc.contract import request
from tests.rpc.guards import bearer

_INTERVAL_SECONDS = 0.05
_DEADLINE_SECONDS = 30.0


@dataclass
class Seen:
    """What a caller saw.

    Attributes:
        codes: Of its calls.
        seconds: That each took.
        statuses: What health said, or the code of a check that failed.
    """

    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> float:
        """Return which part of the calls failed."""
        return 1 - self.codes["OK"] / self.codes.total()

    @property
    def p99_seconds(self) -> float:
        """Return what a hundredth of the calls takes longer than."""
        return sorted(self.seconds)[int(0.99 * len(self.seconds))]


async def watch(address: str, key: str, seconds: float, seen: Seen) -> None:
    """Call at an even pace for some time, each call once; ask for health once a second."""
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(address, options) as channel, asyncio.TaskGroup() as calls:
        end = time.monotonic() + seconds
        calls.create_task(_ask(channel, end, seen.statuses))
        while time.monotonic() < end:
            calls.create_task(_call(channel, key, seen))
            await asyncio.sleep(_INTERVAL_SECONDS)


async def _call(channel: Any, key: str, seen: Seen) -> None:
    began = time.monotonic()
    stub: Any = TranslationServiceStub(channel)
    try:
        await stub.Translate(request("Hello."), metadata=bearer(key), timeout=_DEADLINE_SECONDS)
        seen.codes["OK"] += 1
    except grpc.aio.AioRpcError as error:
        seen.codes[error.code().name] += 1
    seen.seconds.append(time.monotonic() - began)


async def _ask(channel: Any, end: float, statuses: Counter[str]) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service=SERVICE)
    while time.monotonic() < end:
        try:
            reply = await stub.Check(asked, timeout=_DEADLINE_SECONDS)
            statuses[health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)] += 1
        except grpc.aio.AioRpcError as error:
            statuses[error.code().name] += 1
        await asyncio.sleep(1)
