"""A hundred and five shapes of text, each of any length: 21 kinds of writing in five arrangements."""

import random
from collections.abc import Callable, Iterator
from itertools import count, cycle, islice

Shape = Callable[[int], str]

KINDS: dict[str, list[str]] = {
    "words": ["the", "agreement", "was", "signed", "again", "in", "our", "small", "city"],
    "one-letter": ["a"],
    "capitals": ["EUROPE", "AND", "NATO", "I"],
    "digits": ["7", "1.000,50", "2026", "1\u202f000", "10:30"],
    "ends": [".", "!", "?", "…", "?!", ")."],
    "abbreviations": ["U.S.", "Mr.", "e.g.", "No. 5.", "J.R.R.", "I."],
    "brackets": ["(", "[", "((", ")", "«", "]", "}"],
    "quotes": ['"', "“", "”", "'", "«", "»", "’"],
    "dashes": ["-", "–", "—", "_", "*", "/", "|"],
    "addresses": ["https://a.org/b?c=1", "www.a.org", "me@b.net", "http://", "tel:", "@", "a.b@c"],
    "file-names": ["/etc/hosts.conf", "C:\\files\\report.docx", "~/a_b.py", "docs/index.md"],
    "placeholders": ["{name}", "%s", "${total}", "%(count)d", "$1", "{{", "%", "{"],
    "tags": [
        "<b>",
        "word",
        "</b>",
        "<i>x</i>",
        "&amp;",
        "<a href='x'>",
        "</a>",
        "<!--",
        "-->",
        "<br/>",
        "<code>",
        "<",
    ],
    "marks": ["e\u0301", "\u0308", "a\u0323\u0307", "\u0301\u0301"],
    "hangul": ["\u1112\u1161\u11ab", "\u1100\u1161", "글", "\u11ab"],
    "emoji": ["👩\u200d👩\u200d👧", "👍🏽", "🇫🇷", "1\ufe0f\u20e3", "🏴\U000e0067\U000e007f", "❤️"],
    "unspaced": ["漢", "字", "ไทย", "ひら", "。"],
    "right-to-left": ["\u0627\u0644\u0633", "\u05e9\u05dc", "\u202b", "\u202c", "\u064b"],
    "invisible": ["\u00ad", "\u200b", "\u2060", "\ufeff", "\x07"],
    "spaces": [" ", "\u00a0", "\t", "\u2003", "\u200d"],
    "sentencepiece": ["▁", "<2fr>", "</s>", "▁a", "\ufffd"],
}


def _spelt(number: int) -> str:
    """Write a number in letters, so that a word made of it is like no other."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _run(units: list[str]) -> Iterator[str]:
    yield from cycle(units)


def _spaced(units: list[str]) -> Iterator[str]:
    for unit in cycle(units):
        yield from (unit, " ")


def _lines(units: list[str]) -> Iterator[str]:
    for number, unit in enumerate(cycle(units)):
        yield from (unit, "\n" if number % 4 == 3 else "\r\n\n" if number % 7 == 6 else " ")


def _distinct(units: list[str]) -> Iterator[str]:
    for number, unit in zip(count(), cycle(units)):
        yield from (unit, _spelt(number), " ")


def _mixed(units: list[str]) -> Iterator[str]:
    draw = random.Random(1)
    while True:
        yield draw.choice(units)
        yield draw.choice(["", "", " ", " ", "a", "B", "7", ".", ". ", "(", ")", "\n"])


ARRANGEMENTS: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "run": _run,
    "spaced": _spaced,
    "lines": _lines,
    "distinct": _distinct,
    "mixed": _mixed,
}


def text(kind: str, arrangement: str, size: int) -> str:
    """Return a text of so many code points, which ends with a letter: all that is before counts."""
    return "".join(islice(ARRANGEMENTS[arrangement](KINDS[kind]), 3 * size))[: size - 1] + "x"


def shapes() -> Iterator[tuple[str, str]]:
    """Yield kind and arrangement of each shape."""
    for kind in KINDS:
        yield from ((kind, arrangement) for arrangement in ARRANGEMENTS)
