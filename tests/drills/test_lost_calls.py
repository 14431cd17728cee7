"""Calls that nobody waits for any more: no decoder step more than one is spent on them, and nothing of them stays."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.conftest import Scale
from tests.drills.replica import Footprint, Replica, load_cores, replica, until
from tests.drills.results import write
from tests.rpc.contract import request

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1800)]
CALLS, AT_ONCE = 1000, 20
SENTENCE = "The old man and his dog walked slowly along the river until it was dark, and nobody saw them. "
# Of a call; so many that a step takes longer than to count steps and to cancel calls. Fewer where there is a deadline,
# or the calls would be refused on arrival.
SENTENCES = {"cancelled": 16, "expired": 4}
DEADLINE_SECONDS = {"cancelled": 120.0, "expired": 6.0}
# A step may be going on when the steps are counted, another when the news comes; then one further.
MAX_STEPS = 3
TRIES = 10  # where the machine does something else just then
FLAGS = ("--max-running-sentences", str(AT_ONCE * SENTENCES["cancelled"]), "--max-batch-tokens", "200000")


@asynccontextmanager
async def client(server: Replica) -> AsyncIterator[Any]:
    """Return a client that does not try again."""
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        yield TranslationServiceStub(channel)


async def begin(server: Replica, stub: Any, kind: str) -> tuple[list[Any], float, float]:
    """Send some calls; return them when all their sentences are in the batch, when they were sent, and what was done."""
    asked = request(SENTENCE * SENTENCES[kind])
    for _ in range(TRIES):
        began, finished = time.monotonic(), await value(server, "dragoman_target_tokens_total")
        calls = [stub.Translate(asked, timeout=DEADLINE_SECONDS[kind]) for _ in range(AT_ONCE)]
        sent = asyncio.gather(*calls, return_exceptions=True)
        while not sent.done():
            if await value(server, "dragoman_running_sentences") >= AT_ONCE * SENTENCES[kind]:
                return calls, began, finished
            await asyncio.sleep(0.01)
    raise AssertionError("calls are over before all of them run")


async def value(server: Replica, name: str, **labels: str) -> float:
    """Read a metric without holding up the event loop."""
    return await asyncio.to_thread(server.value, name, **labels)


async def codes(calls: list[Any]) -> set[str]:
    """Return how calls ended."""
    return {(await call.code()).name for call in calls}


async def test_lost_calls(tmp_path: Path, scale: Scale) -> None:
    """
    Of calls that were cancelled, and of calls whose time ran out, none is decoded for more than one further step.

    Their rows are free then, and memory, threads and open files are what they were.
    """
    rounds = scale(CALLS // AT_ONCE, least=1)
    with load_cores(), replica(tmp_path, *FLAGS) as server:
        async with client(server) as stub:
            await lose(server, stub, "cancelled")  # what the largest batch needs stays
            before = server.footprint
            steps = {kind: [await lose(server, stub, kind) for _ in range(rounds)] for kind in SENTENCES}
            given_up = await value(server, "dragoman_cancelled_total")
            await asyncio.to_thread(until, lambda: server.footprint.files <= before.files)
            after = server.footprint

    if scale.is_full:
        write("lost_calls", figures(steps, before, after))
    assert all(count <= MAX_STEPS for found in steps.values() for count in found), steps
    lost = AT_ONCE * sum(SENTENCES[kind] * len(found) for kind, found in steps.items())
    assert lost + AT_ONCE * SENTENCES["cancelled"] == given_up
    assert after.threads <= before.threads + 8  # of gRPC and of splitting, which come as they are needed
    assert after.resident_mebibytes < 1.05 * before.resident_mebibytes


def figures(steps: dict[str, list[int]], before: Footprint, after: Footprint) -> dict[str, Any]:
    """Return what is published."""
    return {
        "calls": {kind: AT_ONCE * len(found) for kind, found in steps.items()},
        "most_steps_after": {kind: max(found) for kind, found in steps.items()},
        "resident_mebibytes": [round(before.resident_mebibytes, 1), round(after.resident_mebibytes, 1)],
        "threads": [before.threads, after.threads],
        "files": [before.files, after.files],
    }


async def lose(server: Replica, stub: Any, kind: str) -> int:
    """Let some calls begin and be lost; return how many steps the server still took."""
    calls, began, finished = await begin(server, stub, kind)
    before = await value(server, "dragoman_batch_rows_count")
    if kind == "cancelled":
        for call in calls:
            call.cancel()
        expected = {"CANCELLED"}
    else:  # the whole machine pauses
        server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(max(0.0, began + DEADLINE_SECONDS[kind] + 0.5 - time.monotonic()))
        server.process.send_signal(signal.SIGCONT)
        expected = {"DEADLINE_EXCEEDED"}
    assert expected == await codes(calls)
    await asyncio.to_thread(until, lambda: is_idle(server))
    assert finished == await value(server, "dragoman_target_tokens_total")
    return int(await value(server, "dragoman_batch_rows_count") - before)


def is_idle(server: Replica) -> bool:
    """Tell whether nothing runs or waits."""
    return 0 == server.value("dragoman_running_sentences") == server.value("dragoman_queue_depth")
