"""Sentences with names, and the translations of those names: "European Economic Area", "Morocco".

Beside *lexicon*, for *derive*. A name is rare, and a network that has seldom seen it spells it or copies it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import product

from models.corpora.lexicon import LIGHT, PLAIN, SIGN, Lexicon, Pair, words

# Sentences with a name: fewer hold no institution, and with more one bank would be half of all.
LEAST_OF_NAME, MOST_OF_NAME = 5, 40
NAMES_ALONE = 8  # times that each comes without a sentence: short, so that they cost little
LONGEST_NAME, SURE_DICE = 6, 0.7  # words of what a name becomes; of the two
SHORT = 4  # letters of a common word that what a name becomes neither begins nor ends with

# In English, where names have capitals, and whole: "Hillary Clinton" of "Secretary of State Hillary Clinton" is none.
_NAME = re.compile(r"(?<!\bof )(?<!-)\b(?!The )(?:[A-Z][a-z]+ ){2,}[A-Z][a-z]+\b")
_GOES_ON = re.compile(r"[ -]\w+|")  # what follows a name


def names(pairs: Collection[Pair], _: random.Random) -> Iterator[Pair]:
    """Yield names of three words or more, not too rare, that are others in the other language, and texts with them."""
    named = [{name for name in _NAME.findall(english) if name not in other} for english, other in pairs]
    there_are = Counter(name for found in named for name in found)
    left = {name: MOST_OF_NAME for name, count in there_are.items() if count >= LEAST_OF_NAME}
    texts = [(left.keys() & found, pair) for found, pair in zip(named, pairs, strict=True)]
    whole = _whole_names(pair[0] for found, pair in texts if found)
    alone = renamed([(found & whole, other) for found, (_, other) in texts if found])
    yield from list(alone.items()) * NAMES_ALONE
    for found, pair in texts:
        if any(left[name] > 0 for name in found):
            left |= {name: left[name] - 1 for name in found}
            yield pair


def _whole_names(texts: Iterable[str]) -> set[str]:
    """Return names that different words follow; always the same one is part of the name ("Ban Ki-moon"), or of a form."""
    followed: dict[str, set[str]] = {}
    for text in texts:
        for match in _NAME.finditer(text):
            after = _GOES_ON.match(text, match.end())
            followed.setdefault(match.group(), set()).add(after.group() if after else "")
    return {name for name, different in followed.items() if len(different) > 1}


def proper_nouns(pairs: Collection[Pair], known: Lexicon, _: random.Random) -> Iterator[Pair]:
    """Yield texts with a word in capitals that is another word in the other language, and is that word there."""
    others = {e: o.lower() for e, o in known.items() if e[0].isupper() and e.lower() != o.lower()}
    left = dict.fromkeys(others, MOST_OF_NAME)
    for pair in pairs:
        english, other = set(words(pair[0])), set(words(pair[1].lower()))
        found = [word for word in english & others.keys() if others[word] in other]
        if any(left[word] > 0 for word in found):
            left |= {word: left[word] - 1 for word in found}
            yield pair


def renamed(texts: Sequence[tuple[Collection[str], str]]) -> Lexicon:
    """Return names and what they become: the run of words that goes best along with each by Dice's coefficient.

    Args:
        texts: The names in an English text, and the text in the other language.
    """
    common = Counter(word for _, other in texts for word in words(other.lower())).most_common(LIGHT)
    light = {word for word, _ in common if len(word) <= SHORT}  # "europeo" is common there, and part of names
    spelt: Counter[str] = Counter()
    seen: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    together: Counter[Pair] = Counter()
    for names, other in texts:
        found = list(dict.fromkeys(_runs(other, light)))
        runs = {run.lower() for run in found}
        spelt.update(found)
        seen[0].update(names)
        seen[1].update(runs)
        together.update(product(names, runs))
    best: dict[str, tuple[float, int, str]] = {}
    for (name, run), count in together.items():
        dice = 2 * count / (seen[0][name] + seen[1][run])
        if dice >= SURE_DICE and run.count(" ") >= name.count(" "):
            # Of those that always occur together the longest is the whole name.
            best[name] = max(best.get(name, (0.0, 0, "")), (dice, len(run), run))
    usual = {run.lower(): run for run, _ in reversed(spelt.most_common())}
    return {name: usual[run] for name, (_, _, run) in sorted(best.items())}


def _runs(text: str, light: set[str]) -> Iterator[str]:
    found = list(SIGN.finditer(text))
    for first, length in product(range(len(found)), range(2, LONGEST_NAME + 1)):
        last = first + length - 1
        if last < len(found) and all(
            len(end) > 1 and end not in light
            for end in (found[first].group().lower(), found[last].group().lower())
        ):
            run = text[found[first].start() : found[last].end()]
            if PLAIN.fullmatch(run):
                yield run
