"""What all measurements share: their size, taking turns, medians, facts about the machine, the results' file.

Every measurement is a test (`make bench ARGS="-k offline"`) and a command (`python -m tests.benchmarks.offline`).
Both read the same settings, of which the environment gives the defaults:

    BENCH_SCALE       1: as published; 0.02: to try the code out, with results under `build/benchmarks`
    BENCH_CHECKPOINT  the weights that the peer is given: those behind the bundle
    BENCH_BUNDLE      what we serve
    BENCH_RESULTS     where results go
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from dragoman import bundle
from dragoman.config import DEFAULT_BUNDLE
from dragoman.engine.processors import cpu_limit, kernel_set
from models.paths import PUBLISHED as PUBLISHED_WEIGHTS

ROOT = Path(__file__).parents[2]
PUBLISHED, TRIED = Path(__file__).parent / "results", ROOT / "build" / "benchmarks"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Plan:
    """How much is measured, of what, and where it is written down."""

    name: str
    scale: float
    checkpoint: Path
    bundle: Path
    results: Path

    def count(self, full: int, least: int = 1) -> int:
        """Return a number of rounds or sentences, fewer when the code is only tried out."""
        return max(least, round(full * self.scale))

    def write(self, figures: dict[str, Any]) -> Path:
        """Write figures down, with what somebody needs to measure them again."""
        path = self.results / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {**self._facts(), **figures}
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written to {path}")
        return path

    def _facts(self) -> dict[str, Any]:
        served = bundle.load(self.bundle)
        return {
            "command": f'make bench ARGS="-k {self.name.partition("_")[0]}"',
            "scale": self.scale,
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "processor": _processor(),
            "cores": cpu_limit(),
            "kernel_set": kernel_set(),
            "load_average": [round(load, 2) for load in os.getloadavg()],  # of a quiet machine: our own work
            "versions": {name: _version(name) for name in ("onnxruntime", "ctranslate2", "numpy", "grpcio")},
            "bundle": f"{served.full_name} ({served.manifest.precision}, {served.checksum[:12]})",
        }


def plan(name: str, description: str | None = None, given: Sequence[str] = ()) -> Plan:
    """Read the settings of a measurement from a command line, by default an empty one."""
    environment = os.environ
    parser = argparse.ArgumentParser(prog=f"python -m tests.benchmarks.{name}", description=description)
    scale = float(environment.get("BENCH_SCALE", "1"))
    parser.add_argument("--scale", type=float, default=scale, help="1: as published (default: %(default)s)")
    checkpoint = environment.get("BENCH_CHECKPOINT", PUBLISHED_WEIGHTS)
    parser.add_argument("--checkpoint", type=Path, default=Path(checkpoint), help="(default: %(default)s)")
    served = environment.get("BENCH_BUNDLE", DEFAULT_BUNDLE)
    parser.add_argument("--bundle", type=Path, default=Path(served), help="(default: %(default)s)")
    results = environment.get("BENCH_RESULTS")
    parser.add_argument("--results", type=Path, default=results and Path(results), help="folder")
    found = parser.parse_args(given)
    folder = found.results or (PUBLISHED if found.scale == 1 else TRIED)
    return Plan(name, found.scale, found.checkpoint, found.bundle, folder)


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def turns(works: Sequence[Callable[[], _Item]], rounds: int, warm_up: int = 1) -> list[list[_Item]]:
    """Let some works take turns; return what each gave in every round, those that warmed up left out.

    The order is reversed from round to round, so that none profits from the one before it.
    """
    found: list[list[_Item]] = [[] for _ in works]
    for number in range(warm_up + rounds):
        order = range(len(works)) if number % 2 == 0 else range(len(works) - 1, -1, -1)
        for place in order:
            outcome = works[place]()
            if number >= warm_up:
                found[place].append(outcome)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of them does not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile([4.0, 1.0, 3.0, 2.0], 0.95)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * len(ordered) * 1000) // 1000) - 1)]


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Return the median of some rounds, and the least and the most of them."""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over the rounds of ours divided by theirs: what slows a round slows both."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Bind this thread to some cores for a while; processes that it starts meanwhile stay bound."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores_of(count: int) -> list[int]:
    """Return the first of the cores that this process may use.

    Raises:
        ValueError: There are not so many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        raise ValueError(f"{count} cores wanted, {len(cores)} here")
    return cores[:count]


def resident_mebibytes(process: int) -> float:
    """Return how much memory a process holds."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise ProcessLookupError(process)  # it has ended, and only its parent knows


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
