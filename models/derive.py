"""Corpora of what texts hold too little of, made from those they hold: `python -m models.derive`.

After *data*, beside *links*. People type single words, lines in capitals and emoji; parliaments hardly do. Four
small corpora are packed beside the others, for each language pair: `words`, `capitals`, `emoji` and `quotes`. A
fifth, `names`, has the sentences in which "European Economic Area" and its like are translated, each name seldom.
Nothing is drawn by the clock: the same shards give the same corpora.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice, product
from pathlib import Path

from models.data import (
    MAX_TOKENS,
    DataError,
    check_mark,
    is_usable,
    open_tokenizer,
    read_pairs,
    save_pairs,
    shards,
)
from models.paths import data_folder, runs_folder, tokenizer_path
from service.text.normalize import normalize
from service.text.tokenizer import Tokenizer

EVERYDAY = ("tatoeba", "news", "terms")  # manuals would teach the names of functions
# What has names of institutions.
FORMAL = ("europarl", "europarl-more", "newscommentary", "news", "un", "terms")
MAX_CHARACTERS, MAX_NAMED_CHARACTERS = 80, 200  # of a side that something is made of
# Sentences with a name: fewer hold no institution, and with more one bank would be half of all.
LEAST_OF_NAME, MOST_OF_NAME = 5, 40
SHORTEST = 3  # words, of texts that are to be seen more often
LEAST_COUNT, LEAST_DICE = 4, 0.3  # of two words that translate each other
NEARLY_BEST = 0.6  # "casa" is "house" and "home"
PAIRS_OF_KIND = 50_000
COMMON, COPIES = 2_000, 4  # of the words, which are what people type first
Pair = tuple[str, str]  # English, other
Lexicon = dict[str, str]

_CONTRACTION = re.compile(r"\w+['’]\w+")  # "don't" is no word to look up
_ELISION = re.compile(r"\b\w{1,2}['’]|\w+['’]\w+")  # "l'eau" is "eau"
_WORD = re.compile(r"[^\W\d_]{2,}")
_NAME = re.compile(r"\b(?!The )(?:[A-Z][a-z]+ ){2,}[A-Z][a-z]+\b")  # in English, where they have capitals
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


def lexicon(pairs: Iterable[Pair]) -> Lexicon:
    """Return English words and what they become: the best by Dice's coefficient, if they are nearly its best too."""
    seen: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    names: Counter[str] = Counter()  # capital letter although not at the beginning
    together: Counter[Pair] = Counter()
    for pair in pairs:
        found = [[match.group() for match in matches] for matches in _words(pair)]
        english, other = ({word.lower() for word in of_side} for of_side in found)
        seen[0].update(english)
        seen[1].update(other)
        names.update({word.lower() for of_side in found for word in of_side[1:] if word[0].isupper()})
        together.update((e, o) for e in english for o in other)
    dice = {
        pair: 2 * count / (seen[0][pair[0]] + seen[1][pair[1]])
        for pair, count in together.items()
        if count >= LEAST_COUNT
    }
    best: tuple[dict[str, Pair], dict[str, Pair]] = {}, {}
    for pair in sorted(dice, key=lambda pair: (dice[pair], pair)):
        best[0][pair[0]] = best[1][pair[1]] = pair
    return {
        _spelt(e, names, seen[0]): _spelt(o, names, seen[1])
        for e, o in best[0].values()
        if dice[e, o] >= max(LEAST_DICE, NEARLY_BEST * dice[best[1][o]])
    }


def _words(pair: Pair) -> tuple[list[re.Match[str]], list[re.Match[str]]]:
    """Return the words of both sides, in place, without what an apostrophe cuts off."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match.group())

    english, other = _CONTRACTION.sub(blank, pair[0]), _ELISION.sub(blank, pair[1])
    return list(_WORD.finditer(english)), list(_WORD.finditer(other))


def _spelt(word: str, names: Counter[str], seen: Counter[str]) -> str:
    return word.capitalize() if 2 * names[word] > seen[word] else word


def words(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield each word as it is and with a capital, as it stands alone, the common ones more often, and the shortest texts."""
    seen = Counter(word for english, _ in pairs for word in set(_WORD.findall(english.lower())))
    common = {word for word, _ in seen.most_common(COMMON)}
    for english, other in known.items():
        spellings = {(english, other), (english.capitalize(), other.capitalize())}
        yield from sorted(spellings) * (COPIES if english.lower() in common else 1)
    for pair in pairs:
        if max(len(side.split()) for side in pair) <= SHORTEST:
            yield pair
            english, other = (side.rstrip(".!") for side in pair)
            if (english, other) != pair and chance.random() < 0.5:
                yield english, other


def capitals(pairs: Collection[Pair], _: Lexicon, chance: random.Random) -> Iterator[Pair]:
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
        elif place < 0.6 and (inside := _inserted((english, other), (sign, sign), known)):
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
        foreign = " ".join(_WORD.findall(chance.choice(before))[:3])
        before = pair
        style = chance.choice(_QUOTES)
        if foreign and (
            quoted := _inserted(pair, (style[0].format(foreign), style[1].format(foreign)), known)
        ):
            yield quoted


def _inserted(pair: Pair, signs: Pair, known: Lexicon) -> Pair | None:
    """Return both sides with something behind words that translate each other, if there are any."""
    sides = [{match.group().lower(): match.end() for match in matches} for matches in _words(pair)]
    for english, end in sides[0].items():
        other = known.get(english, known.get(english.capitalize(), "")).lower()
        if other in sides[1]:
            ends = end, sides[1][other]
            first, second = (f"{s[:e]} {sign}{s[e:]}" for s, e, sign in zip(pair, ends, signs, strict=True))
            return first, second
    return None


def names(pairs: Collection[Pair], _: Lexicon, __: random.Random) -> Iterator[Pair]:
    """Yield texts with a name of three words or more, not too rare, that is another in the other language."""
    named = [{name for name in _NAME.findall(english) if name not in other} for english, other in pairs]
    there_are = Counter(name for found in named for name in found)
    left = {name: MOST_OF_NAME for name, count in there_are.items() if count >= LEAST_OF_NAME}
    for pair, found in zip(pairs, named, strict=True):
        if any(left.get(name, 0) > 0 for name in found):
            left |= {name: left.get(name, 0) - 1 for name in found}
            yield pair


Make = Callable[[Collection[Pair], Lexicon, random.Random], Iterator[Pair]]
OF_EVERYDAY: dict[str, Make] = {"words": words, "capitals": capitals, "emoji": emoji, "quotes": quotes}
OF_FORMAL: dict[str, Make] = {"names": names}
KINDS = OF_EVERYDAY | OF_FORMAL


def derive(folder: Path, packed: Path, tokenizer: Tokenizer, threads: int) -> None:
    """Make all five corpora of every language pair that has what they are made of; what is there already is kept.

    Raises:
        DataError: There is no shard at all, or one is broken.
    """
    found = shards(folder)
    made_of = ((OF_EVERYDAY, EVERYDAY, MAX_CHARACTERS), (OF_FORMAL, FORMAL, MAX_NAMED_CHARACTERS))
    for pair, (kinds, sources, longest) in product(
        sorted({name.partition(".")[2] for name in found}), made_of
    ):
        paths = [path for source in sources for path in found.get(f"{source}.{pair}", [])]
        missing = [
            kind for kind in kinds if f"{kind}.{pair}" not in found
        ]  # a corpus of that name is somebody's own
        missing = [kind for kind in missing if not (packed / f"{kind}.{pair}" / "other_offsets.npy").exists()]
        if not paths or not missing:
            continue
        short = [p for path in paths for p in read_pairs(path) if 0 < max(map(len, p)) <= longest]
        random.Random(0).shuffle(short)
        known = lexicon(short) if kinds is OF_EVERYDAY else {}
        for kind in missing:
            made = islice(kinds[kind](short, known, random.Random(kind)), PAIRS_OF_KIND)
            _save(packed / f"{kind}.{pair}", list(made), tokenizer, threads)


def _save(folder: Path, pairs: list[Pair], tokenizer: Tokenizer, threads: int) -> None:
    """Pack what was made, as a model will be given it; nothing at all is no corpus."""
    english, other = (
        tokenizer.encode_batch([normalize(pair[side]) for pair in pairs], threads) for side in (0, 1)
    )
    usable = [
        pair for pair in zip(english, other, strict=True) if is_usable(len(pair[0]), len(pair[1]), MAX_TOKENS)
    ]
    if usable:
        save_pairs(folder, usable)
        print(f"{folder.name}: {len(usable):,} pairs", flush=True)


def main() -> None:
    """Make them of the training data; paths from DRAGOMAN_DATA and DRAGOMAN_RUNS."""
    packed = runs_folder() / "packed"
    try:
        tokenizer = open_tokenizer(tokenizer_path())
        check_mark(packed, tokenizer_path())
        derive(data_folder() / "train", packed, tokenizer, os.cpu_count() or 1)
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
