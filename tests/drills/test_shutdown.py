"""Clients that do not read, and a server told to end in the middle of everything."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from dragoman.bench.load import built_in_texts
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.conftest import Scale
from tests.drills.replica import Replica, load_cores, replica
from tests.drills.results import write
from tests.rpc.contract import request

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(600)]
SLOW_CLIENTS, TEXTS = 20, 30
DRAIN_SECONDS, MARGIN_SECONDS = 3.0, 30.0  # for what follows the drain: flushing, joining threads
LONG = " ".join(text.content for text in built_in_texts() if text.source == "en")


def slow(server: Replica) -> tuple[grpc.aio.Channel, Any]:
    """Open a stream, on a connection of its own that takes in 64 KB and no more, whose replies are larger."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    channel = grpc.aio.insecure_channel(server.address, options=options)

    async def texts() -> AsyncIterator[pb.StreamTranslateRequest]:
        output = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT)
        options = pb.StreamTranslateOptions(
            source_language_code="en", target_language_code="fr", output=output
        )
        for index in range(TEXTS):
            text = pb.StreamTranslateRequest(id=str(index), content=LONG)
            if index == 0:
                text.options.CopyFrom(options)
            yield text

    return channel, TranslationServiceStub(channel).StreamTranslate(texts())


async def value(server: Replica, name: str) -> float:
    """Read a metric without holding up the event loop."""
    return await asyncio.to_thread(server.value, name)


async def test_slow_clients_and_sigterm(tmp_path: Path, scale: Scale) -> None:
    """
    Clients that read one reply and then no more cost the others nothing, and do not keep a server from ending.

    Told to end under load, it answers what it can within its time to drain, and ends with 0.
    """
    clients = scale(SLOW_CLIENTS, least=2)
    with load_cores(), replica(tmp_path, "--drain-seconds", str(DRAIN_SECONDS)) as server:
        stuck = [slow(server) for _ in range(clients)]
        await asyncio.gather(*(call.read() for _, call in stuck))
        await stands_still(server)
        full = server.footprint
        channel = grpc.aio.insecure_channel(server.address)
        stub: Any = TranslationServiceStub(channel)
        began = time.monotonic()
        for _ in range(20):
            await stub.Translate(request("Where is the station?"), timeout=30)
        each = (time.monotonic() - began) / 20
        running = [asyncio.ensure_future(stub.Translate(request(LONG), timeout=60)) for _ in range(8)]
        while await value(server, "dragoman_running_sentences") == 0:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        code = await asyncio.to_thread(server.terminate)
        seconds = time.monotonic() - began
        await asyncio.gather(*running, return_exceptions=True)
        for opened, _ in [*stuck, (channel, None)]:
            await opened.close(None)

    if scale.is_full:
        figures = {
            "slow_clients": clients, "resident_mebibytes": round(full.resident_mebibytes, 1),
            "seconds_of_a_call_beside_them": round(each, 4), "drain_seconds": DRAIN_SECONDS,
            "seconds_to_end": round(seconds, 2),
        }  # fmt: skip
        write("slow_clients", figures)
    assert 0 == code, server.log
    assert seconds < DRAIN_SECONDS + MARGIN_SECONDS
    assert each < 1
    assert "Traceback" not in server.log


async def stands_still(server: Replica) -> None:
    """Wait until nothing is decoded any more, though the streams are not done."""
    steps, patience = -1.0, time.monotonic() + 120
    while steps != (steps := await value(server, "dragoman_batch_rows_count")) or await value(
        server, "dragoman_running_sentences"
    ):
        assert time.monotonic() < patience, "the server never waits for its clients"
        await asyncio.sleep(1.0)
    assert await value(server, "grpc_server_started_total") > await value(server, "grpc_server_handled_total")
