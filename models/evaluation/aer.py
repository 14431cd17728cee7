"""Alignment error rate of a bundle against gold word links: `python -m models.evaluation.aer BUNDLE`.

Gold sentences come tokenised; the pair is forced through the serving engine with those words, and the
links it returns are compared, of each direction and of the mean of both. AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), P including S (Och and Ney, 2003).
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from dragoman.alignment.links import AlignedWords, hard_links
from dragoman.errors import StartupError
from dragoman.registry.offline import open_offline
from dragoman.text.spans import Span
from dragoman.text.words import split_words
from dragoman.translation.translator import Translator
from dragoman.types import Options
from models.convert.export import add_results
from models.corpora.packing import DataError, read_pairs, shards
from models.corpora.word_links import by_eflomal
from models.paths import ROOT, data_folder

SETS = {"hansards-trial": "fr", "xl-wa-dev": "es"}
RESAMPLES = 1000
BOTH = "both"  # instead of a direction: what `Align` does by default
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


def eflomal_links(gold: list[Gold], pair: str, beside: int) -> list[Links]:
    """Align gold sentences by eflomal, together with training pairs: alone they teach it too little.

    Args:
        pair: Of languages, "en-fr".
        beside: How many training pairs, as many of each corpus.

    Raises:
        DataError: There are no such corpora, or eflomal is not installed.
    """
    corpora = [paths for name, paths in shards(data_folder() / "train").items() if name.endswith(f".{pair}")]
    lines = [
        [" ".join(span.of(side) for span in split_words(side)).lower() for side in texts]
        for paths in corpora
        for texts in islice(chain.from_iterable(map(read_pairs, paths)), beside // len(corpora))
    ]
    lines = [line for line in lines if all(line)]
    if not lines:
        raise DataError(
            f"{data_folder()}: no training pairs of {pair} for eflomal, or fewer wanted than there are corpora"
        )
    lines += [[" ".join(side).lower() for side in (one.english, one.other)] for one in gold]
    english, other = zip(*lines, strict=True)
    return list(by_eflomal(english, other))[-len(gold) :]


async def align_all(
    translator: Translator, gold: list[Gold], other: str, *, from_english: bool, both: bool = False
) -> list[AlignedWords]:
    """Align every pair together, in one direction or, from the side of one, in both."""
    options = Options("en", other, alignment=True, both_directions=both)
    options = options if from_english else options.reversed

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


@dataclass(frozen=True)
class Rate:
    """A measured error rate and its interval, in per cent. `threshold` is None for eflomal, which has none."""

    name: str
    direction: str
    threshold: float | None
    aer: float
    low: float
    high: float


def rates(translator: Translator, thresholds: list[float], beside: int) -> Iterator[Rate]:
    """Measure every set in each direction and by the mean of both, at every threshold.

    Args:
        beside: Training pairs that eflomal gets; 0: leave it out.
    """
    for name, other in SETS.items():
        gold = read_gold(data_folder() / "align", name)
        for direction in (f"en-{other}", f"{other}-en", BOTH):
            from_english, both = direction != f"{other}-en", direction == BOTH
            words = asyncio.run(align_all(translator, gold, other, from_english=from_english, both=both))
            for threshold in thresholds:
                found = [links_of(pair.weights, threshold, from_english=from_english) for pair in words]
                yield Rate(name, direction, threshold, error_rate(found, gold), *interval(found, gold))
        if beside:
            found = eflomal_links(gold, f"en-{other}", beside)
            yield Rate(name, "eflomal", None, error_rate(found, gold), *interval(found, gold))


def for_card(measured: list[Rate], threshold: float) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{set: {direction: {"aer": .., "low": .., "high": ..}}}` at a threshold."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in measured:
        if one.threshold == threshold:
            figures = {"aer": round(one.aer, 1), "low": round(one.low, 1), "high": round(one.high, 1)}
            found.setdefault(one.name, {})[one.direction] = figures
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the alignment error rate of a bundle.")
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "bundles" / "default")
    parser.add_argument("--thresholds", type=float, nargs="+", help="try these instead of the manifest's")
    parser.add_argument(
        "--eflomal", type=int, default=0, metavar="PAIRS",
        help="also align by eflomal, with so many training pairs beside",
    )  # fmt: skip
    parser.add_argument(
        "--write", action="store_true", help="put what the manifest's threshold gives into manifest and card"
    )
    return parser.parse_args()


def main() -> None:
    """Read the command line and measure."""
    arguments = _arguments()
    try:
        with closing(open_offline(os.environ, arguments.bundle)) as registry:
            own = registry.bundle.manifest.alignment.threshold
            tried = sorted({*(arguments.thresholds or [own]), *([own] if arguments.write else [])})
            measured = list(rates(registry.translator, tried, arguments.eflomal))
    except (DataError, StartupError) as error:
        raise SystemExit(f"error: {error}") from None
    table = Table("set", "direction", "threshold", "AER", "95 %")
    for one in measured:
        threshold = "" if one.threshold is None else f"{one.threshold:.2f}"
        table.add_row(one.name, one.direction, threshold, f"{one.aer:.1f}", f"{one.low:.1f}-{one.high:.1f}")
    Console().print(table)
    if arguments.write:
        try:
            add_results(arguments.bundle, checks={"alignment": for_card(measured, own)})
        except OSError as error:
            raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
