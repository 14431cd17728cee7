"""Part (e): from the start of the process to the first answered call, and memory after 10,000 mixed requests.

    make bench ARGS="-k startup"        python -m tests.benchmarks.startup [--scale 0.02]

Ours and the peer's server (dynamic batcher) take turns in starting on one core; then each gets the same requests of
one to four sentences, several at once, from a caller on the other core. Memory is what the kernel counts as
resident (VmRSS), after the first answer and after each tenth of the requests. Our process checks the sums of its
model's files when it starts, and carries metrics, health and reflection, which the peer's does not.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from dragoman import bundle
from tests.benchmarks import measure, selection, servers, sweep, theirs
from tests.benchmarks.corpus import Text
from tests.benchmarks.measure import Plan
from tests.benchmarks.servers import Server
from tests.benchmarks.theirs import Settings

STARTS, REQUESTS, CALLERS, SENTENCES = 7, 10_000, 16, 800
PARTS = 10
Start = Callable[[], AbstractContextManager[Server]]


def measured(plan: Plan) -> dict[str, Any]:
    """Return the figures of both servers."""
    cores, others = [measure.cores_of(2)[place : place + 1] for place in (0, 1)]
    with tempfile.TemporaryDirectory() as folder, measure.pinned(others):
        model = theirs.convert(plan.checkpoint, plan.bundle, Path(folder))
        peer = sweep.Peer({"int8": model}, plan.bundle / bundle.TOKENIZER)
        starts: list[Start] = [
            partial(servers.ours, plan, cores),
            partial(servers.peer, plan, model, cores, Settings(), "--mode", "dynamic"),
        ]
        seconds = measure.turns([partial(_started, start) for start in starts], plan.count(STARTS))
        kept, _ = selection.texts(plan, peer, plan.count(SENTENCES, 16))
        texts = servers.mixed(kept, plan.count(REQUESTS, 40))
        memory = [_memory(start, texts) for start in starts]
    return {
        "starts": len(seconds[0]),
        "requests": len(texts),
        "callers": CALLERS,
        "ratio": {
            "startup_seconds": measure.ratio(*seconds),
            "resident_mebibytes": round(memory[0][-1] / memory[1][-1], 3),
        },
        "ours": _figures(seconds[0], memory[0]),
        "ctranslate2": _figures(seconds[1], memory[1]),
    }


def _started(start: Start) -> float:
    with start() as server:
        return server.startup_seconds


def _memory(start: Start, texts: Sequence[Text]) -> list[float]:
    """Return mebibytes after the first answer, and after each part of the requests."""
    size = -(-len(texts) // PARTS)
    with ExitStack() as stack:
        server = stack.enter_context(start())
        callers = stack.enter_context(ThreadPoolExecutor(CALLERS))
        found = [server.resident_mebibytes]
        for begin in range(0, len(texts), size):
            for reply in callers.map(server.call, texts[begin : begin + size]):
                assert reply.translations, "a request was not answered"
            found.append(server.resident_mebibytes)
    print(f"resident: {found} MiB")
    return found


def _figures(seconds: list[float], memory: list[float]) -> dict[str, Any]:
    middle, end = memory[len(memory) // 2], memory[-1]
    return {
        "startup_seconds": measure.spread(seconds),
        "resident_mebibytes": {"first_answer": memory[0], "middle": middle, "end": end, "course": memory},
        "growth_over_second_half": round(end / middle - 1, 4),
    }


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("startup", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
