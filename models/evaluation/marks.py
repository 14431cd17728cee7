"""Accuracy of placeholders and given terms: `python -m models.evaluation.marks BUNDLE`.

Development sentences with placeholders in the place of names and numbers, or at an end: how many come back with each of
them exactly once. And with a word of the reference given as a term behind the source word that it translates: how
often it is used, beside how often it is without being given, and what that does to BLEU.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sacrebleu
from rich.console import Console
from rich.table import Table

from dragoman import bundle, config
from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.results import results_of
from dragoman.errors import StartupError
from dragoman.registry.loading import build
from dragoman.registry.model_registry import ModelRegistry
from dragoman.text.normalize import normalize
from dragoman.text.tokenizer import EOS_ID, PLACEHOLDERS, TERM_BEGIN, TERM_END, Tokenizer
from dragoman.types import Options
from models.corpora import marked
from models.corpora.packing import DataError
from models.paths import ROOT, data_folder
from models.training.validation import DIRECTIONS, read_set

SET, LINES = "flores200-dev", 200
SURE, LETTERS = 0.8, 5  # of a link, and of both its words: what a glossary might have

Pair = tuple[str, str]  # source, reference


@dataclass(frozen=True)
class Term:
    """A sentence and the word of its reference that is given for one of its own."""

    pair: Pair
    at: int  # where the source word ends
    word: str


def tokenizer_of(registry: ModelRegistry) -> Tokenizer:
    """Return the tokenizer of the bundle that is measured."""
    return Tokenizer(registry.bundle.read(bundle.TOKENIZER))


async def translated(registry: ModelRegistry, texts: Sequence[str], target: str) -> list[str]:
    """Translate texts with marks, greedily, each as one sentence."""
    tokenizer, shift = tokenizer_of(registry), registry.bundle.manifest.alignment.shift
    requests = [
        DecodeRequest(
            [tokenizer.tag_id(target), *ids, EOS_ID], 2 * len(ids) + 12, shift, wants_attention=False
        )
        for ids in tokenizer.encode_batch(list(texts), marked=True)
    ]
    registry.pool.submit(requests)
    return [tokenizer.decode_text(result.best.tokens, marked=True) for result in await results_of(requests)]


def with_placeholders(pairs: Sequence[Pair]) -> list[str]:
    """Return the sources of pairs with one or more placeholders in each."""
    made = marked.placeholders(pairs, {}, random.Random(1))
    return [text for text, _ in made if set(PLACEHOLDERS) & set(text)]


def is_kept(source: str, translation: str) -> bool:
    """Tell whether a translation has each placeholder of its source exactly once, and no other."""
    return Counter(c for c in source if c in PLACEHOLDERS) == Counter(
        c for c in translation if c in PLACEHOLDERS
    )


async def terms(registry: ModelRegistry, pairs: Sequence[Pair], options: Options) -> list[Term]:
    """Return, for the pairs that have any, a word that the reference has for one of the source, drawn by chance."""
    chance, found = random.Random(1), []
    for source, reference in pairs:
        done = await registry.translator.align(source, reference, options)
        assert done.words is not None, "asked for. This is a bug."
        links = Counter(link.source_word for link in done.words.links)
        fitting = [
            Term((source, reference), span.end, given)
            for first, second, weight in done.words.links
            if weight >= SURE and links[first] == 1
            for span, given in [(done.words.source[first], done.words.target[second].of(reference))]
            if min(len(given), len(span.of(source))) >= LETTERS
            and given.isalpha()
            and given != span.of(source)
        ]
        found += chance.sample(fitting, min(1, len(fitting)))
    return found


def given(term: Term) -> str:
    """Return the source of a term with its mark."""
    source = term.pair[0]
    return f"{source[: term.at]}{TERM_BEGIN} {term.word}{TERM_END}{source[term.at :]}"


def rows(registry: ModelRegistry, lines: int) -> Iterator[tuple[str, ...]]:
    """Measure each direction."""
    known = {tuple(pair) for pair in registry.bundle.manifest.pairs}
    for source, target in DIRECTIONS:
        if (source, target) not in known:
            continue
        sides = (read_set(data_folder() / "dev", SET, language)[:lines] for language in (source, target))
        pairs = [(normalize(first), normalize(second)) for first, second in zip(*sides, strict=True)]
        texts = with_placeholders(pairs)
        done = asyncio.run(translated(registry, texts, target))
        kept = sum(map(is_kept, texts, done))
        options = Options(source, target, alignment=True, both_directions=(target, source) in known)
        chosen = asyncio.run(terms(registry, pairs, options))
        plain = asyncio.run(translated(registry, [term.pair[0] for term in chosen], target))
        told = asyncio.run(translated(registry, [given(term) for term in chosen], target))
        used = [
            sum(term.word.lower() in text.lower() for term, text in zip(chosen, some, strict=True))
            for some in (plain, told)
        ]
        references = [term.pair[1] for term in chosen]
        bleu = [f"{sacrebleu.corpus_bleu(some, [references]).score:.1f}" for some in (plain, told)]
        shares = [f"{100 * count / max(1, len(chosen)):.0f} %" for count in used]
        yield f"{source}-{target}", f"{kept} of {len(texts)}", str(len(chosen)), *shares, *bleu


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure whether placeholders are kept and terms used.")
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "bundles" / "default")
    parser.add_argument("--lines", type=int, default=LINES, help=f"of {SET} (default: {LINES})")
    arguments = parser.parse_args()
    try:
        registry, _ = build(config.read({"bundle": str(arguments.bundle), **config.ANY_QUEUE}, os.environ))
        if not tokenizer_of(registry).has_marks:
            raise DataError(f"{arguments.bundle}: its tokenizer has no pieces for placeholders and terms")
        table = Table(
            "direction", "placeholders kept", "terms", "used, not given", "used, given", "BLEU", "BLEU, given"
        )
        for row in rows(registry, arguments.lines):
            table.add_row(*row)
    except (DataError, StartupError) as error:
        raise SystemExit(f"error: {error}") from None
    registry.close()
    Console().print(table)


if __name__ == "__main__":
    main()
