"""Three replicas under load that are restarted one after the other, and one that is killed: not one failed call."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from dragoman.bench.load import built_in_texts
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.conftest import Scale
from tests.deploy.manifests import DEPLOY
from tests.drills.replica import Replica, load_cores, replicas
from tests.drills.results import write
from tests.rpc.contract import request

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1800)]
CONFIG = (DEPLOY / "client-service-config.json").read_text("utf-8")
REPLICAS, RESTARTS, CALLERS = 3, 20, 9
KILLED_CALLS = 60  # under way when one replica is killed
DEADLINE_SECONDS = 30.0


@asynccontextmanager
async def client(servers: Sequence[Replica]) -> AsyncIterator[Any]:
    """Return a client with the published config; it knows all replicas."""
    target = "ipv4:" + ",".join(server.address for server in servers)
    options = [("grpc.service_config", CONFIG), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        await asyncio.wait_for(channel.channel_ready(), DEADLINE_SECONDS)
        yield TranslationServiceStub(channel)


class Load:
    """Callers that send a call, and the next one when it came back, until they are told to stop."""

    def __init__(self, stub: Any) -> None:
        self._stub, self._texts = stub, itertools.cycle(built_in_texts())
        self._is_over = False
        self.codes: Counter[str] = Counter()
        self.slowest = 0.0

    async def run(self, callers: int) -> None:
        """Send calls until `stop`."""
        await asyncio.gather(*(self._caller() for _ in range(callers)))

    def stop(self) -> None:
        """Let every caller end with its present call."""
        self._is_over = True

    async def _caller(self) -> None:
        while not self._is_over:
            text = next(self._texts)
            began = time.monotonic()
            try:
                asked = request(text.content, source=text.source, target=text.target)
                await self._stub.Translate(asked, timeout=DEADLINE_SECONDS)
                self.codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                self.codes[f"{error.code().name}: {error.details()}"] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)


async def test_rolling_restart(tmp_path: Path, scale: Scale) -> None:
    """
    Replicas that are told to end, drain, end with 0 and start again on the same port cost not one call.
    """
    restarts, drains = scale(RESTARTS, least=3), []
    with load_cores(), replicas(tmp_path, REPLICAS) as servers:
        async with client(servers) as stub:
            load = Load(stub)
            running = asyncio.create_task(load.run(CALLERS))
            for server in itertools.islice(itertools.cycle(servers), restarts):
                before = load.codes["OK"]
                while load.codes["OK"] < before + CALLERS:  # there is a load
                    await asyncio.sleep(0.05)
                began = time.monotonic()
                assert 0 == await asyncio.to_thread(server.terminate), server.log
                drains.append(time.monotonic() - began)
                assert "Traceback" not in server.log
                await asyncio.to_thread(server.start)
            load.stop()
            await running

    if scale.is_full:
        figures = {
            "replicas": REPLICAS, "restarts": restarts, "callers": CALLERS, "calls": load.codes.total(),
            "failed": load.codes.total() - load.codes["OK"], "slowest_call_seconds": round(load.slowest, 2),
            "longest_drain_seconds": round(max(drains), 2),
        }  # fmt: skip
        write("rolling_restart", figures)
    assert {"OK"} == load.codes.keys()


async def test_killed(tmp_path: Path, scale: Scale) -> None:
    """
    When one of three replicas is killed, its calls and no others are sent again, and none is lost.
    """
    text = (
        "The old man and his dog walked slowly along the river until it was dark, and nobody saw them again. "
        * 5
    )
    with load_cores(), replicas(tmp_path, REPLICAS) as servers:
        async with client(servers) as stub:
            await all_known(stub, servers)
            before = await asyncio.to_thread(started, servers)
            calls = [
                asyncio.ensure_future(stub.Translate(request(text), timeout=4 * DEADLINE_SECONDS))
                for _ in range(KILLED_CALLS)
            ]
            while sum(await asyncio.to_thread(started, servers)) < sum(before) + KILLED_CALLS:
                await asyncio.sleep(0.02)
            servers[0].kill()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            after = await asyncio.to_thread(started, servers[1:])

    lost = KILLED_CALLS // REPLICAS  # round robin
    again = sum(after) - sum(before[1:]) - (KILLED_CALLS - lost)
    if scale.is_full:
        write("killed", {"calls": KILLED_CALLS, "sent_again": again, "failed": len(failures(outcomes))})
    assert [] == failures(outcomes)
    assert 0 < again <= lost  # those that were answered before the end came are not sent again


def failures(outcomes: list[Any]) -> list[Any]:
    """Return what is not a reply."""
    return [outcome for outcome in outcomes if not isinstance(outcome, pb.TranslateResponse)]


def started(servers: Sequence[Replica]) -> list[float]:
    """Return how many calls each server has begun."""
    return [server.value("grpc_server_started_total", grpc_method="Translate") for server in servers]


async def all_known(stub: Any, servers: Sequence[Replica]) -> None:
    """Send calls until the client has found every replica."""
    before = await asyncio.to_thread(started, servers)
    for _ in range(200):
        await asyncio.gather(*(stub.Translate(request("Yes."), timeout=DEADLINE_SECONDS) for _ in servers))
        now = await asyncio.to_thread(started, servers)
        if all(new - old == 1 for new, old in zip(now, before, strict=True)):
            return
        before = now
    raise AssertionError("not all replicas are called")
