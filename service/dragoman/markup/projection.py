"""Inline tags carried from a source to its translation by the links between words.

Tags form a forest: pairs with what stands between them, and tags that stand alone. A pair goes around the stretch of target words
that its own source words are linked to; children stay within their parents, siblings stay apart, so nesting is
well formed by construction, and each tag comes exactly once. The time grows with words, links and tags, and with how deeply
tags are nested, which the readers bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dragoman.markup.document import Tag
from dragoman.markup.free_space import FreeSpace
from dragoman.markup.word_links import WordLinks
from dragoman.text.spans import Span, trim


@dataclass
class _Node:
    """A pair of tags, or one that stands alone, with what it encloses."""

    source: Span  # of the segment's text
    opening: Tag
    closing: Tag | None
    order: int
    children: list[_Node] = field(default_factory=list)


@dataclass(frozen=True)
class Projection:
    """The translation of a segment with its tags.

    Attributes:
        text: Escaped, with the tags where they belong.
        places: For each code point of the bare translation, and its end, where it stands in `text`.
        lost: What was enclosed, in the segment's text, by tags that go around nothing: no target word stands for it.
    """

    text: str
    places: list[int]
    lost: list[Span]


def project(
    tags: Sequence[Tag], source: str, target: str, source_words: Sequence[Span], target_words: Sequence[Span],
    links: Iterable[tuple[int, int]], escape: Callable[[str], str],
) -> Projection:  # fmt: skip
    """Put the tags of a segment into its translation.

    Args:
        source: The segment's text, in which the tags stand.
        source_words: In `source`; likewise `target_words`.
        links: Pairs of indices into both.
        escape: Turns text into what a document may hold.
    """
    carrier = _Carrier(source, target, WordLinks(source_words, target_words, links), escape)
    carrier.write(_forest(tags, len(source)), Span(0, len(target)))
    return Projection("".join(carrier.written), [*carrier.places, carrier.length], sorted(carrier.lost))


def _forest(tags: Sequence[Tag], end: int) -> list[_Node]:
    """Return the tags as trees, in the order of the source."""
    roots: list[_Node] = []
    path: list[_Node] = []
    for index, tag in enumerate(tags):
        if tag.partner is not None and not tag.is_opening:
            path.pop()
            continue
        closing = tags[tag.partner] if tag.partner is not None else None
        node = _Node(Span(tag.at, closing.at if closing else tag.at + tag.length), tag, closing, index)
        (path[-1].children if path else roots).append(node)
        if closing:
            path.append(node)
    return roots


class _Carrier:
    """Writes one translation."""

    def __init__(self, source: str, target: str, links: WordLinks, escape: Callable[[str], str]) -> None:
        self._source, self._target, self._links, self._escape = source, target, links, escape
        self._content = trim(source, 0, len(source))
        self.written: list[str] = []
        self.length = 0
        self.places: list[int] = []
        self.lost: list[Span] = []

    def write(self, nodes: list[_Node], within: Span) -> None:
        """Write a stretch of the target with the tags of some siblings."""
        at = within.start
        for span, node in self._placed(nodes, within):
            self._copy(Span(at, span.start))
            begin = self.length
            self._write(node.opening.raw)
            if node.closing:
                self.write(node.children, span)
                self._write(node.closing.raw)
            else:
                self.places += [begin] * (span.end - span.start)  # what is kept comes in the tag
            at = span.end
        self._copy(Span(at, within.end))

    def _placed(self, nodes: list[_Node], within: Span) -> list[tuple[Span, _Node]]:
        """Return where siblings go, in the order of the target: the largest choose first."""
        placed: list[tuple[Span, _Node]] = []
        space = FreeSpace(self._target, within)
        for node in sorted(nodes, key=_by_size):
            span = self._place(node, space)
            space.take(span, node.order)
            placed.append((span, node))
        return sorted(placed, key=lambda one: (one[0], one[1].order))

    def _place(self, node: _Node, space: FreeSpace) -> Span:
        """Return where one goes: a pair without a place of its own goes around nothing, as does what is kept."""
        if not node.closing and not node.opening.length:
            return self._spot(node, space)
        found = self._stretch(node, space) if node.closing else space.find(node.source.of(self._source))
        if found is not None:
            return found
        if not node.closing or self._links.words_in(node.source):
            self.lost.append(node.source)
        at = space.nearest(self._behind(node.source.start))
        return Span(at, at)

    def _copy(self, stretch: Span) -> None:
        for character in stretch.of(self._target):
            self.places.append(self.length)
            self._write(self._escape(character))

    def _write(self, text: str) -> None:
        self.written.append(text)
        self.length += len(text)

    def _stretch(self, node: _Node, space: FreeSpace) -> Span | None:
        """Return the stretch of the target that a pair goes around."""
        words = self._links.words_in(node.source)
        is_all = node.source.start <= self._content.start and self._content.end <= node.source.end
        if words and is_all and space.whole is not None:
            return space.whole
        return self._links.stretch(words, space)

    def _spot(self, node: _Node, space: FreeSpace) -> Span:
        """Return where a tag that stands alone goes: not into a sibling, not out of its parent."""
        at = space.clamp(self._behind(node.source.start))
        if (sibling := space.around(at)) is not None:
            at = sibling.span.start if node.order < sibling.order else sibling.span.end
        return Span(at, at)

    def _behind(self, at: int) -> int:
        """Return the place in the target that corresponds to one in the source."""
        return len(self._target) if at >= self._content.end else self._links.behind(at)


def _by_size(node: _Node) -> tuple[bool, int, int]:
    return node.source.start == node.source.end, node.source.start - node.source.end, node.order
