"""Part (b): one caller, one sentence at a time, over gRPC: how long does an answer take?

    make bench ARGS="-k single"        python -m tests.benchmarks.single [--scale 0.05]

The peer is asked as a simple server would (`--mode per-request`), with the settings that are fastest for a
sentence alone. Both servers run, and are asked for the same sentences in blocks, by turns; the one that is not
asked sleeps. With one core for the server, the caller has the other; with two, the caller shares them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dragoman.text.tokenizer import Tokenizer
from tests.benchmarks import corpus, measure, selection, servers, sweep
from tests.benchmarks.corpus import Text
from tests.benchmarks.measure import Plan
from tests.benchmarks.servers import Server

SENTENCES, BLOCK, ROUNDS, SAMPLE = 400, 20, 5, 100
CORES = (1, 2)


def measured(plan: Plan) -> dict[str, Any]:
    """Return the figures of all cases."""
    with tempfile.TemporaryDirectory() as folder:
        peer = sweep.converted(plan, Path(folder))
        texts, _ = selection.texts(plan, peer, plan.count(SENTENCES, 8))
        cases = [_case(plan, peer, texts, measure.cores_of(cores)) for cores in CORES]
    return {
        "sentences": len(texts),
        "block": BLOCK,
        "headline": "ratio.median: latency of ours divided by theirs",
        "cases": cases,
    }


def _case(plan: Plan, peer: sweep.Peer, texts: list[Text], cores: list[int]) -> dict[str, Any]:
    """Let both servers take turns on the same cores."""
    encoded = corpus.encode(texts[: plan.count(SAMPLE, 4)], Tokenizer.from_file(peer.tokenizer))
    settings, tried = sweep.alone(peer, encoded, cores, plan.count(3))
    model = peer.folder(settings)
    others = sorted(set(measure.cores_of(2)) - set(cores)) or cores
    with (
        measure.pinned(others),
        servers.ours(plan, cores) as ours,
        servers.peer(plan, model, cores, settings, "--mode", "per-request") as theirs,
    ):
        blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
        found: list[list[float]] = [[], []]
        for block in blocks:
            works = [
                lambda server=server, block=block: _latencies(server, block) for server in (ours, theirs)
            ]
            for latencies, rounds in zip(found, measure.turns(works, plan.count(ROUNDS)), strict=True):
                latencies += [value for round_ in rounds for value in round_]
    figures = [_figures(latencies) for latencies in found]
    ratios = {name: round(figures[0][name] / figures[1][name], 3) for name in ("median", "p95")}
    case = {
        "cores": len(cores),
        "rounds": plan.count(ROUNDS),
        "ratio": ratios,
        "ours": figures[0],
        "ctranslate2": {**figures[1], "settings": asdict(settings)},
    }
    print(case)
    return {**case, "sweep": tried}


def _latencies(server: Server, texts: Sequence[Text]) -> list[float]:
    """Return the milliseconds of each call."""
    found = []
    for text in texts:
        began = time.perf_counter()
        server.call(text)
        found.append(1000 * (time.perf_counter() - began))
    return found


def _figures(latencies: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(measure.percentile(latencies, 0.5), 2),
        "p95": round(measure.percentile(latencies, 0.95), 2),
        "calls": len(latencies),
    }


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("single", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
