"""ALL CAPITALS and Title Case: read by the model as a plain sentence, written as the source is.

Models have seen few capitals: a heading in them is spelled piece by piece. A word without a vowel, or with a digit, is
an acronym and stays as it is.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_VOWEL = re.compile(r"[aeiouyàâäáéèêëíìîïóòôöúùûüœæ]", re.IGNORECASE)
_ROMAN = re.compile("[IVXLCDM]+")
_NO_TITLE = re.compile(r"[\d,;\n]|\.$")  # as addresses, lists and citations have
_MOST_OF_ACRONYM = 4  # letters
_FEWEST_TITLED = 3  # words with a capital: fewer may be a name
_SMALL = frozenset(  # words that titles leave small
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "but",
        "by",
        "for",
        "from",
        "in",
        "is",
        "of",
        "off",
        "on",
        "or",
        "the",
        "to",
        "up",
        "with",
        "à",
        "au",
        "aux",
        "avec",
        "ce",
        "d",
        "de",
        "des",
        "du",
        "en",
        "est",
        "et",
        "l",
        "la",
        "le",
        "les",
        "ou",
        "par",
        "pour",
        "sa",
        "se",
        "ses",
        "son",
        "sur",
        "un",
        "une",
        "al",
        "con",
        "del",
        "e",
        "el",
        "las",
        "los",
        "o",
        "para",
        "por",
        "su",
        "sus",
        "y",
    ]
)
_LARGE = 4  # letters of the words that a translated title has with capitals


class LetterCase(enum.Enum):
    """How a sentence is written as a whole."""

    SENTENCE = "sentence"
    CAPITALS = "capitals"
    TITLE = "title"


def case_of(text: str) -> LetterCase:
    """Tell how a sentence is written.

    >>> case_of("WHERE IS THE STATION?"), case_of("Where Is the Station?"), case_of("Where is NASA?")
    (<LetterCase.CAPITALS: 'capitals'>, <LetterCase.TITLE: 'title'>, <LetterCase.SENTENCE: 'sentence'>)
    """
    words = _WORD.findall(text)
    if text.isupper():
        letters = sum(map(len, words))
        is_acronym = letters <= _MOST_OF_ACRONYM or (len(words) == 1 and bool(_ROMAN.fullmatch(words[0])))
        return LetterCase.SENTENCE if is_acronym else LetterCase.CAPITALS
    if _NO_TITLE.search(text):
        return LetterCase.SENTENCE
    titled = sum(word[0].isupper() and word[1:].islower() for word in words)
    if titled < _FEWEST_TITLED or not all(word[0].isupper() or word in _SMALL for word in words):
        return LetterCase.SENTENCE
    return LetterCase.TITLE


def to_sentence_case(text: str, case: LetterCase) -> str:
    """Return a text of the same length as a plain sentence would be written."""
    if case is LetterCase.SENTENCE:
        return text
    is_first = True

    def plain(found: re.Match[str]) -> str:
        nonlocal is_first
        word, keeps, is_first = found.group(), is_first, False
        if word == "I" or not _VOWEL.search(word):
            return word
        small = _each(word, str.lower)
        return small[0].upper() + small[1:] if keeps else small

    return _WORD.sub(plain, text)


def restore_case(text: str, case: LetterCase) -> str:
    """Return a translation of the same length, written as its source is."""
    if case is LetterCase.CAPITALS:
        return _each(text, str.upper)
    if case is LetterCase.TITLE:
        return _WORD.sub(lambda found: _titled(found.group()), text)
    return text


def _titled(word: str) -> str:
    head = re.match(r"[^\W\d_]{1,2}['’]", word)  # l'eau: the noun has the capital
    start = head.end() if head else 0
    if len(word) - start < _LARGE:
        return word
    return word[:start] + _each(word[start], str.upper) + word[start + 1 :]


def _each(text: str, change: Callable[[str], str]) -> str:
    """Change each letter that remains one: offsets into the text stay true."""
    changed = change(text)
    if len(changed) == len(text):
        return changed
    letters = ((letter, change(letter)) for letter in text)
    return "".join(new if len(new) == 1 else letter for letter, new in letters)
