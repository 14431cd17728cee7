"""Corpora of what users type, made of well-written texts: `python -m models.corpora.typed`.

After *derive* and *joined*. In both directions, as other corpora: `signs`, `numbers` (in words), `people` (with names
that are words, or have foreign letters), `placeholders`. In one direction, since nobody wants them written: `typed.en2fr`
reads slips, chat, Title Case and run-on lines, `glossary.en2fr` reads given terms, `kept.fr2fr` reads what is French already,
and what is the same in all languages. The same shards give the same corpora.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path

from num2words import num2words

from dragoman.text.tokenizer import Tokenizer
from models.corpora import joined, marked, noise, things
from models.corpora.derive import PAIRS_OF_KIND, inserted
from models.corpora.lexicon import Lexicon, Pair, lexicon
from models.corpora.packing import (
    DataError,
    Packed,
    check_mark,
    is_packed,
    open_tokenizer,
    read_pairs,
    save_texts,
    shards,
)
from models.paths import data_folder, packed_folder, tokenizer_path

SOURCES = (
    "tatoeba",
    "news",
    "web",
    "terms",
    "msdocs",
    "manuals",
    "newscommentary",
    "europarl",
    "civic",
    "textbooks",
)
FROM_SOURCE, LONGEST = 60_000, 160  # pairs of a source, characters of a side
COUNTED = 80_000  # pairs of which words are counted: all would take gigabytes
KINDS = ("signs", "numbers", "people", "placeholders", "typed", "glossary", "kept")
PAIRS = ("en-fr", "en-es", "es-fr")
_AND = {"en": ("and", "but"), "fr": ("et", "mais"), "es": ("y", "pero")}
_NUMBER = re.compile(r"(?<![\w.,:/$€£%-])\d{1,6}(?![\w.,:/$€£%-]|\s*[%€$])")
_STRANGER = re.compile(r"\b(?:Tom|Mary|Marie|María|John|Jean|Juan)\b")
_WORDS_THAT_NAME = (
    "Faith Joy Violet Daisy Lily Dawn Sky Penny Ruby Pearl Jade Holly Chase Hunter Mason Baker Cook Rich Art "
    "Frank Mark Bill Jack Will Miles Dean Chuck Pat Sandy Rusty Rocky Cliff Forest Brook Heather Melody Harmony Destiny Chance "
    "Pierre Rose Marguerite Blanche Violette Prudence Constant Juste Claire Fleur Capucine Olive Legrand Boulanger Leblanc "
    "Lenoir Roux Fontaine Dubois Moulin Berger Marchand Chevalier Mercier Lemaire Leroy Poirier Chapelle Rivière Lefort "
    "Rosa Dolores Consuelo Paz Luz Mercedes Pilar Soledad Salvador Domingo Cruz Reyes Flores Iglesias Herrero Guerrero "
    "Delgado Moreno Rubio Calvo Zapatero Mercado Cabello Blanco Montes Pastor Prado Ríos Campos Casas Puente Torres Nieves Mar"
)
_NAMES = tuple(_WORDS_THAT_NAME.split())

Make = Callable[[random.Random], Iterator[Pair]]


def typed(pairs: Collection[Pair], languages: Pair, chance: random.Random) -> Iterator[Pair]:
    """Yield what somebody in a hurry wrote, and its translation: well written, but no better dressed than it must be."""
    before: Pair | None = None
    for pair in pairs:
        text, other = pair
        kind = chance.random()
        if kind < 0.30:
            yield noise.misspelt(text, chance), other
        elif kind < 0.50:
            yield noise.chatty(text, languages[0], chance), other
        elif kind < 0.60:
            yield tuple(map(_small, pair))  # type: ignore[misc]
        elif kind < 0.75:
            yield noise.titled(text, languages[0], chance), other.removesuffix(".")
        elif kind < 0.85:
            plain = noise.without_accents(text).replace("'", "" if chance.random() < 0.5 else "'")
            yield (plain, other) if plain != text else (noise.misspelt(text, chance), other)
        elif before is not None:
            yield _run_on((before, pair), languages, chance)
        before = pair


def _small(text: str) -> str:
    """Return a text as one that begins without a capital and ends without a stop."""
    bare = text.removesuffix(".")
    return bare[:1].lower() + bare[1:] if bare[1:2].islower() or bare[1:2] == " " else bare


def _run_on(two: tuple[Pair, Pair], languages: Pair, chance: random.Random) -> Pair:
    """Return two texts in one, in small letters and without marks between."""
    joint = chance.choice((0, 0, 1, None))
    sides = []
    for side in (0, 1):
        first, second = (_small(pair[side].rstrip(".!?")).strip("¡¿ ") for pair in two)
        word = "" if joint is None else f"{_AND[languages[side]][joint]} "
        sides.append(f"{first} {word}{second}")
    return noise.without_accents(sides[0]) if chance.random() < 0.2 else sides[0].replace(",", ""), sides[1]


def kept(texts: Iterable[str], chance: random.Random) -> Iterator[Pair]:
    """Yield texts that need no translation: of the target language, in no language, or in another script."""
    for text in texts:
        kind = chance.random()
        if kind < 0.65:
            yield text, text
        elif kind < 0.75:
            foreign = things.foreign_text(chance)
            yield foreign, foreign
        elif kind < 0.9:
            some = " ".join(things.thing(chance) for _ in range(chance.choice((2, 2, 3))))
            yield some, some
        else:
            some = str(chance.randint(1_000, 10 ** chance.randint(4, 8)))
            yield some, some


def signs(pairs: Collection[Pair], known: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield texts with something to be copied: at an end, behind words that translate each other, in brackets."""
    entries = list(known.items())
    for pair in pairs:
        some, kind = things.thing(chance), chance.random()
        if kind < 0.15:
            yield f"{some} {pair[0]}", f"{some} {pair[1]}"
        elif kind < 0.35:
            first, second = (side.removesuffix(".") for side in pair)
            yield f"{first} {some}", f"{second} {some}"
        elif kind < 0.5 and entries:
            first, second = chance.choice(entries)
            left, right = chance.choice(("()", "()", "[]"))
            yield (
                f"{pair[0].removesuffix('.')} {left}{first}{right}",
                f"{pair[1].removesuffix('.')} {left}{second}{right}",
            )
        elif found := inserted(pair, (some, some), known):
            yield found


def numbers(pairs: Collection[Pair], languages: Pair, chance: random.Random) -> Iterator[Pair]:
    """Yield texts with their only number in words, often another number than they had; and numbers alone."""
    for pair in pairs:
        found = [list(_NUMBER.finditer(side)) for side in pair]
        if all(len(side) == 1 for side in found) and found[0][0].group() == found[1][0].group():
            sides = [
                (side[: match.start()], side[match.end() :])
                for side, (match,) in zip(pair, found, strict=True)
            ]
            for _ in range(3):
                said = _both(_any(chance), languages)
                yield tuple(
                    _begun(f"{before}{word}{after}")
                    for (before, after), word in zip(sides, said, strict=True)
                )  # type: ignore[misc]
        elif chance.random() < 0.02:
            said = _both(_any(chance), languages)
            yield said[0], said[1]


def _any(chance: random.Random) -> int:
    """Return a number whose word no gender changes, small ones more often."""
    number = chance.choice(
        (chance.randint(2, 20), chance.randint(21, 99), chance.randint(21, 99), 10 * chance.randint(2, 9),
         100 * chance.randint(1, 9), 1000 * chance.randint(1, 99), chance.randint(101, 999))
    )  # fmt: skip
    return number + 1 if number % 10 == 1 and number % 100 != 11 else number


def _both(number: int, languages: Pair) -> list[str]:
    return [_said(number, language) for language in languages]


def _said(number: int, language: str) -> str:
    return str(num2words(number, lang=language))


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def people(pairs: Collection[Pair], _: Lexicon, chance: random.Random) -> Iterator[Pair]:
    """Yield texts about Tom and Mary, called by names that are words or have foreign letters."""
    for pair in pairs:
        found = [set(_STRANGER.findall(side)) for side in pair]
        if len(found[0]) == len(found[1]) == 1:
            name = _name(chance)
            yield tuple(_STRANGER.sub(name, side) for side in pair)  # type: ignore[misc]


def _name(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.35:
        return things.foreign_name(chance)
    first, last = chance.choice(_NAMES), chance.choice(_NAMES)
    return first if kind < 0.75 else f"{first} {last}"


def read(found: Mapping[str, Sequence[Path]], packed: Path, tokenizer: Tokenizer, pair: str) -> list[Pair]:
    """Return short texts of a language pair, well mixed; of Spanish and French those that were joined."""
    texts: Iterable[Pair]
    if pair == joined.NAME.partition(".")[2]:
        corpus = Packed.open(packed / joined.NAME)
        texts = (tuple(map(tokenizer.decode_text, corpus.pair(i))) for i in range(len(corpus)))  # type: ignore[misc]
    else:
        texts = chain.from_iterable(
            islice(chain.from_iterable(map(read_pairs, found.get(f"{source}.{pair}", ()))), FROM_SOURCE)
            for source in SOURCES
        )
    fitting = [text for text in texts if 0 < max(map(len, text)) <= LONGEST and min(map(len, text)) > 1]
    random.Random(pair).shuffle(fitting)
    return fitting


def makers(pairs: list[Pair], pair: str) -> dict[str, Make]:
    """Return what makes each corpus of a language pair, by its name."""
    first, _, second = pair.partition("-")
    backwards = [(other, text) for text, other in pairs]
    known = lexicon(pairs[:COUNTED])
    reverse = {other: text for text, other in known.items()}
    return {
        f"signs.{pair}": partial(signs, pairs, known),
        f"numbers.{pair}": partial(numbers, pairs, (first, second)),
        f"people.{pair}": partial(people, pairs, known),
        f"placeholders.{pair}": partial(marked.placeholders, pairs, known),
        f"typed.{first}2{second}": partial(typed, pairs, (first, second)),
        f"typed.{second}2{first}": partial(typed, backwards, (second, first)),
        f"glossary.{first}2{second}": partial(marked.glossary, pairs, known),
        f"glossary.{second}2{first}": partial(marked.glossary, backwards, reverse),
        f"kept.{second}2{second}": partial(kept, [other for _, other in pairs]),
        f"kept.{first}2{first}": partial(kept, [text for text, _ in pairs]),
    }


def make(folder: Path, packed: Path, tokenizer: Tokenizer, threads: int) -> None:
    """Make the corpora of every language pair; what is there already is kept.

    Raises:
        DataError: There is no shard at all, or one is broken, or the tokenizer has no pieces for placeholders.
    """
    if not tokenizer.has_marks:
        raise DataError("the tokenizer has no reserved pieces, run `python -m models.corpora.tokenizer`")
    found = shards(folder)
    for pair in PAIRS:
        pairs = read(found, packed, tokenizer, pair)
        for name, maker in (makers(pairs, pair) if pairs else {}).items():
            if name not in found and not is_packed(packed / name):
                made = islice(maker(random.Random(name)), PAIRS_OF_KIND)
                save_texts(packed / name, made, tokenizer, threads, marked=True)


def main() -> None:
    """Make them of the training data; paths from DRAGOMAN_DATA and DRAGOMAN_RUNS."""
    packed = packed_folder()
    try:
        tokenizer = open_tokenizer(tokenizer_path())
        check_mark(packed, tokenizer_path())
        make(data_folder() / "train", packed, tokenizer, os.cpu_count() or 1)
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
