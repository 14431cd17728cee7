"""Spans: stretches of a text, and the characters as a reader sees them.

Everything that points into a text, from sentence splitting to alignments, does so with a `Span`. White space is what
`str.isspace` says, which regular expressions agree with.
"""

from collections.abc import Iterator
from typing import NamedTuple
from unicodedata import category

ZERO_WIDTH_JOINER = "\u200d"
_ZERO_WIDTH_NON_JOINER = "\u200c"


class Span(NamedTuple):
    """A half-open range of code points."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """Return the part of `text` that this span covers.

        >>> Span(0, 5).of("Hello, world")
        'Hello'
        """
        return text[self.start : self.end]

    def moved(self, offset: int) -> "Span":
        """Return the span that lies `offset` code points further on."""
        return Span(self.start + offset, self.end + offset)


def trim(text: str, start: int, end: int) -> Span:
    """Shrink a range until it begins and ends with a character that is not white space."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def clusters(text: str, span: Span) -> Iterator[Span]:
    """Yield the characters as a reader sees them: with their accents, and flags and joined emoji as one."""
    start = span.start
    while start < span.end:
        end = start + 1
        if end < span.end and _is_regional(text[start]) and _is_regional(text[end]):
            end += 1
        while end < span.end and (_extends(text[end]) or _joins(text, end)):
            end += 1
        yield Span(start, end)
        start = end


def _joins(text: str, index: int) -> bool:
    """Tell whether a joiner connects this character with the one before."""
    return text[index - 1] == ZERO_WIDTH_JOINER and not text[index].isspace()


def _extends(character: str) -> bool:
    """Tell whether a character modifies the one before."""
    if character < "\u0300":  # nearly every character of the languages served
        return False
    return (
        character in (ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER)
        or category(character).startswith("M")
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= character <= "\U000e007f"  # tags, as in the flag of Scotland
        or "\u1160" <= character <= "\u11ff"  # vowels and finals of a Hangul syllable
    )


def _is_regional(character: str) -> bool:
    """Tell whether a character is one half of a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"
