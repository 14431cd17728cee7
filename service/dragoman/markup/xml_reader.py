"""The reader of XML: the standard library's `expat`, which says where in the source each event begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat

from dragoman.errors import InvalidRequest
from dragoman.markup.document import Document, Event, assemble


def parse_xml(source: str) -> Document:
    """Cut an XML document, or a piece of one, into segments; an element is inline where text stands beside it.

    Raises:
        InvalidRequest: It is not well formed; the message says where.
    """
    return _Xml(source).document() if source else Document(source)


class _Xml:
    """Reads XML into events that tile the source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._events: list[tuple[int, str, str]] = []

    def document(self) -> Document:
        """Return the parsed document."""
        data = self._source.encode("utf-8")
        is_whole = bool(re.match(r"\s*<(\?xml|!DOCTYPE)", self._source))
        wrapped = data if is_whole else b"<_>" + data + b"</_>"
        parser = expat.ParserCreate("utf-8")
        events: list[tuple[int, str, str]] = []

        def note(kind: str, name: str = "") -> None:
            events.append((parser.CurrentByteIndex, kind, name))

        parser.StartElementHandler = lambda name, attributes: note("open", name)
        parser.EndElementHandler = lambda name: note("close", name)
        parser.DefaultHandler = lambda text: note("other")
        parser.CharacterDataHandler = lambda text: note("text")
        parser.CommentHandler = lambda text: note("alone")
        parser.ProcessingInstructionHandler = lambda target, text: note("break")
        parser.StartCdataSectionHandler = lambda: note("cdata")
        parser.EndCdataSectionHandler = lambda: note("cdata end")
        parser.EntityDeclHandler = _refuse_entities
        try:
            parser.Parse(wrapped, True)
        except expat.ExpatError as error:
            column = error.offset - (0 if is_whole or error.lineno > 1 else 3)
            message = f"contents: not well-formed XML at line {error.lineno}, column {column + 1}: {expat.errors.messages[error.code]}"
            raise InvalidRequest(message, field="contents", reason="MALFORMED_MARKUP") from None
        return assemble(self._source, self._tiles(data, events, 0 if is_whole else 3))

    def _tiles(self, data: bytes, events: list[tuple[int, str, str]], shift: int) -> list[Event]:
        """Turn events at bytes into events that tile the source, inline where text stands beside."""
        noted = [(at - shift, kind, name) for at, kind, name in events if 0 <= at - shift <= len(data)]
        if shift and noted and noted[-1][1:] == ("close", "_"):
            del noted[-1]
        unique: list[tuple[int, str, str]] = []
        for one in noted:
            if one[1] == "close" and not data.startswith(b"</", one[0]):  # <x/>, whose end is told behind it
                unique[-1] = (unique[-1][0], "alone", one[2])
            elif not unique or unique[-1][0] < one[0]:
                unique.append(one)
        # From bytes to code points.
        starts = _code_points(data, [at for at, _, _ in unique])
        ends = [*starts[1:], len(self._source)]
        tiles = [
            Event(_entity_or(kind, self._source, start), start, end, "", name)
            for (_, kind, name), start, end in zip(unique, starts, ends, strict=True)
        ]
        if starts and starts[0] > 0:
            tiles.insert(0, Event("break", 0, starts[0]))
        return _inline_where_text(self._source, list(_merged_cdata(tiles)))


def _refuse_entities(*_: object) -> None:
    message = "contents: entity declarations are not allowed"  # they expand without bound
    raise InvalidRequest(message, field="contents", reason="MALFORMED_MARKUP")


def _entity_or(kind: str, source: str, start: int) -> str:
    if kind == "text" and source[start] == "&":
        return "entity"
    return {"other": "break"}.get(kind, kind)


def _merged_cdata(tiles: list[Event]) -> Iterator[Event]:
    """Yield events, a CDATA section as one that is kept: nothing in it is markup, and nothing of it could be escaped."""
    index = 0
    while index < len(tiles):
        if tiles[index].kind != "cdata":
            yield tiles[index]
            index += 1
            continue
        last = index
        while last < len(tiles) and tiles[last].kind != "cdata end":
            last += 1
        end = tiles[min(last, len(tiles) - 1)].end
        yield Event("break", tiles[index].start, end)
        index = last + 1


def _code_points(data: bytes, places: list[int]) -> list[int]:
    """Return places in bytes, which rise, as places in code points."""
    found, at, count = [], 0, 0
    for place in places:
        count += len(data[at:place].decode("utf-8"))
        at = place
        found.append(count)
    return found


def _inline_where_text(source: str, tiles: list[Event]) -> list[Event]:
    """Make elements that stand beside text inline; others begin and end segments."""
    has_text = [False]  # of the open elements, outermost first
    parents: list[int] = []  # of each tile, the number of the element around it
    number, path = 0, [0]
    for tile in tiles:
        if tile.kind == "close":
            path.pop()
        parents.append(path[-1])
        if tile.kind in ("text", "entity") and not source[tile.start : tile.end].isspace():
            has_text[path[-1]] = True
        if tile.kind == "open":
            number += 1
            has_text.append(False)
            path.append(number)
    return [
        Event("break", tile.start, tile.end)
        if tile.kind in ("open", "close", "alone") and not has_text[parent]
        else tile
        for tile, parent in zip(tiles, parents, strict=True)
    ]
