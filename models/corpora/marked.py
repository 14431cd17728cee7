"""Texts with the marks that only our own code writes: placeholders to be copied, terms to be used.

For *typed*. A placeholder stands where both sides say the same, behind words that translate each other, around them, or at
an end; a term stands behind the word that it is the translation of, on the side that is read.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from dragoman.text.tokenizer import PLACEHOLDERS, TERM_BEGIN, TERM_END
from models.corpora.lexicon import Lexicon, Pair, places

MOST = 5  # placeholders of a text
_SAME = re.compile(
    r"https?://\S+|[\w.+-]+@[\w.-]+\w|\{\w+\}|%\w\b|`[^`]+`|\w*\d[\w.,:/-]*\w|\d|\b[A-Z]\w+|\w+[_.]\w+"
)
_Edit = tuple[int, int, str]  # from, to, what is written there

STRANGE = 0.25  # of the terms are words that the text does not expect: only who reads them knows them
RARE = 3_000  # words beyond the commonest are those that glossaries have


def placeholders(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield texts with one to `MOST` placeholders, each on both sides, and placeholders alone."""
    for pair in pairs:
        kind = chance.random()
        if kind < 0.03:
            sign = "".join(_numbered(chance, 1))
            yield sign, sign
            continue
        edits = _replaced(pair, chance) if kind < 0.4 else []
        edits += _beside(pair, known, chance, around=kind > 0.75) if not edits or kind < 0.2 else []
        edits += _at_ends(pair, chance) if not edits or chance.random() < 0.15 else []
        edits = _apart(edits)[:MOST]
        yield _written(pair, edits, chance)


Both = tuple[
    _Edit, _Edit
]  # what happens on both sides; "\0" is where a placeholder is written, twice for a pair around


def _replaced(pair: Pair, chance: random.Random) -> list[Both]:
    """Return the strings that are once on each side, as what placeholders may stand for."""
    sides = [list(_SAME.finditer(side)) for side in pair]
    counts = [Counter(match.group() for match in side) for side in sides]
    at = [{match.group(): match.span() for match in side} for side in sides]
    same = [text for text in counts[0] if counts[0][text] == counts[1][text] == 1]
    kept = [text for text in same if chance.random() < 0.8]
    return [((*at[0][text], "\0"), (*at[1][text], "\0")) for text in kept]


def _translated(pair: Pair, known: Lexicon) -> list[tuple[re.Match[str], re.Match[str]]]:
    """Return the words of both sides that translate each other and occur once."""
    sides = places(pair)
    counts = [Counter(match.group().lower() for match in side) for side in sides]
    of_other = {match.group().lower(): match for match in sides[1]}
    found = []
    for match in sides[0]:
        word = match.group().lower()
        other = known.get(word, known.get(word.capitalize(), "")).lower()
        if counts[0][word] == 1 and counts[1][other] == 1:
            found.append((match, of_other[other]))
    return found


def _beside(pair: Pair, known: Lexicon, chance: random.Random, *, around: bool) -> list[Both]:
    """Return placeholders behind, or pairs of them around, words that translate each other."""
    words = _translated(pair, known)
    chosen = chance.sample(words, min(len(words), chance.choice((1, 1, 2, 3))))
    if around:
        return [
            (
                (*first.span(), f"\0{first.group()}\0"),
                (*second.span(), f"\0{second.group()}\0"),
            )
            for first, second in chosen[:2]
        ]
    gap = chance.choice((" ", " ", " ", "", " ("))
    sign = f"{gap}\0" + (")" if gap == " (" else "")
    return [
        ((first.end(), first.end(), sign), (second.end(), second.end(), sign)) for first, second in chosen
    ]


def _at_ends(pair: Pair, chance: random.Random) -> list[Both]:
    if chance.random() < 0.5:
        sign = chance.choice(("\0 ", "\0 ", "\0: ", "\0"))
        return [((0, 0, sign), (0, 0, sign))]
    sign = chance.choice((" \0", " \0", ": \0", "\0"))
    bare = [len(side.rstrip(".!?")) for side in pair] if sign == " \0" else [len(side) for side in pair]
    return [((bare[0], bare[0], sign), (bare[1], bare[1], sign))]


def _apart(edits: list[Both]) -> list[Both]:
    """Return the edits that touch no one before them, on either side."""
    kept: list[Both] = []
    for edit in edits:
        if all(
            edit[side][0] > other[side][1] or edit[side][1] < other[side][0]
            for other in kept
            for side in (0, 1)
        ):
            kept.append(edit)
    return kept


def _numbered(chance: random.Random, count: int) -> Sequence[str]:
    """Return placeholders in their order, sometimes in any."""
    signs = list(PLACEHOLDERS)
    if chance.random() < 0.3:
        chance.shuffle(signs)
    return signs[:count]


def _written(pair: Pair, edits: list[Both], chance: random.Random) -> Pair:
    """Return both sides with the edits made, placeholders counted in the order of the first side."""
    edits = sorted(edits, key=lambda edit: edit[0][:2])
    signs = iter(_numbered(chance, 2 * len(edits)))
    sides = list(pair)
    numbered = []
    for first, second in edits:
        for _ in range(first[2].count("\0")):
            sign = next(signs)
            first = (first[0], first[1], first[2].replace("\0", sign, 1))
            second = (second[0], second[1], second[2].replace("\0", sign, 1))
        numbered.append((first, second))
    for side in (0, 1):
        for start, end, text in sorted((edit[side] for edit in numbered), reverse=True):
            sides[side] = sides[side][:start] + text + sides[side][end:]
    return sides[0], sides[1]


def glossary(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield texts in which one or two words carry their term; what is read is the first side.

    Most terms are what the other side says, or the form that the lexicon has of it; a part is a stranger put there, and
    only who reads the mark can know it.
    """
    seen = Counter(word.group().lower() for pair in pairs for word in places(pair)[0])
    common = {word for word, _ in seen.most_common(RARE)}
    strangers = [other for english, other in known.items() if english.lower() not in common]
    for pair in pairs:
        words = _translated(pair, known)
        rare = [match for match in words if match[0].group().lower() not in common] or words
        if not rare:
            continue
        edits: list[Both] = []
        for first, second in chance.sample(rare, min(len(rare), chance.choice((1, 1, 2)))):
            written = second.group()
            if strangers and chance.random() < STRANGE:
                written = chance.choice(strangers)
            marked = f"{first.group()}{TERM_BEGIN} {_entry(written, chance)}{TERM_END}"
            edits.append(((*first.span(), marked), (*second.span(), written)))
        yield _written(pair, _apart(edits), chance)


def _entry(written: str, chance: random.Random) -> str:
    """Return a term as a glossary has it: seldom with the capital that begins a sentence."""
    return written.lower() if written.istitle() and chance.random() < 0.3 else written
