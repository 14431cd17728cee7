"""Memory over many calls of all lengths, directions and kinds: it is bounded, and does not creep."""

import asyncio
import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.conftest import Scale
from tests.drills.replica import Replica, load_cores, replica
from tests.drills.results import write
from tests.engine.crowds import DIRECTIONS, WORDS
from tests.rpc.contract import request

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(3600)]
CALLS, CALLERS, LONGEST = 20_000, 24, 150  # words: some 200 tokens
SAMPLES = 200
FULL = 64  # rows of a batch


def any_request(rng: random.Random) -> pb.TranslateRequest:
    """Return a call of any length and direction; some with a beam, some with alignments."""
    source, target = rng.choice(DIRECTIONS)
    text = any_text(rng, source, rng.randint(1, LONGEST))
    decoding = pb.DecodingOptions(beam_size=rng.choice([1] * 8 + [2, 4]))
    mode = rng.choice([pb.ALIGNMENT_MODE_UNSPECIFIED] * 3 + [pb.ALIGNMENT_MODE_SOFT])
    output = pb.OutputOptions(alignment=mode)
    return request(text, source=source, target=target, decoding=decoding, output=output)


def any_text(rng: random.Random, language: str, words: int) -> str:
    """Return so many words of a language."""
    return " ".join(rng.choices(WORDS[language].split(), k=words))


async def fill(server: Replica) -> None:
    """Ask for the largest batch there is: caches grow as they are needed, and a small drill might end before that."""
    rng, beam = random.Random(2), pb.DecodingOptions(beam_size=4)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = TranslationServiceStub(channel)
        calls = (request(any_text(rng, "en", LONGEST), target="fr", decoding=beam) for _ in range(FULL // 4))
        await asyncio.gather(*(stub.Translate(call, timeout=120) for call in calls))


async def use(server: Replica, calls: int) -> tuple[list[float], Counter[str]]:
    """Send so many calls; return the server's memory after each of many equal parts, in MiB, and the codes."""
    rng, mebibytes, codes = random.Random(1), list[float](), Counter[str]()
    numbers = itertools.count(1)

    started = 0

    async def caller(stub: Any) -> None:
        nonlocal started
        while (number := next(numbers)) <= calls:
            started = number
            try:
                await stub.Translate(any_request(rng), timeout=120)
                codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
            # When the last have begun, callers go, and some of the memory with them.
            if started < calls and number % max(1, calls // SAMPLES) == 0:
                mebibytes.append(server.footprint.resident_mebibytes)

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = TranslationServiceStub(channel)
        await asyncio.gather(*(caller(stub) for _ in range(CALLERS)))
    return mebibytes, codes


def test_memory(tmp_path: Path, scale: Scale) -> None:
    """
    Over the second half of 20,000 calls of 1 to 200 tokens the server's memory stays within five per cent.
    """
    calls = CALLS if scale.is_full else 300  # the caches have grown by the half
    with load_cores(), replica(tmp_path) as server:
        before = server.footprint
        asyncio.run(fill(server))
        mebibytes, codes = asyncio.run(use(server, calls))
        after = server.footprint

    half = mebibytes[len(mebibytes) // 2 :]
    spread = max(half) / min(half) - 1
    if scale.is_full:
        figures = {
            "calls": calls, "codes": dict(codes), "resident_mebibytes_at_rest": round(before.resident_mebibytes, 1),
            "resident_mebibytes_by_tenths": [round(m, 1) for m in mebibytes[:: len(mebibytes) // 10]],
            "spread_of_second_half": round(spread, 4),
        }  # fmt: skip
        write("memory", figures)
    assert {"OK": calls} == codes
    assert spread < (0.05 if scale.is_full else 0.1)  # two per cent are hardly warm
    assert after.threads <= before.threads + 8  # of gRPC and of splitting, which come with the first calls
