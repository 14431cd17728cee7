"""The reader of HTML: the standard library's `html.parser`, made to say where in the source each event begins.

Parsers that build a tree (lxml, html5lib, selectolax) do not say that, and write a document of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from dragoman.markup.document import Document, Event, assemble

# Elements of HTML that stand within a sentence; all others, but those nobody knows, begin and end one.
INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "label",
        "mark",
        "nobr",
        "q",
        "ruby",
        "rb",
        "rp",
        "rt",
        "s",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
    ]
)
VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)
INLINE_VOID = frozenset(["img", "input", "wbr"])
OPAQUE = frozenset(  # kept as they are, with all they contain
    [
        "code",
        "kbd",
        "samp",
        "var",
        "pre",
        "script",
        "style",
        "textarea",
        "svg",
        "math",
        "template",
        "noscript",
        "iframe",
        "object",
        "canvas",
        "audio",
        "video",
        "head",
        "title",
    ]
)
_TRANSLATED_OPAQUE = frozenset({"title", "head"})  # of a whole document: its title is a sentence of its own
_INLINE_OPAQUE = frozenset(["code", "kbd", "samp", "var", "svg", "math"])
_BLOCK = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "button",
        "caption",
        "center",
        "col",
        "colgroup",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "frame",
        "frameset",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "map",
        "menu",
        "nav",
        "ol",
        "optgroup",
        "option",
        "output",
        "p",
        "picture",
        "search",
        "section",
        "select",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
_NO_TRANSLATE = re.compile(
    r"""\stranslate\s*=\s*["']?no["'\s>/]|\sclass\s*=\s*(?:"[^"]*\bnotranslate\b|'[^']*\bnotranslate\b|notranslate\b)""",
    re.IGNORECASE,
)


def parse_html(source: str) -> Document:
    """Cut an HTML document, or a piece of one, into segments. Whatever is wrong with it stays as wrong as it is."""
    return _Html(source).document() if source else Document(source)


class _Html(HTMLParser):
    """Reads HTML into events that tile the source."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self._source = source
        self._lines = [0, *(found.end() for found in re.finditer("\n", source))]
        self._events: list[Event] = []
        self._opaque: list[str] = []  # names of open elements within one that is kept, itself first
        self._since = 0
        self._at = 0

    def document(self) -> Document:
        """Return the parsed document."""
        starts: list[tuple[int, str, str, str]] = []
        self._starts = starts
        self.feed(_without_hopeless(self._source))
        self.close()
        ends = [start for start, *_ in starts[1:]] + [len(self._source)]
        if not starts or starts[0][0] > 0:
            starts.insert(0, (0, "text", "", ""))
            ends.insert(0, starts[1][0] if len(starts) > 1 else len(self._source))
        events = [
            Event(kind, start, end, text, name)
            for (start, kind, text, name), end in zip(starts, ends, strict=True)
        ]
        return assemble(self._source, list(_without_opaque(self._source, events)))

    def _note(self, kind: str, name: str = "", text: str = "") -> None:
        line, column = self.getpos()
        start = self._lines[line - 1] + column
        if self._starts and self._starts[-1][0] >= start:
            return  # html.parser may tell the same place twice at the end of broken input
        self._starts.append((start, kind, text, name))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that opens an element, or stands alone."""
        raw = self.get_starttag_text() or ""
        refuses = bool(_NO_TRANSLATE.search(raw)) and tag not in VOID
        if tag in VOID or raw.endswith("/>"):
            self._note("alone" if tag in INLINE_VOID or tag not in _BLOCK | VOID else "break", tag)
        elif refuses or (tag in OPAQUE and tag not in _TRANSLATED_OPAQUE):
            self._note("opaque", tag, "inline" if tag in INLINE | _INLINE_OPAQUE else "block")
        else:
            self._note("break" if tag in _BLOCK | OPAQUE else "open", tag)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        """Note a tag that closes an element."""
        self._note("break" if tag in _BLOCK | VOID | _TRANSLATED_OPAQUE else "close", tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self._note("text")

    def handle_entityref(self, name: str) -> None:
        """Note a named entity."""
        self._note("entity")

    def handle_charref(self, name: str) -> None:
        """Note a numbered entity."""
        self._note("entity")

    def handle_comment(self, data: str) -> None:
        """Note a comment."""
        self._note("alone")

    def handle_decl(self, decl: str) -> None:
        """Note a declaration."""
        self._note("break")

    def handle_pi(self, data: str) -> None:
        """Note a processing instruction."""
        self._note("break")

    def unknown_decl(self, data: str) -> None:
        """Note a section such as CDATA."""
        self._note("break")


def _without_hopeless(source: str) -> str:
    """Return a text of the same length without what begins like a tag and never ends: html.parser looks for each end anew."""
    end = source.rfind(">") + 1
    return source[:end] + source[end:].replace("<", "_")


def _without_opaque(source: str, events: list[Event]) -> Iterator[Event]:
    """Yield events, those within an element that is kept as one."""
    index = 0
    while index < len(events):
        event = events[index]
        if event.kind != "opaque":
            yield event
            index += 1
            continue
        depth, last = 1, index + 1
        while last < len(events) and depth:
            same = events[last].name == event.name
            depth += (
                same
                and events[last].kind in ("open", "opaque", "break")
                and source[events[last].start + 1] != "/"
            )
            depth -= same and source.startswith("</", events[last].start)
            last += 1
        inner = source[event.end : events[last - 1].start] if not depth else source[event.end :]
        end = events[last - 1].end if not depth else len(source)
        kind = "kept" if event.text == "inline" else "break"
        yield Event(kind, event.start, end, re.sub(r"<[^<>]*>", "", inner), event.name)
        index = last
