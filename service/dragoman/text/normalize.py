"""Normalisation: the one typographic form that the model knows, with the way back to the caller's characters.

Training normalises in the same way, so the model never meets a form that it was not trained on.
"""

import re
import unicodedata
from itertools import pairwise
from typing import NamedTuple

# The model reads and writes the plain form of what keyboards and style guides write differently. Every key is one code
# point.
_TYPOGRAPHY = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
    "\u2026": "...",
    **dict.fromkeys("\u2010\u2011", "-"),
}
# Invisible characters carry no meaning for a translation: soft hyphen, zero-width space, word joiner,
# byte-order mark, bidirectional controls. The zero-width joiner stays: it holds emoji together.
_INVISIBLE = "\u00ad\u200b\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CONTROL = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if not chr(code).isspace()]
_TABLE = str.maketrans({**_TYPOGRAPHY, **dict.fromkeys([*_INVISIBLE, *_CONTROL], "")})
_UNUSUAL = re.compile(r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u00b3\u00b5-\u024f]|  |^ | $")

_MOST_MARKS = 64  # of one letter: NFC sorts them in a time that grows with the square of their number
_MARKED = re.compile(r"[^\x00-\u02ff]{64}")  # combining marks are among these


class Normalized(NamedTuple):
    """A normalised sentence and, for each of its characters, where its source begins and ends."""

    text: str
    starts: list[int]
    ends: list[int]


def normalize(text: str) -> str:
    """Return the normalised text alone: in NFC, with plain quotes and single spaces, without invisible characters."""
    if _UNUSUAL.search(text) is None:  # almost every sentence
        return text
    return " ".join(_composed(text.translate(_TABLE)).split())


def normalize_with_offsets(text: str) -> Normalized:
    """Return the same text as `normalize`, with the spans of the caller's characters."""
    if _UNUSUAL.search(text) is None:
        return Normalized(text, list(range(len(text))), list(range(1, len(text) + 1)))
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _composing_runs(text):
        for character in _composed(text[start:end].translate(_TABLE)):
            if character.isspace():
                if not characters or characters[-1] == " ":
                    continue
                character = " "
            characters.append(character)
            starts.append(start)
            ends.append(end)
    if characters and characters[-1] == " ":
        del characters[-1], starts[-1], ends[-1]
    return Normalized("".join(characters), starts, ends)


def _composed(text: str) -> str:
    """Return a text in NFC, in linear time: marks are put in order at most `_MOST_MARKS` at a time."""
    if _MARKED.search(text) is None:
        return unicodedata.normalize("NFC", text)
    places, marks = [0], 0
    for place, character in enumerate(text):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks == _MOST_MARKS:
            places.append(place)
            marks = 0
    parts = [text[start:end] for start, end in pairwise([*places, len(text)])]
    return "".join(unicodedata.normalize("NFC", part) for part in parts)


def _composing_runs(text: str) -> list[tuple[int, int]]:
    """Split a text where no NFC composition reaches across, so that each run can be normalised alone."""
    runs: list[tuple[int, int]] = []
    start = 0
    for index in range(1, len(text)):
        if not _may_compose(text[index]):
            runs.append((start, index))
            start = index
    if text:
        runs.append((start, len(text)))
    return runs


def _may_compose(character: str) -> bool:
    """Tell whether a character may combine with one before it, or be dropped from between two that combine."""
    code = ord(character)
    if code < 0x300:  # Latin letters start a run; only the invisible ones do not
        return character in _INVISIBLE or (code < 0xA0 and character in _CONTROL)
    return (
        unicodedata.combining(character) != 0
        or character in _INVISIBLE
        or 0x1100 <= code <= 0x11FF  # Hangul jamo compose without being combining marks
        or unicodedata.category(character) in ("Mc", "Mn")  # vowel signs that compose have no class
        or not unicodedata.is_normalized("NFC", character)
    )
