"""Words as a reader sees them, for alignments and their figures.

The rules are the same for all languages, so a sentence and its translation are split alike.
"""

import re
from unicodedata import category

from dragoman.text.spans import Span


def _mark_ranges() -> str:
    """Return the combining marks of the basic plane as ranges of a character class."""
    marks = [code for code in range(0x300, 0x10000) if category(chr(code)).startswith("M")]
    starts = [code for code, before in zip(marks, [0, *marks], strict=False) if code - before > 1]
    ends = [code for code, after in zip(marks, [*marks[1:], 0x10000], strict=True) if after - code > 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


_EXTENDERS = (
    _mark_ranges()
    + "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"  # read, but not seen
    + "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef"  # skin tones, tags, variants
)
_UNSPACED = (  # scripts written without spaces: each character is a word
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_SYMBOLS = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_APOSTROPHE = "['’]"
_ELIDED = (  # what French and Italian shorten before a vowel
    "l d n s c j m t qu jusqu lorsqu puisqu quoiqu un dell nell sull dall all coll quest quell bell sant gl"
)
_VOWEL = "[aeiouyhàâäáéèêëíìîïóòôöúùûüœæ0-9]"

_EXTEND = f"[{_EXTENDERS}]*+"
_CHARACTER = rf"[^\W_{_UNSPACED}]{_EXTEND}"
_LETTERS = f"(?:{_CHARACTER})++"

# The kinds of words; the first that matches wins. Each consumes what it matches or looks ahead a bounded distance, so
# that the time is linear in the length of the text.
_KINDS = {
    "address": (
        r"(?i:(?:https?|s?ftps?|file|wss?|ssh|git)://|(?:mailto|tel|urn):|www\.)"
        r"[^\s<>\"«»“”]*[^\s<>\"«»“”.,;:!?…)\]}'’]"
    ),
    "mail": r"[^\W_][\w.+%-]{0,63}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}",
    "flag": "[\U0001f1e6-\U0001f1ff]{2}" + _EXTEND,
    "keycap": "[0-9#*]\ufe0f?\u20e3",
    "emoji": rf"[{_SYMBOLS}]{_EXTEND}(?:(?<=\u200d)[{_SYMBOLS}]{_EXTEND})*+",
    "elision": rf"(?i:(?:{'|'.join(_ELIDED.split())}){_APOSTROPHE}(?:(?={_VOWEL})|(?=[«\"“(\[])))",
    "initials": r"(?<!\.)(?:(?:[^\W\d_]|Ph)\.){2,}+(?:[^\W\d_](?![^\W_])|(?![^\W_]))",  # U.S., e.g., J.R.R.
    "number": r"\d{1,3}(?:[\u00a0\u2009\u202f]\d{3}(?!\d))++(?:[.,]\d+)?",  # 1 000,50
    "word": (
        rf"{_LETTERS}(?:(?:[-‐‑_·&'’](?=[^\W_{_UNSPACED}])"
        rf"|(?<=\d)[.,:/](?=\d)"  # 1,000.50 and 18/10
        rf"|\.(?=[a-zºª])){_LETTERS})*+"  # example.com and n.º
    ),
    "unspaced": rf"[{_UNSPACED}]{_EXTEND}",
    "signs": rf"(?P<sign>\S)(?P=sign)*+{_EXTEND}",
}
ADDRESS = f"{_KINDS['address']}|{_KINDS['mail']}"
EMOJI = f"{_KINDS['flag']}|{_KINDS['keycap']}|{_KINDS['emoji']}"
_ADDRESS = re.compile(ADDRESS)
_WORD = re.compile(f"{_EXTEND}(?:{'|'.join(_KINDS.values())})|[{_EXTENDERS}]++")


def find_addresses(text: str) -> list[Span]:
    """Find web and mail addresses, as `split_words` does.

    >>> [span.of("See https://a.org/b?c=1, or ask me@b.net.") for span in find_addresses("See https://a.org/b?c=1, or ask me@b.net.")]
    ['https://a.org/b?c=1', 'me@b.net']
    """
    return [Span(*found.span()) for found in _ADDRESS.finditer(text)]


def split_words(text: str) -> list[Span]:
    """Find the words and punctuation marks of a text, in order.

    The spans are disjoint and not empty, and cover every character that is not white space. An elision ends a word; a
    contraction, a hyphen, a separator inside a number and the periods of initials do not. A run of the same mark is one
    word, as are an address and a joined emoji.

    >>> [span.of("L'accord n'est-il pas signé?!") for span in split_words("L'accord n'est-il pas signé?!")]
    ["L'", 'accord', "n'", 'est-il', 'pas', 'signé', '?', '!']
    """
    return [Span(*found.span()) for found in _WORD.finditer(text)]
