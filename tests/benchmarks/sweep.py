"""The best settings of CTranslate2 on this machine: found on a sample, and everything tried is shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dragoman import bundle
from tests.benchmarks import measure, theirs
from tests.benchmarks.corpus import Sentence
from tests.benchmarks.measure import Plan
from tests.benchmarks.theirs import COMPUTE_TYPES, KERNELS, Settings, Theirs
from tests.benchmarks.worker import Worker

BATCHES = [
    *(("examples", size) for size in (8, 16, 32, 64, 128)),
    *(("tokens", size) for size in (512, 1024, 2048, 4096)),
]
FIRST_SENTENCES = 24  # for the kernels, some of which are ten times slower than others


@dataclass(frozen=True)
class Peer:
    """Where the peer's models are: one as int8, which may also be computed in float, one as float32."""

    folders: Mapping[str, Path]
    tokenizer: Path

    def folder(self, settings: Settings) -> Path:
        """Return the model that suits a compute type."""
        return self.folders["int8" if settings.compute_type.startswith("int8") else "float32"]

    def worker(self, settings: Settings, cores: Sequence[int]) -> Worker:
        """Start an engine with some settings on some cores."""
        arguments = self.folder(settings), self.tokenizer, settings
        return Worker(Theirs, *arguments, cores=cores, environment=KERNELS[settings.kernels])


def converted(plan: Plan, folder: Path) -> Peer:
    """Convert the weights behind the bundle."""
    folders = {
        kind: theirs.convert(plan.checkpoint, plan.bundle, folder, kind) for kind in ("int8", "float32")
    }
    return Peer(folders, plan.bundle / bundle.TOKENIZER)


def kernels(
    peer: Peer, sentences: Sequence[Sentence], rounds: int = 3
) -> tuple[Settings, list[dict[str, Any]]]:
    """Return the fastest compute type and kernels, and sentences a second of each, on one core."""
    few = sentences[:: max(1, len(sentences) // FIRST_SENTENCES)]
    tried: dict[Settings, float] = {}
    for name in KERNELS:
        for compute_type in COMPUTE_TYPES:
            settings = Settings(compute_type, name)
            tried |= _measure(peer, settings, [settings], few, measure.cores_of(1), 1, rounds)
    return _fastest(tried)


def batches(
    peer: Peer,
    first: Settings,
    sentences: Sequence[Sentence],
    cores: Sequence[int],
    beam: int,
    rounds: int = 3,
) -> tuple[Settings, list[dict[str, Any]]]:
    """Return the fastest batch size and, of several cores, whether they share a batch or have one each.

    Args:
        sentences: Longest first.
    """
    tried: dict[Settings, float] = {}
    for workers, threads in sorted({(len(cores), 1), (1, len(cores))}):
        layout = replace(first, workers=workers, threads=threads)
        sizes = [replace(layout, batch_type=kind, max_batch_size=size) for kind, size in BATCHES]
        tried |= _measure(peer, layout, sizes, sentences, cores, beam, rounds)
    return _fastest(tried)


def alone(
    peer: Peer, sentences: Sequence[Sentence], cores: Sequence[int], rounds: int = 3
) -> tuple[Settings, list[dict[str, Any]]]:
    """Return the fastest settings in 8 bits for one sentence at a time, likewise."""
    tried: dict[Settings, float] = {}
    for threads in sorted({1, len(cores)}):
        for kind in (kind for kind in COMPUTE_TYPES if kind.startswith("int8")):
            settings = Settings(kind, threads=threads, max_batch_size=1)
            tried |= _measure(peer, settings, [settings], sentences, cores, 1, rounds)
    return _fastest(tried)


def _measure(
    peer: Peer, made: Settings, variants: Iterable[Settings], sentences: Sequence[Sentence],
    cores: Sequence[int], beam: int, rounds: int,
) -> dict[Settings, float]:  # fmt: skip
    """Return sentences a second of some batch sizes of one engine; none where the library has no such kernels."""
    try:
        worker = peer.worker(made, cores)
    except RuntimeError as error:
        print(f"{made.compute_type}, {made.kernels}: {error}")
        return {}
    variants = list(variants)
    with worker:
        works = [partial(worker.call, "timed", sentences, beam, one) for one in variants]
        times = measure.turns(works, rounds)
    rates = [len(sentences) / statistics.median(seconds for seconds, _ in column) for column in times]
    return dict(zip(variants, rates, strict=True))


def _fastest(tried: Mapping[Settings, float]) -> tuple[Settings, list[dict[str, Any]]]:
    rows = [{**asdict(settings), "sentences_per_second": round(rate, 1)} for settings, rate in tried.items()]
    for row in rows:
        print("tried", *(f"{name}={value}" for name, value in row.items()))
    return max(tried, key=lambda settings: tried[settings]), rows
