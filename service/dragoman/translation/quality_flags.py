"""Quality flags that follow from comparing the texts of a sentence, without the model.

The rules are the same for all languages, because numbers, addresses and placeholders are, apart from a few words for
numbers.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator

from dragoman.text.spans import Span
from dragoman.text.words import find_addresses
from dragoman.types import Flag, FlagKind

SHORTEST, LONGEST = 0.4, 2.5  # length of a translation, relative to its source
SLACK = 5, 15  # code points by which a short translation may be shorter, and longer, than that
LEAST_WORDS = 3  # in lower case, because names stay as they are
COPIED = 0.8  # share of these words that are found in the translation

# Digits grouped by spaces, as in 1 000,50, or by marks that may also be decimal ones: only the digits are compared.
_NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'’]\d+)*")
_PLACEHOLDER = re.compile(
    r"\{\{[\w.:-]{1,64}\}\}|\$?\{[\w.:!-]{0,64}\}"  # {{name}}, ${name}, {0}
    r"|%\(\w{1,64}\)[-+#0-9.]{0,8}[a-zA-Z]"  # %(name)s
    r"|(?<!\d)%(?:\d\$)?[-+#0-9.]{0,8}[sdifuxXeEgGc@](?![^\W_])"  # %s, %1$d, %@
    r"|(?<![\w$])\$\d(?![\w]|[.,]\d)"  # $1
)
# Most texts have nothing of a kind, which a search for single characters shows in a fraction of the time.
_OF_ADDRESSES = re.compile(r"[@:]|www\.", re.IGNORECASE)
_OF_PLACEHOLDERS = re.compile(r"[{%$]")
_OF_NUMBERS = re.compile(r"\d")
_LETTERS = re.compile(r"[^\W\d_]+")
# Words between white space and the punctuation of prose. Paths, file names, bare addresses and identifiers, which are
# the same in every language, have other signs or digits inside and do not match. The quantifiers are possessive, so that
# the time is linear.
_PROSE = re.compile(
    r"(?<!\S)[(\[{\"'“‘«¿¡*]*+"
    r"([^\W\d_]++(?:[-‐‑–—'’,;][^\W\d_]++)*+)"
    r"[.,;:!?…)\]}\"'”’»*]*+(?!\S)"
)
_SPELT = {
    0: "zero zéro cero",
    1: "one un une uno una first premier première primer primero primera once",
    2: "two deux dos second deuxième segundo segunda twice both",
    3: "three trois tres third troisième tercer tercero tercera",
    4: "four quatre cuatro fourth quatrième cuarto cuarta",
    5: "five cinq cinco fifth cinquième quinto quinta",
    6: "six seis sixth sixième sexto sexta",
    7: "seven sept siete seventh septième séptimo séptima",
    8: "eight huit ocho eighth huitième octavo octava",
    9: "nine neuf nueve ninth neuvième noveno novena",
    10: "ten dix diez tenth dixième décimo décima",
    11: "eleven onze once",
    12: "twelve douze doce dozen douzaine docena",
    20: "twenty vingt veinte",
    30: "thirty trente treinta",
    50: "fifty cinquante cincuenta",
    100: "hundred cent cien ciento",
    1000: "thousand mille mil",
}
_WORDS = {str(number): frozenset(words.split()) for number, words in _SPELT.items()}
_ROMAN = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_MONEY = re.compile(r"(?<!\d)(\d)\s?(?:\$|dollars?|dólar(?:es)?)")
Named = tuple[str, Span]  # what is compared, and where it is


def quality_flags(source: str, target: str) -> list[Flag]:
    """Return the reasons to doubt the translation of a sentence; spans count from the beginning of each text."""
    both = source, target
    addresses = [_addresses(text) for text in both]
    texts = [_without(text, found) for text, found in zip(both, addresses, strict=True)]
    placeholders = [_placeholders(*texts), _placeholders(*reversed(texts))]
    texts = [_without(text, found) for text, found in zip(texts, placeholders, strict=True)]
    numbers = [_numbers(text) for text in texts]
    flags = [
        *_differences(FlagKind.URL_MISMATCH, *addresses),
        *_differences(FlagKind.PLACEHOLDER_MISMATCH, *placeholders),
        *_unspelt(list(_differences(FlagKind.NUMBER_MISMATCH, *numbers)), *both),
    ]
    whole = Span(0, len(source)), Span(0, len(target))
    if (share := _copied(*texts)) >= COPIED:
        flags.append(Flag(FlagKind.UNTRANSLATED_COPY, *whole, share))
    is_gone = bool(source.strip()) and not target.strip()
    if is_gone or not SHORTEST * len(source) - SLACK[0] <= len(target) <= LONGEST * len(source) + SLACK[1]:
        flags.append(Flag(FlagKind.LENGTH_OUTLIER, *whole, len(target) / max(1, len(source))))
    return flags


def _addresses(text: str) -> list[Named]:
    if not _OF_ADDRESSES.search(text):
        return []
    return [(span.of(text), span) for span in find_addresses(text)]


def _placeholders(text: str, other: str) -> list[Named]:
    if not _OF_PLACEHOLDERS.search(text):
        return []
    amounts = set(_MONEY.findall(other))
    found = _PLACEHOLDER.finditer(text)
    return [(one.group(), Span(*one.span())) for one in found if not _is_money(one.group(), amounts)]


def _numbers(text: str) -> list[Named]:
    if not _OF_NUMBERS.search(text):
        return []
    return [(_digits(found.group()), Span(*found.span())) for found in _NUMBER.finditer(text)]


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def _without(text: str, found: Iterable[Named]) -> str:
    """Return the text with blanks in some places, so that nothing there is examined twice."""
    parts, end = [], 0
    for _, span in found:
        parts += [text[end : span.start], " " * (span.end - span.start)]
        end = span.end
    return "".join(parts) + text[end:]


def _differences(kind: FlagKind, source: list[Named], target: list[Named]) -> Iterator[Flag]:
    """Yield a flag for each item of the source that is missing, and for each of the target that was added."""
    places: defaultdict[str, deque[Span]] = defaultdict(deque)
    for name, span in target:
        places[name].append(span)
    for name, span in source:
        if places[name]:
            places[name].popleft()
        else:
            yield Flag(kind, span, None, 0.0)
    yield from (Flag(kind, None, span, 0.0) for left in places.values() for span in left)


def _unspelt(flags: list[Flag], source: str, target: str) -> Iterator[Flag]:
    """Yield the flags of numbers that the other side does not spell out in words."""
    if not flags:  # nearly always, and examining all words takes a while
        return
    in_source, in_target = ({word.lower() for word in _LETTERS.findall(text)} for text in (source, target))
    for flag in flags:
        if flag.source_span is not None:
            is_spelt = _is_spelt(_digits(flag.source_span.of(source)), in_target)
        else:
            assert flag.target_span is not None
            is_spelt = _is_spelt(_digits(flag.target_span.of(target)), in_source)
        if not is_spelt:
            yield flag


def _is_spelt(digits: str, written: set[str]) -> bool:
    """Tell whether a number is among some words, or written in Roman numerals, like centuries and kings."""
    if written & _WORDS.get(digits, frozenset()):
        return True
    tens, ones = divmod(int(digits), 10) if len(digits) <= 2 else (0, 0)
    numeral = "x" * tens + _ROMAN[ones]
    return (
        0 < tens + ones and tens < 4 and any(f"{numeral}{end}" in written for end in ("", "e", "er", "ème"))
    )


def _is_money(placeholder: str, amounts: set[str]) -> bool:
    """Tell whether `$5` is an amount of money, which other languages write as `5 $`, and not a placeholder."""
    return placeholder[0] == "$" and placeholder[1:] in amounts


def _copied(source: str, target: str) -> float:
    """Return the share of the source's lower-case words that are also in the target; 0 if that is small."""
    words = [word for word in _PROSE.findall(source) if len(word) > 1 and word.islower()]
    if len(words) < LEAST_WORDS:
        return 0.0
    found = _PROSE.findall(target)
    present = set(found)  # spares nearly every sentence the counting
    if sum([word in present for word in words]) < COPIED * len(words):
        return 0.0
    return (Counter(words) & Counter(found)).total() / len(words)
