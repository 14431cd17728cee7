"""The stretches of a text that are translated, and what is protected within each.

Between *protected* and *preprocessing*. Whatever lies outside the segments comes back as it was: white space, and what
is protected at the edges of a sentence or between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dragoman.text.protected import Carriage, Protected, find_protected
from dragoman.text.sentences import split_sentences
from dragoman.text.spans import Span, trim

_TIMING = "-->"
_FILLER, _BREAK = "X", "\u2029"  # a word to the splitter of sentences, and the end of a paragraph


class Segment(NamedTuple):
    """A sentence, or a part of one between marks, and the spans within it that must not change."""

    span: Span
    protected: Sequence[Span] = ()


def find_segments(text: str, language: str, *, protect: bool) -> list[Segment]:
    """Find what is translated of a text, in order; the spans are disjoint, not empty, and have no white edges."""
    marks = find_protected(text) if protect else []
    if not marks:
        return [Segment(span) for span in split_sentences(text, language)]
    segments: list[Segment] = []
    position = 0
    filled = _filled(text, marks)
    if any(_TIMING in mark.span.of(text) for mark in marks):  # the lines of subtitles stay
        filled = filled.replace("\n", _BREAK)
    for sentence in split_sentences(filled, language):
        while position < len(marks) and marks[position].span.end <= sentence.start:
            position += 1
        inside: list[Protected] = []
        while position < len(marks) and marks[position].span.start < sentence.end:
            inside.append(marks[position])
            position += 1
        segments += _trimmed(text, sentence, inside)
    return segments


def _filled(text: str, marks: list[Protected]) -> str:
    """Return a text of the same length in which no sentence ends inside what is protected, and each at a break."""
    parts: list[str] = []
    end = 0
    for span, carriage in marks:
        filler = _BREAK if carriage is Carriage.BREAK else _FILLER
        parts += [text[end : span.start], filler * (span.end - span.start)]
        end = span.end
    return "".join(parts) + text[end:]


def _trimmed(text: str, sentence: Span, inside: list[Protected]) -> Iterator[Segment]:
    """Yield a sentence without the marks at its edges; nothing if it has no word of its own."""
    first, last = 0, len(inside)
    start, end = trim(text, *sentence)
    while first < last and inside[first].carriage is Carriage.MARK and inside[first].span.start <= start:
        start = trim(text, inside[first].span.end, end).start
        first += 1
    while first < last and inside[last - 1].carriage is Carriage.MARK and inside[last - 1].span.end >= end:
        end = trim(text, start, inside[last - 1].span.start).end
        last -= 1
    spans = list(_merged(span for span, _ in inside[first:last]))
    if start < end and _has_letters(text, Span(start, end), spans):
        yield Segment(Span(start, end), spans)


def _merged(spans: Iterator[Span]) -> Iterator[Span]:
    """Join spans that touch: one placeholder carries them."""
    current = next(spans, None)
    if current is None:
        return
    for span in spans:
        if span.start == current.end:
            current = Span(current.start, span.end)
        else:
            yield current
            current = span
    yield current


def _has_letters(text: str, segment: Span, protected: list[Span]) -> bool:
    start = segment.start
    for span in [*protected, Span(segment.end, segment.end)]:
        if any(character.isalpha() for character in text[start : span.start]):
            return True
        start = span.end
    return not protected and any(character.isalnum() for character in segment.of(text))
