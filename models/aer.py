"""Alignment error rate of a bundle against gold word links: `python -m models.aer BUNDLE`.

Gold sentences come tokenised; the pair is forced through the serving engine with those words, and the
links it returns are compared. AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), P including S (Och and Ney, 2003).
"""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from models.data import DataError
from models.export import add_results
from models.paths import ROOT, data_folder
from service import config
from service.alignment import AlignedWords, hard_links
from service.assembly import build
from service.errors import StartupError
from service.text.spans import Span
from service.translation import Options
from service.translator import Translator

SETS = {"hansards-trial": "fr", "xl-wa-dev": "es"}
RESAMPLES = 1000
Links = set[tuple[int, int]]


@dataclass(frozen=True)
class Gold:
    """A sentence pair as words, and its links: English word, other word."""

    english: list[str]
    other: list[str]
    sure: Links
    possible: Links  # includes the sure ones


def read_gold(folder: Path, name: str) -> list[Gold]:
    """Read a gold set.

    Raises:
        DataError: A file is missing.
    """
    try:
        english, other, links = (
            (folder / f"{name}.{suffix}").read_text(encoding="utf-8").splitlines()
            for suffix in ("en", SETS[name], "talp")
        )
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from error
    return [
        Gold(e.split(), o.split(), *_parse(line)) for e, o, line in zip(english, other, links, strict=True)
    ]


def _parse(line: str) -> tuple[Links, Links]:
    sure: Links = set()
    possible: Links = set()
    for link in line.split():
        first, second = link.replace("p", "-").split("-")
        possible.add((int(first), int(second)))
        if "p" not in link:
            sure.add((int(first), int(second)))
    return sure, possible


def error_rate(found: list[Links], gold: list[Gold]) -> float:
    """Return the AER of a corpus, in per cent."""
    hits = sum(len(a & g.sure) + len(a & g.possible) for a, g in zip(found, gold, strict=True))
    return 100 * (1 - hits / sum(len(a) + len(g.sure) for a, g in zip(found, gold, strict=True)))


def interval(found: list[Links], gold: list[Gold], seed: int = 1) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AER, resampling sentences."""
    random = np.random.default_rng(seed)
    draws = random.integers(0, len(gold), (RESAMPLES, len(gold)))
    rates = [error_rate([found[i] for i in draw], [gold[i] for i in draw]) for draw in draws]
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


async def align_all(
    translator: Translator, gold: list[Gold], other: str, *, from_english: bool
) -> list[AlignedWords]:
    """Align every pair in one direction, together."""
    options = Options("en", other, alignment=True) if from_english else Options(other, "en", alignment=True)

    async def one(pair: Gold) -> AlignedWords:
        words = (pair.english, pair.other) if from_english else (pair.other, pair.english)
        texts = [" ".join(side) for side in words]
        done = await translator.align(texts[0], texts[1], options, *(_spans(side) for side in words))
        assert done.words is not None, "asked for above. This is a bug."
        return done.words

    return list(await asyncio.gather(*(one(pair) for pair in gold)))


def _spans(words: list[str]) -> list[Span]:
    spans, start = [], 0
    for word in words:
        spans.append(Span(start, start + len(word)))
        start += len(word) + 1
    return spans


def links_of(weights: npt.NDArray[np.float32], threshold: float, *, from_english: bool) -> Links:
    """Return hard links as (English word, other word)."""
    links = hard_links(weights, threshold)
    return {(s, t) if from_english else (t, s) for s, t, _ in links}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the alignment error rate of a bundle.")
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "bundles" / "default")
    parser.add_argument("--thresholds", type=float, nargs="+", help="try these instead of the manifest's")
    parser.add_argument(
        "--write",
        action="store_true",
        help="put what the manifest's own threshold gives into manifest and card",
    )
    arguments = parser.parse_args()
    try:
        served, _ = build(config.read({"bundle": str(arguments.bundle)}, os.environ))
        golds = {name: read_gold(data_folder() / "align", name) for name in SETS}
    except (DataError, StartupError) as error:
        raise SystemExit(f"error: {error}") from None
    own = served.bundle.manifest.alignment.threshold
    thresholds = arguments.thresholds or [own]
    table = Table("set", "direction", "threshold", "AER", "95 %")
    measured: dict[str, dict[str, dict[str, float]]] = {}
    for name, gold in golds.items():
        for from_english in (True, False):
            words = asyncio.run(align_all(served.translator, gold, SETS[name], from_english=from_english))
            direction = f"en-{SETS[name]}" if from_english else f"{SETS[name]}-en"
            for threshold in thresholds:
                found = [links_of(pair.weights, threshold, from_english=from_english) for pair in words]
                low, high = interval(found, gold)
                rate = error_rate(found, gold)
                table.add_row(name, direction, f"{threshold:.2f}", f"{rate:.1f}", f"{low:.1f}-{high:.1f}")
                if threshold == own:
                    rounded = {"aer": round(rate, 1), "low": round(low, 1), "high": round(high, 1)}
                    measured.setdefault(name, {})[direction] = rounded
    served.loop.close()
    Console().print(table)
    if measured and arguments.write:
        add_results(arguments.bundle, checks={"alignment": measured})


if __name__ == "__main__":
    main()
