"""What a translation must not change: addresses, code, placeholders, emoji, signs, identifiers.

One scanner for all of them, ahead of *segments*. Every pattern looks at a bounded stretch, so that the time is
linear in the length of the text.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from dragoman.text.spans import Span
from dragoman.text.words import ADDRESS, EMOJI

_END = r"[^\s<>\"«»“”.,;:!?…)\]}'’*`]"
_DOMAINS = "com|org|net|edu|gov|info|io|dev|app|example|test|fr|es|uk|us|eu|de|it|be|ch|ca|mx|ar|co"
_EXTENSIONS = (
    "aspx?|bak|bat|dwg|dxf|eml|heic|ics|key|pages|psd|tex|bin|bmp|c|cfg|conf|cpp|css|csv|dll|docx?|epub|exe|gif|go|gz|h|html?|ini|iso|java|jpe?g|js|json|"
    "log|md|mkv|mov|mp[34]|odt|pdf|php|png|pptx?|ps1|py|rar|rb|rs|rtf|sh|sql|srt|svg|tar|tiff?|toml|tsv|tsx?|txt|"
    "vtt|wav|webp|xlsx?|xml|ya?ml|zip"
)
# Signs and scripts outside Latin and common punctuation, which the models spell in bytes, badly.
_FOREIGN = (
    "\u00a4\u00a6\u00a7\u00a9\u00ac\u00ae\u00b6\u00bc-\u00be\u0250-\u02ff\u0370-\u1dff\u1e00-\u1fff\u2020-\u2023"
    "\u2031-\u2038\u203b-\u203f\u2041-\u205e\u2070-\u20ab\u20ad-\ud7ff\ue000-\ufefe\uff00-\uffff\U00010000-\U0010ffff"
)
_LATIN = r"[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f]"
_LETTERLIKE = "\u1e00-\u1eff\u2070-\u209c"  # Vietnamese letters, and H₂O: they are parts of a word

# Cut a sentence in two: what stands on either side is translated apart.
_BREAKS = {
    "fence": r"```(?s:.{0,20000}?)```",
    "comment": r"<!--(?:(?!<!--|-->)(?s:.)){0,20000}-->",  # up to the next that begins, or it would be looked for again
    "timing": r"^\d{1,6}[^\S\n]*\r?\n(?=\d\d:)|\d\d:\d\d:\d\d[,.]\d{3}[^\S\n]*-->[^\S\n]*\d\d:\d\d:\d\d[,.]\d{3}",
    "block": r"(?i:</?(?:p|div|li|ul|ol|h[1-6]|table|tr|td|th|thead|tbody|br|hr|blockquote|title|option)\b[^<>]{0,500}/?>)",
    "rule": r"^[^\S\n]*\|?[^\S\n]*:?-{3,}:?(?:[^\S\n]*\|[^\S\n]*:?-{3,}:?)*[^\S\n]*\|?[^\S\n]*$",
    "escape": r"(?<![A-Za-z]:)(?:\\r\\n|\\[nrt])++(?![a-z.])",
    "cell": r"\|++|\t++",
    "fill": r"_{3,}|\*{4,}|={3,}|~{3,}|#{7,}|-{4,}|\.{5,}|(?:\. ){4,}\.?|\}{2,}(?=\s|$)",
}
# Cut off at the edges of a sentence, a placeholder within.
_MARKS = {
    "line": (
        r"^WEBVTT\b|"
        r"^[^\S\n]*(?:(?:[-*•·‣▪◦–—>#+]{1,6}|\[[ xX]\])[^\S\n]++)++(?:\d{1,3}[.)][^\S\n]++)?"
        r"|^[^\S\n]*(?:\(?[0-9]{1,3}[.)]|[a-hj-z]\))[^\S\n]++"
    ),
    "tag": r"</?[A-Za-z][\w:.-]{0,40}(?:\s[^<>]{0,1000})?/?>|</?\d{1,3}/?>",
    "emphasis": r"(?<![\w*])\*{1,3}(?=\S)|(?<=\S)\*{1,3}(?![\w*])|(?<!\w)__(?=\w)|(?<=[\w.!?])__(?!\w)|~~",
    "emoji": rf"(?:{EMOJI})(?:[ ]?(?:{EMOJI}))*",
    "smiley": r"(?<![^\s(])(?:[:;=]['’]?-?[()DPp/\\|\]\[*oO3]+|<3|\^_?\^|¯\\_\(ツ\)_/¯)(?![\w/])",
    "arrow": r"[-=]{1,2}>|<[-=]{1,2}",
}
# Words of the sentence, carried through the model as placeholders.
_WORDS = {
    "code": r"``?[^`\n]{1,500}``?",
    "entity": r"&(?:[A-Za-z]{2,10}|#\d{1,6}|#x[0-9A-Fa-f]{1,6});",
    "template": (
        r"\{\{[^{}\n]{1,80}\}\}|[$#%]?\{[\w.:!\[\]-]{0,64}\}|\{\w{1,40}, ?(?:number|date|time|duration|ordinal)[^{}\n]{0,80}\}"
        r"|%\(\w{1,64}\)[-+#0-9.]{0,8}[A-Za-z]|\[\[[\w.:-]{1,64}\]\]|(?<![\w%])%[\w]{2,40}%|<%[^%\n]{1,200}%>"
        r"|(?<!\d)%(?:\d{1,2}\$)?[-+#0-9.]{0,8}(?:ll|l|h|z)?[sdifuxXeEgGc@](?![^\W_])|%%|(?<![\w$])\$[A-Za-z_]\w{0,63}"
    ),
    "address": rf"{ADDRESS}|(?<![\w.@-])(?:[\w-]{{1,63}}\.){{1,6}}(?:{_DOMAINS})(?![\w-]|\.\w)(?:[/?#](?:[^\s<>\"«»“”]{{0,500}}{_END})?)?",
    "path": (
        r"(?<![\w/:<.])(?:~|\.{1,2})?/(?:[\w.+@~-]{1,100}/){0,20}[\w.+@~-]{0,99}[\w~-](?![\w>])"
        r"|(?<!\w)(?:[A-Za-z]:|\\)\\[^\s\"<>|*?]{1,300}[^\s\"<>|*?.,;:!)]"
    ),
    "file": rf"(?<![\w./-])(?:[\w+-]{{1,60}}[./]){{0,6}}[\w+-]{{1,60}}\.(?:{_EXTENSIONS})(?![\w])|(?<![\w*])\*\.\w{{1,5}}",
    "name": r"(?<![\w&#/])#[^\W\d_]\w{1,60}|(?<![\w.@])@\w(?:[\w.-]{0,60}\w)?",
    "keys": r"(?<!\w)(?:Ctrl|Strg|Alt|Shift|Cmd|Command|Option|Win|Maj|Mayús)(?:\+[\w]{1,12}){1,3}",
    "identifier": (
        r"(?<![\w-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-])"
        r"|(?<![\w-])(?=[A-Za-z]{0,40}\d)(?=\d{0,40}[A-Za-z])[0-9A-Za-z]{9,}(?!\w)"
        r"|(?<![\w-])(?=[A-Z-]{0,20}\d)(?=[0-9-]{0,20}[A-Z])(?:[A-Z0-9]{1,20}-){1,6}+[A-Z]{0,4}\d{3,20}(?![\w-])"
        r"|(?<![\w-])(?=[A-Z-]{0,20}\d)(?=[0-9-]{0,20}[A-Z])(?:[A-Z0-9]{1,20}-){2,6}+[A-Z0-9]{1,20}(?![\w-])"
        r"|(?<!\w)[A-Za-z](?=[^\W_]{0,40}_)\w{2,120}+(?:\(\))?|(?<!\w)(?=\w{1,60}\(\))\w{1,60}+\(\)"
        r"|(?<!\w)[A-Za-z0-9+/]{30,}+={0,2}(?!\w)|(?<!\w)(?P<run>\w)(?P=run){6,}+(?!\w)"
    ),
    "digits": (
        r"(?<![\w.,])v?\d{1,4}(?:\.\d{1,5}){2,4}(?:-[a-z]{1,5}\.?\d{0,3})?(?!\d|[.,]\d)|(?<!\w)v\d{1,3}(?:\.\d{1,3}){1,3}(?!\w)"
        r"|(?<![\w.,+])\+\d{1,3}(?:[ .\u00a0-]\(?\d{1,5}\)?){1,6}(?!\d)|(?<![\w.,])0\d{1,4}(?:[ .\u00a0-]\d{2,4}){2,5}(?![\d])"
        r"|(?<![\w.,])\d{3}(?:[ .-]\d{2,3}){3,4}(?!\d)|(?<![\w.,])[69]\d{2}(?: \d{2,3}){2,3}(?!\d)"
        r"|(?<![\w.,-])\d{5,}(?![\w%]|[.,]\d)|\d{1,2}:\d\d:\d\d(?:[,.]\d{1,3})?"
    ),
    "foreign": (
        rf"(?<!{_LATIN})(?:{_LATIN}{{0,40}}[{_LETTERLIKE}]){{1,20}}+{_LATIN}{{0,40}}|[{_FOREIGN}](?:[{_FOREIGN}\ufe0f\u3000-\u303f0-9 ,.،؟-]{{0,400}}[{_FOREIGN}])?"
    ),
}  # fmt: skip


class Carriage(enum.Enum):
    """How a protected stretch passes the model."""

    BREAK = "break"  # around it: what stands before and behind it are sentences of their own
    MARK = "mark"  # around it at the edges of a sentence, as a placeholder within
    WORD = "word"  # as a placeholder: the sentence needs it


class Protected(NamedTuple):
    """A stretch that must not change."""

    span: Span
    carriage: Carriage


def _pattern(kinds: dict[str, str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in kinds.values())


_PROTECTED = re.compile(
    f"(?P<fence>{_BREAKS['fence']})|(?P<word>{_pattern({name: _WORDS[name] for name in ('code', 'template')})})"
    f"|(?P<brk>{_pattern(_BREAKS)})|(?P<mark>{_pattern(_MARKS)})|{_pattern(_WORDS)}",
    re.MULTILINE,
)
# Most sentences hold none of the characters without which nothing is protected.
_SUSPICIOUS = re.compile(
    rf"[`<>&{{}}%\[\]/\\@#|\t_*~={_FOREIGN}^$]|\d\d\d\d\d|\d[ :.]\d\d|\d-|[:;]['’]?-?[)(DPp]|\w\.\w|\+\d|\+\w|\.\.\.\.|---|-->"
    rf"|^[^\S\n]*(?:[-•–—+]|\(?\w{{1,3}}[.)])[^\S\n]|\. \. \.|[A-Z]-\d|\d[A-Za-z]|[A-Za-z]\d|(\w)\1{{6}}",
    re.MULTILINE,
)


def find_protected(text: str) -> list[Protected]:
    """Find what must come back as it is, in order; the spans are disjoint and not empty.

    >>> [one.span.of("Ask me@b.net :)") for one in find_protected("Ask me@b.net :)")]
    ['me@b.net', ':)']
    """
    if _SUSPICIOUS.search(text) is None:
        return []
    return [Protected(Span(*one.span()), _carriage(one)) for one in _PROTECTED.finditer(text) if one.group()]


def _carriage(found: re.Match[str]) -> Carriage:
    if found["fence"] or found["brk"]:
        return Carriage.BREAK
    return Carriage.MARK if found["mark"] else Carriage.WORD
