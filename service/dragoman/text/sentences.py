"""Sentence splitting: the sentences of a text as spans, and the parts of a sentence that is too long.

Whatever is outside the spans is white space, and goes back into the translation as it was. Every pattern consumes what
it matches or looks ahead a bounded distance, so that the time is linear in the length of the text.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from dragoman.text.abbreviations import Abbreviations, abbreviations_of
from dragoman.text.spans import Span, clusters, trim

_MAX_ASIDE = 300  # code points of a parenthesis that is not split inside
_MAX_WORD_BEFORE = 24  # code points; no abbreviation is longer
_MIN_WORDS_TO_WRAP = 3  # a shorter line is a list item, not a line of a paragraph

_WHITE = re.compile(r"\s+")
_BREAKS = r"\t-\r\x1c-\x1f\x85\u2028\u2029"  # tab to carriage return, separators of files to paragraphs
_BREAK = re.compile(f"[{_BREAKS}]")
_WRAP = re.compile(rf"[^\S{_BREAKS}]*+(?:\r\n|[\n\r\x85])[^\S{_BREAKS}]*+")
_WRAP_BEFORE = ",-‐–—'’\"”»)]%€$£°"  # what the last word of a wrapped line may end with, besides letters
_SINGLE_MARKS = frozenset(".!?…")
_LONG_LINE = 50  # code points; a line so long is wrapped wherever it stands
_LINE_LABEL = re.compile(r"(?:[a-z]|[ivx]{1,4})[.)]\s")

_LETTER = re.compile(r"[^\W_]")
_MARK = re.compile(
    r"(?<![.!?…‽⁇⁈⁉])([.!?…‽⁇⁈⁉]++)"
    r"((?:[)\]}\"'”’»›*_]|[ \u00a0\u202f]{1,2}[»›]|\[\d{1,3}\]|[¹²³⁴-⁹⁰])*+)"  # closing marks, note calls
)
_AHEAD = re.compile(r"([\s\"'«“‘„‹(\[{*_•·–—-]{0,6}+)([¿¡]?)(\w{0,24}+)(.?)", re.DOTALL)
_CONTINUES = frozenset(".,;:!?…)]}»”%")  # no sentence begins with these
_LABEL = re.compile(
    r"[(\[]?(?:\d{1,3}(?:\.\d{1,3}){0,4}|[A-Za-z]|x{0,3}(?:ix|iv|v?i{0,3})|X{0,3}(?:IX|IV|V?I{0,3}))"
)
_GLUED = re.compile(
    r"[^\W\d_A-Z][^\W\d_A-Z][.!?…]+[^\W\d_a-zß-ÿ](?:[a-zß-ÿ'’]|\s)"
)  # "late.We went", "Stop!A dog"
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.-?)+[^\W\d_]{1,3}")  # U.S, Ph.D, J.-C
_DOUBLED = re.compile(r"([A-Z])\1")  # EE. UU., RR. HH.
_UNSPEAKABLE = re.compile(r"[bcdfghjklmnpqrstvwxz]{2,5}", re.IGNORECASE)  # no vowel: Bldg, Pvt
_NUMERAL = re.compile(r"\d.*|[A-Z]|[IVXLC]+")
_PAIRED = re.compile(r"[()\[\]«»“”\"]")
_CLOSING_OF = {"(": ")", "[": "]", "«": "»", "“": "”"}
_CLAUSE = re.compile(r"[;:,–—!?…][\"'”’»)\]]*+(?=\s)|—")


def split_sentences(text: str, language: str) -> list[Span]:
    """Find the sentences of a text, in order.

    The spans are disjoint and not empty, they begin and end with a character that is not white space, and everything
    outside them is white space. In doubt, two sentences stay together: half a sentence translates worse than two.

    Args:
        language: `en`, `es` or `fr`; no abbreviations are known of any other.

    >>> [span.of("Ask Dr. No.  He knows.") for span in split_sentences("Ask Dr. No.  He knows.", "en")]
    ['Ask Dr. No.', 'He knows.']
    """
    known = abbreviations_of(language)
    return [sentence for block in _blocks(text) for sentence in _split_block(text, block, known)]


def split_to_fit(text: str, span: Span, fits: Callable[[str], bool]) -> list[Span]:
    """Split a span into parts that fit: between clauses if possible, else between words, else between characters.

    The parts cover the span, except for white space where it was cut.

    Raises:
        ValueError: A single code point does not fit.
    """
    parts: list[Span] = []
    waiting = [trim(text, *span)]
    while waiting:
        part = waiting.pop()
        if part.start == part.end:
            continue
        if fits(part.of(text)):
            parts.append(part)
            continue
        if part.end - part.start == 1:
            raise ValueError(f"the character at offset {part.start} does not fit on its own")
        cut = _best_cut(text, part)
        waiting += trim(text, cut, part.end), trim(text, part.start, cut)  # the left one is next
    return parts


def _blocks(text: str) -> Iterator[Span]:
    """Yield the blocks that no sentence crosses: lines, table cells and wrapped paragraphs.

    Short lines that all begin with small letters are those of a list, of verses or of settings.
    """
    whole = trim(text, 0, len(text))
    start = line_start = whole.start
    gaps = _WHITE.finditer(text, *whole) if _BREAK.search(text, *whole) else ()  # most texts are one line
    for gap in gaps:
        if not _BREAK.search(text, gap.start(), gap.end()):
            continue
        is_prose = not text[start].islower() or gap.start() - line_start >= _LONG_LINE
        if not (is_prose and _is_wrap(text, Span(line_start, gap.start()), gap)):
            yield Span(start, gap.start())
            start = gap.end()
        line_start = gap.end()
    if start < whole.end:
        yield Span(start, whole.end)


def _is_wrap(text: str, line: Span, gap: re.Match[str]) -> bool:
    """Tell whether a line break only wraps a paragraph."""
    last, first = text[line.end - 1], text[gap.end()]
    return (
        first.islower()
        and (last.isalnum() or (last in _WRAP_BEFORE and text[line.end - 2] not in _SINGLE_MARKS))
        and _WRAP.fullmatch(text, gap.start(), gap.end()) is not None
        and _LINE_LABEL.match(text, gap.end()) is None
        and len(line.of(text).split(maxsplit=_MIN_WORDS_TO_WRAP)) >= _MIN_WORDS_TO_WRAP
    )


def _split_block(text: str, block: Span, known: Abbreviations) -> Iterator[Span]:
    """Yield the sentences of a block. Each has a letter or a digit, if the block has one."""
    start = block.start
    last = next((i for i in range(block.end - 1, start - 1, -1) if text[i].isalnum()), start)
    if not _MARK.search(text, start, last):  # a single sentence; most headings, labels and table cells
        yield block
        return
    first = _first_letter(text, start, last)
    in_aside, in_quotes = _enclosures(text, block)
    for mark in _MARK.finditer(text, start, last):
        following = mark.end()
        while following < last and text[following].isspace():
            following += 1
        inside = mark.end() - 1 - block.start
        if mark.start() < first or in_aside[inside]:
            continue
        if _ends_sentence(text, start, mark, following, in_quotes[inside] > 0, known):
            yield Span(start, mark.end())
            start, first = following, _first_letter(text, following, last)
    yield Span(start, block.end)


def _first_letter(text: str, start: int, last: int) -> int:
    found = _LETTER.search(text, start, last + 1)
    return found.start() if found else last


def _enclosures(text: str, block: Span) -> tuple[list[int], list[int]]:
    """Return for each character how many asides and how many quotations it is in.

    An aside is a short text in brackets that begins inside a sentence. What is never closed is neither.
    """
    asides: list[Span] = []
    quotes: list[Span] = []
    opened: dict[str, list[int]] = {}
    for found in _PAIRED.finditer(text, *block):
        character, index = found.group(), found.start()
        waiting = opened.setdefault(_CLOSING_OF.get(character, character), [])
        if character in _CLOSING_OF or (character == '"' and not waiting):
            waiting.append(index)
        elif waiting:
            pair = Span(waiting.pop(), index)
            if character not in ")]":
                quotes.append(pair)
            elif index - pair.start <= _MAX_ASIDE and not _opens_sentence(text, block.start, pair.start):
                asides.append(pair)
    return _depths(asides, block), _depths(quotes, block)


def _depths(pairs: Iterable[Span], block: Span) -> list[int]:
    changes = [0] * (block.end - block.start)
    for start, end in pairs:
        changes[start - block.start] += 1
        changes[end - block.start] -= 1
    return list(accumulate(changes))


def _opens_sentence(text: str, start: int, index: int) -> bool:
    before = text[max(start, index - 8) : index].rstrip()
    return not before or before[-1] in ".!?…\"'”’»)]:"


def _ends_sentence(
    text: str, start: int, mark: re.Match[str], following: int, quoted: bool, known: Abbreviations
) -> bool:
    """Tell whether the sentence that began at `start` ends with this mark."""
    ahead = _AHEAD.match(text, following)
    if ahead is None or text[following] in _CONTINUES:
        return False
    opening, inverted, word, _ = ahead.groups()
    is_glued = following == mark.end() and not inverted  # no white space: a number, an address, a file name
    if is_glued and not _GLUED.match(text, max(start, mark.start() - 2)):
        return False
    if word[:1].islower() and not word[1:2].isupper() and not inverted:  # "iPad" may begin a sentence
        is_quotation = quoted or opening or mark.group(2)
        is_exclamation = bool(mark.group(1).strip(".…")) and not is_quotation
        return is_exclamation and len(text[start : mark.start()].split(maxsplit=1)) > 1  # not "Ah ! mais oui"
    return mark.group(1) != "." or _period_ends(text, start, mark.start(), ahead, known)


def _period_ends(text: str, start: int, dot: int, ahead: re.Match[str], known: Abbreviations) -> bool:
    """Tell whether a single period ends a sentence, if no lower-case letter follows."""
    before = text[max(start, dot - _MAX_WORD_BEFORE) : dot]
    word = (before.split() or [""])[-1]
    rest = before[: len(before) - len(word)].rstrip()
    if (not rest or rest[-1] in ":;") and dot - start <= _MAX_WORD_BEFORE and _LABEL.fullmatch(word):
        return False
    word = re.split(r"['’(\[«“\"¿¡/]", word)[-1].lstrip("*_-–—")
    if len(word) == 1 and word.isupper() and word not in known.before_names:
        if word == "I" and "i" in known.openings and rest[-1:].islower():
            return True  # "He is taller than I. Newton was not."
        return _is_opening(ahead, known) and not text[ahead.end() : ahead.end() + 1].isupper()
    if known.is_before_name(word):
        return False
    if known.is_before_number(word):
        return _is_opening(ahead, known) or not _NUMERAL.fullmatch(ahead.group(3))
    if _DOTTED.fullmatch(word) or _DOUBLED.fullmatch(word) or known.is_ambiguous(word):
        return _is_opening(ahead, known)
    if _UNSPEAKABLE.fullmatch(word) and not word.isupper():
        return _is_opening(ahead, known)
    return True


def _is_opening(ahead: re.Match[str], known: Abbreviations) -> bool:
    """Tell whether the next word is more likely to begin a sentence than to be a name."""
    _, inverted, word, after = ahead.groups()
    elided = word.lower() + "'"
    if inverted or (after in ("'", "’") and elided in known.openings):
        return True
    return word.lower() in known.openings and after != "."


def _best_cut(text: str, part: Span) -> int:
    """Return the place nearest to the middle where a part, of at least two code points, is best cut."""
    middle = (part.start + part.end) // 2
    by_character = () if part.of(text).isascii() else clusters(text, part)
    for places in (
        (found.end() for found in _CLAUSE.finditer(text, *part)),
        (found.start() for found in _WHITE.finditer(text, *part)),
        (cluster.end for cluster in by_character),
    ):
        inner = (place for place in places if part.start < place < part.end)
        nearest = min(inner, key=lambda place: abs(place - middle), default=None)
        if nearest is not None:
            return nearest
    return middle
