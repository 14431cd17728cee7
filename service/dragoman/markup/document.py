"""A document: segments of text with inline tags, and everything around them as it stands.

Readers tell what they meet as events that tile the source. Whatever is not translated is a slice of the caller's document
and comes back byte for byte; no tag is ever written by us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import unescape

from dragoman.errors import InvalidRequest
from dragoman.text.spans import Span

MAX_DEPTH = 100  # of inline tags in one another; what is carried grows with it
_NEEDED = {"&": "&amp;", "<": "&lt;"}


@dataclass(frozen=True)
class Tag:
    """An inline tag of a segment, or something that stands in its place: a comment, an image, a piece of code.

    Attributes:
        raw: As the source writes it.
        at: Where it stands in the segment's text.
        partner: Index of the tag that closes or opens it; None for one that stands alone.
        is_opening: Whether `partner` comes behind it.
        length: How much of the segment's text it stands for: what is kept is text, too, but comes back in `raw`.
    """

    raw: str
    at: int
    partner: int | None = None
    is_opening: bool = False
    length: int = 0


@dataclass
class Segment:
    """A stretch of text that is translated together.

    Attributes:
        text: What a reader sees, entities decoded.
        places: For each code point of `text`, and its end, where it stands in the document.
        tags: Inline tags in the order of the document.
        protected: Spans of `text` that come back as they are: code, and what must not be translated.
        entities: How the document spells characters that it does not write as they are.
    """

    text: str = ""
    places: list[int] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    protected: list[Span] = field(default_factory=list)
    entities: dict[str, str] = field(default_factory=dict)

    def escape(self, character: str) -> str:
        """Return a character as the document may hold it, by the document's own entity if it has one."""
        return self.entities.get(character) or _NEEDED.get(character, character)

    def place(self, span: Span) -> Span:
        """Return where a span of the text stands in the document."""
        if span.start == span.end:
            return Span(self.places[span.start], self.places[span.start])
        return Span(self.places[span.start], self._end(span.end))

    def _end(self, end: int) -> int:
        # A tag may stand between two characters: a span ends where its last character does, not where the next begins.
        return min(self.places[end], self.places[end - 1] + self._widths[end - 1])

    _widths: list[int] = field(default_factory=list)

    def append(self, text: str, start: int, width: int | None = None) -> None:
        """Add text that stands at a place of the document; `width` is that of an entity."""
        for offset in range(len(text)):
            self.places.append(start + (offset if width is None else 0))
            self._widths.append(1 if width is None else width)
        self.text += text


@dataclass
class Document:
    """A document in order: slices that are kept, and segments."""

    source: str
    parts: list[str | Segment] = field(default_factory=list)

    @property
    def segments(self) -> list[Segment]:
        """Return what is translated, in order."""
        return [part for part in self.parts if isinstance(part, Segment)]

    def render(self, translations: Sequence[str]) -> str:
        """Return the document with markup and text of each segment replaced."""
        left = iter(translations)
        return "".join(part if isinstance(part, str) else next(left) for part in self.parts)


@dataclass(frozen=True)
class Event:
    """What a parser met: a tag, text or something else, and where."""

    kind: str  # open, close, alone (void, comment), text, entity, break, opaque
    start: int
    end: int
    text: str = ""
    name: str = ""


def assemble(source: str, events: list[Event]) -> Document:
    """Put events together: breaks are kept, what stands between them becomes segments.

    Raises:
        InvalidRequest: Inline tags are nested too deeply.
    """
    document = Document(source)
    run: list[Event] = []
    for event in [*events, Event("break", len(source), len(source))]:
        if event.kind != "break":
            run.append(event)
            continue
        _add_run(document, run)
        run = []
        document.parts.append(source[event.start : event.end])
    return document


def _add_run(document: Document, run: list[Event]) -> None:
    """Add what stands between two breaks: as a segment if there is something to read in it."""
    source = document.source
    segment, partners = Segment(), _partners(run)
    numbers: dict[int, int] = {}
    for index, event in enumerate(run):
        raw = source[event.start : event.end]
        if event.kind == "text":
            segment.append(raw, event.start)
        elif event.kind == "entity":
            character = unescape(raw)
            segment.append(character, event.start, len(raw))
            segment.entities.setdefault(character, raw)
        elif event.kind == "kept" and event.text.strip():
            start = len(segment.text)
            segment.append(event.text, event.start, len(raw))
            segment.protected.append(Span(start, len(segment.text)))
            numbers[index] = len(segment.tags)
            segment.tags.append(Tag(raw, start, length=len(segment.text) - start))
        else:
            numbers[index] = len(segment.tags)
            segment.tags.append(Tag(raw, len(segment.text)))
    segment.places.append(run[-1].end if run else 0)
    if not any(map(str.isalnum, segment.text)):
        document.parts.append("".join(source[event.start : event.end] for event in run))
        return
    for opening, closing in partners.items():
        first, last = numbers[opening], numbers[closing]
        segment.tags[first] = Tag(segment.tags[first].raw, segment.tags[first].at, last, True)
        segment.tags[last] = Tag(segment.tags[last].raw, segment.tags[last].at, first)
    document.parts.append(segment)


def _partners(run: list[Event]) -> dict[int, int]:
    """Return which tag closes which, as the innermost open one of its name; others have no partner.

    Raises:
        InvalidRequest: They are nested too deeply.
    """
    partners: dict[int, int] = {}
    opened: list[int] = []
    names: Counter[str] = Counter()  # of these
    for index, event in enumerate(run):
        if event.kind == "open":
            opened.append(index)
            names[event.name] += 1
        elif event.kind == "close" and names[event.name]:
            while run[opening := opened.pop()].name != event.name:  # left open inside, without a partner
                names[run[opening].name] -= 1
            names[event.name] -= 1
            partners[opening] = index
    _check_depth(partners)
    return partners


def _check_depth(partners: dict[int, int]) -> None:
    depth = deepest = 0
    for _, step in sorted([*((at, 1) for at in partners), *((at, -1) for at in partners.values())]):
        depth += step
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        message = f"contents: inline tags nested in one another: {deepest:,}, the limit is {MAX_DEPTH}"
        raise InvalidRequest(
            message, field="contents", reason="MALFORMED_MARKUP", limit=MAX_DEPTH, actual=deepest
        )
