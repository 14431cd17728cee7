"""Corpora derived from others, of what running text has too little of: `python -m models.corpora.derive`.

After *data*, beside *links*. People type single words, lines in capitals and emoji; parliaments hardly do. Small
corpora are packed beside the others, for each language pair: `words`, `capitals`, `emoji` and `quotes`, then `phrases`
such as "annual report", whose words change places. `proper-nouns` has sentences in which "Morocco" and its like are
another word, `names` has "European Economic Area" and its like, alone and in sentences, each seldom. Nothing is
drawn by the clock: the same shards give the same corpora.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, product
from pathlib import Path

from dragoman.text.tokenizer import Tokenizer
from models.corpora.lexicon import Lexicon, Pair, lexicon, phrases, places, words
from models.corpora.names import names, proper_nouns
from models.corpora.packing import (
    DataError,
    check_mark,
    is_packed,
    open_tokenizer,
    read_pairs,
    save_texts,
    shards,
)
from models.paths import data_folder, packed_folder, tokenizer_path

# Manuals would teach the names of functions.
EVERYDAY = ("tatoeba", "news", "terms")
PROSE = (
    "tatoeba", "news", "web", "europarl", "europarl-more", "newscommentary", "un", "textbooks", "encyclopedia",
)  # fmt: skip
# What has names of institutions.
FORMAL = ("europarl", "europarl-more", "newscommentary", "news", "un", "terms")
SHORTEST = 3  # words, of texts that are to be seen more often
PAIRS_OF_KIND = 80_000
COMMON, COPIES = 3_000, 4  # of the words, which are what people type first; "hello" is the 2,137th

_BLOCKS = (
    (0x1F300, 0x1F5FF),
    (0x1F600, 0x1F64F),
    (0x1F680, 0x1F6C5),
    (0x1F90D, 0x1F9FF),
)  # things, faces, traffic, more
_PLAIN = "".join(chr(code) for first, last in _BLOCKS for code in range(first, last))
_COLOURED = "\u2600\u2601\u2602\u260e\u263a\u2665\u26a0\u2708\u270c\u2714\u2744\u2764\U0001f3d6"  # by U+FE0F
_HANDS = "\U0001f44b\U0001f44d\U0001f44f\U0001f64f\U0001f64c\U0001f4aa"
_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
_FLAGS = ("FR", "ES", "GB", "US", "DE", "IT", "MX", "CA", "BE", "CH", "AR", "JP", "BR", "EU")
_FAMILIES = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f469\u200d\U0001f4bb",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
)
_QUOTES = (('"{}"', '"{}"'), ('"{}"', "« {} »"), ('"{}"', "«{}»"), ("'{}'", "'{}'"))


def single_words(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield each word as it is and with a capital, as it stands alone, the common ones more often, and the shortest texts."""
    seen = Counter(word for english, _ in pairs for word in dict.fromkeys(words(english.lower())))
    common = {word for word, _ in seen.most_common(COMMON)}
    for pair in known.items():
        yield from _spellings(pair) * (COPIES if pair[0].lower() in common else 1)
    for pair in pairs:
        if max(len(side.split()) for side in pair) <= SHORTEST:
            yield pair
            english, other = (side.rstrip(".!") for side in pair)
            if (english, other) != pair and chance.random() < 0.5:
                yield english, other


def _spellings(pair: Pair) -> list[Pair]:
    """Return both sides as they are, and twice as they begin a line, which cuts a word into more pieces."""
    capital = (pair[0][0].upper() + pair[0][1:], pair[1][0].upper() + pair[1][1:])
    return [pair] if pair == capital else [pair, capital, capital]


def short_phrases(pairs: Collection[Pair], known: Lexicon, _: random.Random) -> Iterator[Pair]:
    """Yield phrases as they are and with a capital, without those that stay the same: copying is learnt soon enough."""
    for pair in phrases(pairs, known):
        if pair[0].lower() != pair[1].lower():
            yield from _spellings(pair)


def capitals(pairs: Collection[Pair], chance: random.Random) -> Iterator[Pair]:
    """Yield short texts in capitals, mostly without their full stop."""
    for english, other in pairs:
        if chance.random() < 0.7:
            english, other = (side.removesuffix(".") for side in (english, other))
        yield english.upper(), other.upper()


def emoji(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield texts with emoji before, behind or, after words that translate each other, inside; and emoji alone."""
    for english, other in pairs:
        sign = _emoji(chance) * chance.choice((1, 1, 1, 2, 3))
        place = chance.random()
        if place < 0.1:
            yield sign, sign
        elif place < 0.25:
            yield f"{sign} {english}", f"{sign} {other}"
        elif place < 0.6 and (inside := inserted((english, other), (sign, sign), known)):
            yield inside
        else:
            if chance.random() < 0.5:
                english, other = (side.removesuffix(".") for side in (english, other))
            yield f"{english} {sign}", f"{other} {sign}"


def _emoji(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.75:
        return chance.choice(_PLAIN)
    if kind < 0.85:
        return chance.choice(_COLOURED) + "\ufe0f"
    if kind < 0.92:
        return chance.choice(_HANDS) + chance.choice(_TONES)
    if kind < 0.97:
        return "".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in chance.choice(_FLAGS))
    return chance.choice(_FAMILIES)


def quotes(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield texts with some words of another text in quotation marks, which stay as they are."""
    before: Pair = ("carpe diem", "fair play")
    for pair in pairs:
        foreign = " ".join(words(chance.choice(before))[:3])
        before = pair
        style = chance.choice(_QUOTES)
        if foreign and (
            quoted := inserted(pair, (style[0].format(foreign), style[1].format(foreign)), known)
        ):
            yield quoted


def inserted(pair: Pair, signs: Pair, known: Lexicon) -> Pair | None:
    """Return both sides with something behind words that translate each other, if there are any."""
    sides = [{match.group().lower(): match.end() for match in matches} for matches in places(pair)]
    for english, end in sides[0].items():
        other = known.get(english, known.get(english.capitalize(), "")).lower()
        if other in sides[1]:
            ends = end, sides[1][other]
            first, second = (f"{s[:e]} {sign}{s[e:]}" for s, e, sign in zip(pair, ends, signs, strict=True))
            return first, second
    return None


Make = Callable[[random.Random], Iterator[Pair]]


def _of_everyday(pairs: Collection[Pair]) -> dict[str, Make]:
    known = lexicon(pairs)
    return {
        "words": partial(single_words, pairs, known),
        "capitals": partial(capitals, pairs),
        "emoji": partial(emoji, pairs, known),
        "quotes": partial(quotes, pairs, known),
    }


def _of_prose(pairs: Collection[Pair]) -> dict[str, Make]:
    known = lexicon(pairs)
    return {
        "phrases": partial(short_phrases, pairs, known),
        "proper-nouns": partial(proper_nouns, pairs, known),
    }


def _of_formal(pairs: Collection[Pair]) -> dict[str, Make]:
    return {"names": partial(names, pairs)}


@dataclass(frozen=True)
class Group:
    """Corpora that are made of the same texts."""

    kinds: tuple[str, ...]
    sources: tuple[str, ...]
    makers: Callable[[Collection[Pair]], Mapping[str, Make]]
    longest: int  # characters of a side
    most: int | None = None  # pairs of a source

    def texts(self, found: Mapping[str, Sequence[Path]], pair: str) -> list[Pair]:
        """Read what they are made of from the shards of a language pair."""
        read = (
            chain.from_iterable(map(read_pairs, found.get(f"{source}.{pair}", []))) for source in self.sources
        )
        return [
            text
            for of_source in read
            for text in islice((p for p in of_source if 0 < max(map(len, p)) <= self.longest), self.most)
        ]


GROUPS = (
    Group(("words", "capitals", "emoji", "quotes"), EVERYDAY, _of_everyday, longest=80),
    # To count all would take gigabytes.
    Group(("phrases", "proper-nouns"), PROSE, _of_prose, longest=120, most=80_000),
    Group(("names",), FORMAL, _of_formal, longest=200),
)
KINDS = tuple(kind for group in GROUPS for kind in group.kinds)


def derive(folder: Path, packed: Path, tokenizer: Tokenizer, threads: int) -> None:
    """Make the corpora of every language pair that has what they are made of; what is there already is kept.

    Raises:
        DataError: There is no shard at all, or one is broken.
    """
    found = shards(folder)
    for pair, group in product(sorted({name.partition(".")[2] for name in found}), GROUPS):
        missing = [
            kind
            for kind in group.kinds
            if f"{kind}.{pair}" not in found  # a corpus of that name is somebody's own
            and not is_packed(packed / f"{kind}.{pair}")
        ]
        texts = group.texts(found, pair) if missing else []
        if not texts:
            continue
        random.Random(0).shuffle(texts)
        makers = group.makers(texts)
        for kind in missing:
            made = islice(makers[kind](random.Random(kind)), PAIRS_OF_KIND)
            save_texts(packed / f"{kind}.{pair}", made, tokenizer, threads)


def main() -> None:
    """Make them of the training data; paths from DRAGOMAN_DATA and DRAGOMAN_RUNS."""
    packed = packed_folder()
    try:
        tokenizer = open_tokenizer(tokenizer_path())
        check_mark(packed, tokenizer_path())
        derive(data_folder() / "train", packed, tokenizer, os.cpu_count() or 1)
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
