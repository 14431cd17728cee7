"""Expectations that a program can check in a translation: odd inputs, nouns and adjectives that swap places.

Below *cases*, which runs the inputs through the engine. The inputs and what is expected of them stand in
`tests/models/evaluation/`, one JSON object a line.

    odd_inputs.jsonl   kind, pair, text, and any of
                         any             at least one of these words is in the translation
                         kept            all of these are in it, letter by letter
                         digits          the same digits are in it, in any order and grouping
                         capitals        it is in capitals
                         ends_with       its last character is one of these
                         open_end        it does not end with a full stop
                         changed         it is not a copy
                         blank           it has nothing to read, because the input has nothing
                         max_characters  it is not longer
                       and of all that is not blank: it is not empty, it came to its end, its length is sane
    reorderings.jsonl  text in English, words that stand together in it (adjectives, then their noun), and for
                       French and Spanish what each of them may become. Right are the words if each is there; the
                       order, if it is the reverse; the links, if each word leads to what it became and to none
                       of the others.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dragoman.text.normalize import normalize
from models.corpora.packing import DataError

ODD_INPUTS, REORDERINGS = "odd_inputs.jsonl", "reorderings.jsonl"
PAIRS = ("en-fr", "fr-en", "en-es", "es-en")
TARGETS = ("fr", "es")
SHORTEST, LONGEST, SLACK = 0.25, 3.0, 15  # of a translation: shares of the source, and characters more
CAPITALS = 0.9  # share of the letters: a name may keep its small ones


@dataclass(frozen=True)
class Answer:
    """What came back for one text."""

    text: str
    has_ended: bool = True  # of itself: not cut, not for repetition
    source_words: list[str] = field(default_factory=list)
    target_words: list[str] = field(default_factory=list)
    links: list[tuple[int, int]] = field(default_factory=list)  # source word, target word


@dataclass(frozen=True)
class Case:
    """An odd input and what is expected of its translation."""

    kind: str
    pair: str
    text: str
    wanted: dict[str, Any]

    def failures(self, answer: Answer) -> list[str]:
        """Return the names of the expectations that do not hold."""
        said = normalize(answer.text)
        if "blank" in self.wanted:
            return ["blank"] if said else []
        failed = [name for name, wanted in self.wanted.items() if not CHECKS[name](self, said, wanted)]
        if not said:
            failed.append("empty")
        if not answer.has_ended:
            failed.append("end")
        if "max_characters" not in self.wanted and not self._is_sane(len(said)):
            failed.append("length")
        return failed

    def _is_sane(self, length: int) -> bool:
        size = len(normalize(self.text))
        return SHORTEST * size <= length <= LONGEST * size + SLACK


def _has_any(case: Case, said: str, wanted: list[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said.casefold()) for word in wanted)


def _digits(text: str) -> list[str]:
    return sorted(character for character in text if character.isdigit())


def _is_capital(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and sum(letter.isupper() for letter in letters) >= CAPITALS * len(letters)


CHECKS: dict[str, Callable[[Case, str, Any], bool]] = {
    "any": _has_any,
    "kept": lambda case, said, wanted: all(normalize(part) in said for part in wanted),
    "digits": lambda case, said, wanted: _digits(case.text) == _digits(said),
    "capitals": lambda case, said, wanted: _is_capital(said),
    "ends_with": lambda case, said, wanted: said[-1:] != "" and said[-1:] in wanted,
    "open_end": lambda case, said, wanted: not said.endswith("."),
    "changed": lambda case, said, wanted: said != normalize(case.text),
    "max_characters": lambda case, said, wanted: len(said) <= wanted,
}


@dataclass(frozen=True)
class Reordering:
    """Words that change places, and what they may become."""

    text: str
    words: list[str]
    becomes: dict[str, list[list[str]]]  # target language -> for each word, what is accepted

    def right(self, target: str, answer: Answer) -> dict[str, bool]:
        """Tell whether words, order and links are right."""
        accepted = [set(words) for words in self.becomes[target]]
        said = [word.casefold() for word in answer.target_words]
        places = [[place for place, word in enumerate(said) if word in words] for words in accepted]
        found = all(places)
        return {
            "words": found,
            "order": found and all(min(b) < max(a) for a, b in itertools.pairwise(places)),
            "links": found and all(self._is_linked(n, places, answer) for n in range(len(self.words))),
        }

    def _is_linked(self, number: int, places: list[list[int]], answer: Answer) -> bool:
        source = [word.casefold() for word in answer.source_words]
        wanted = self.words[number].casefold()
        if wanted not in source:
            return False
        linked = {target for word, target in answer.links if word == source.index(wanted)}
        others = {place for n, of_word in enumerate(places) if n != number for place in of_word}
        return bool(linked & set(places[number])) and not linked & others


def read_cases(folder: Path) -> list[Case]:
    """Return the odd inputs.

    Raises:
        DataError: The file is missing, or a line of it is no such case.
    """
    cases = []
    for where, line in _lines(folder / ODD_INPUTS):
        case = Case(line.pop("kind", ""), line.pop("pair", ""), line.pop("text", ""), line)
        if not case.kind or case.pair not in PAIRS or not case.text or not case.wanted:
            raise DataError(f"{where}: want kind, pair, text and an expectation")
        if unknown := case.wanted.keys() - CHECKS.keys() - {"blank"}:
            raise DataError(f"{where}: no such expectation: {', '.join(sorted(unknown))}")
        cases.append(case)
    return cases


def read_reorderings(folder: Path) -> list[Reordering]:
    """Return the sentences whose words change places.

    Raises:
        DataError: The file is missing, or a line of it is no such sentence.
    """
    found = []
    for where, line in _lines(folder / REORDERINGS):
        if line.keys() != {"text", "words", *TARGETS}:
            raise DataError(f"{where}: want text, words, {', '.join(TARGETS)}")
        becomes = {target: line[target] for target in TARGETS}
        if any(len(accepted) != len(line["words"]) or not all(accepted) for accepted in becomes.values()):
            raise DataError(f"{where}: every word needs what it may become")
        found.append(Reordering(line["text"], line["words"], becomes))
    return found


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return [(f"{path}, line {number}", dict(json.loads(line))) for number, line in enumerate(lines, 1)]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
