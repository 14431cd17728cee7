"""Which words, and which runs of words, translate each other: by counting, without an aligner.

What *derive* makes single words and short phrases of. Less exact than eflomal's links, and enough: what a text
seldom says is not needed here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

Pair = tuple[str, str]  # English, other
Lexicon = dict[str, str]  # English words, and what they become

LEAST_COUNT, LEAST_DICE = 4, 0.3  # of two words that translate each other
NEARLY_BEST = 0.6  # "casa" is "house" and "home"
LIGHT = 60  # the most common words: a phrase neither begins nor ends with one
LENGTHS, WIDER = (2, 3), 2  # English words of a phrase, and by how many its translation may have more
LEAST_SEEN, MOSTLY = 2, 0.5  # of a phrase, and the part of each side's occurrences it must be

_CONTRACTION = re.compile(r"\w+['’]\w+")  # "don't" is no word to look up
_ELISION = re.compile(r"\b\w{1,2}['’]|\w+['’]\w+")  # "l'eau" is "eau"
_WORD = re.compile(r"[^\W\d_]{2,}")
SIGN = re.compile(r"[^\W\d_]+|\S")  # a word, or a mark between words
PLAIN = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)+")  # words, and nothing between them


def words(text: str) -> list[str]:
    """Return the words of a text, of two letters or more."""
    return _WORD.findall(text)


def places(pair: Pair) -> tuple[list[re.Match[str]], list[re.Match[str]]]:
    """Return the words of both sides, in place, without what an apostrophe cuts off."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match.group())

    english, other = _CONTRACTION.sub(blank, pair[0]), _ELISION.sub(blank, pair[1])
    return list(_WORD.finditer(english)), list(_WORD.finditer(other))


def lexicon(pairs: Iterable[Pair]) -> Lexicon:
    """Return words and what they become: the best by Dice's coefficient, if they are nearly its best too."""
    seen: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    names: Counter[str] = Counter()  # capital letter although not at the beginning
    together: Counter[Pair] = Counter()
    for pair in pairs:
        found = [[match.group() for match in matches] for matches in places(pair)]
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


def _spelt(word: str, names: Counter[str], seen: Counter[str]) -> str:
    return word.capitalize() if 2 * names[word] > seen[word] else word


def phrases(pairs: Collection[Pair], known: Lexicon) -> Iterator[Pair]:
    """Yield runs of words that translate each other, the most common first.

    A run goes along with the span of its words' translations if that holds no other word's (consistent pairs;
    Koehn, Och and Marcu, 2003). Kept is what each side mostly becomes.
    """
    becomes = {english.lower(): other.lower() for english, other in known.items()}
    seen = Counter(word.lower() for english, _ in pairs for word in words(english))
    for word, _ in seen.most_common(LIGHT):
        becomes.pop(word, None)
    found = Counter(phrase for pair in pairs for phrase in _consistent(pair, becomes))
    sides: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for phrase, count in found.items():
        for side, text in zip(sides, phrase, strict=True):
            side[text] += count
    for phrase, count in found.most_common():
        if count < LEAST_SEEN:
            return
        if all(count >= MOSTLY * side[text] for side, text in zip(sides, phrase, strict=True)):
            yield phrase


def _consistent(pair: Pair, becomes: Lexicon) -> Iterator[Pair]:
    english, other = (list(SIGN.finditer(side)) for side in pair)
    at: dict[str, list[int]] = {}
    for place, match in enumerate(other):
        at.setdefault(match.group().lower(), []).append(place)
    partners = [at.get(becomes.get(match.group().lower(), ""), []) for match in english]
    # Of two there is no telling which.
    partner = [found[0] if len(found) == 1 else None for found in partners]
    for length in LENGTHS:
        for start in range(len(english) - length + 1):
            end = start + length
            if partner[start] is None or partner[end - 1] is None:
                continue
            reached = [there for there in partner[start:end] if there is not None]
            first, last = min(reached), max(reached)
            outside = partner[:start] + partner[end:]
            foreign = any(there is not None and first <= there <= last for there in outside)
            if foreign or last - first + 1 > length + WIDER:
                continue
            phrase = (
                pair[0][english[start].start() : english[end - 1].end()],
                pair[1][other[first].start() : other[last].end()],
            )
            if all(PLAIN.fullmatch(side) for side in phrase):
                yield phrase
