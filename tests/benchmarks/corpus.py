"""What the engines are given: development sentences in four directions, short ones and long ones.

From the folder of `models.paths.data_folder`; the same seed gives the same sentences in the same order.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from dragoman.text.normalize import normalize
from dragoman.text.preprocessing import target_token_limit
from dragoman.text.sentences import split_sentences
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from models.paths import data_folder

DIRECTIONS = (("en", "fr"), ("fr", "en"), ("en", "es"), ("es", "en"))
SETS = {"en": 3, "fr": 3, "es": 2}  # how many of `NAMES` a language has
NAMES = ("newstest2012", "flores200-dev", "multi30k-val")
MAX_SOURCE_TOKENS = 160  # of a sentence that the server does not cut; with tag and end


@dataclass(frozen=True)
class Text:
    """A sentence as a caller sends it."""

    source: str
    target: str
    text: str


@dataclass(frozen=True)
class Sentence:
    """A sentence as an engine takes it.

    Attributes:
        ids: Tag, pieces, end.
        limit: Target pieces, at most; as our server has it.
    """

    ids: list[int]
    limit: int


def texts(count: int, seed: int = 1) -> list[Text]:
    """Draw single sentences, a quarter for each direction, mixed.

    Raises:
        ValueError: There are not so many.
    """
    chosen = random.Random(seed)
    found: list[Text] = []
    for number, (source, target) in enumerate(DIRECTIONS):
        wanted = (count + number) // len(DIRECTIONS)
        lines = _lines(source)
        if wanted > len(lines):
            raise ValueError(f"{wanted} sentences in {source} wanted, {len(lines)} here")
        found += [Text(source, target, line) for line in chosen.sample(lines, wanted)]
    chosen.shuffle(found)
    return found


def encode(given: list[Text], tokenizer: Tokenizer) -> list[Sentence]:
    """Return the sentences as an engine takes them."""
    encoded = tokenizer.encode_batch([normalize(one.text) for one in given])
    found = [
        [tokenizer.tag_id(one.target), *ids[: MAX_SOURCE_TOKENS - 2], EOS_ID]
        for one, ids in zip(given, encoded, strict=True)
    ]
    return [Sentence(ids, target_token_limit(len(ids))) for ids in found]


@cache
def _lines(language: str) -> list[str]:
    """Return the lines of all sets that are one sentence each."""
    lines: list[str] = []
    for name in NAMES[: SETS[language]]:
        path = data_folder() / "dev" / f"{name}.{language}"
        lines += path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [line for line in lines if len(split_sentences(line, language)) == 1]
