"""Inline tags carried from a source to its translation by the links between words.

Tags form a forest: pairs with what stands between them, and tags that stand alone. A pair goes around the stretch of target words
that its own source words are linked to; children stay within their parents, siblings stay apart, so nesting is
well formed by construction, and each tag comes exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dragoman.markup.document import Tag
from dragoman.text.spans import Span

_FOREIGN = -1.0  # for a target word that is linked to other words only
_UNLINKED = -0.25  # for one that is linked to none: an article, a mark


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
    linked: list[set[int]] = [set() for _ in target_words]
    for of_source, of_target in links:
        linked[of_target].add(of_source)
    carrier = _Carrier(source, target, source_words, target_words, linked, escape)
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

    def __init__(
        self, source: str, target: str, source_words: Sequence[Span], target_words: Sequence[Span],
        linked: list[set[int]], escape: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._source, self._target, self._escape = source, target, escape
        self._source_words, self._target_words, self._linked = source_words, target_words, linked
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
        for node in sorted(nodes, key=_by_size):
            free = _gaps(within, [span for span, _ in placed])
            if node.closing:
                span = self._stretch(node, free, within)
            elif node.opening.length:
                span = self._kept(node, free)
            else:
                span = self._spot(node, placed, within)
            placed.append((span, node))
        return sorted(placed, key=lambda one: (one[0], one[1].order))

    def _copy(self, stretch: Span) -> None:
        for character in stretch.of(self._target):
            self.places.append(self.length)
            self._write(self._escape(character))

    def _write(self, text: str) -> None:
        self.written.append(text)
        self.length += len(text)

    def _stretch(self, node: _Node, free: list[Span], within: Span) -> Span:
        """Return the stretch of the target that a pair goes around."""
        words = self._words_in(self._source_words, node.source)
        if not words:
            return self._empty(node, free)
        if self._is_all(node.source) and free == [within]:
            return within
        best, found = 0.0, None
        for gap in free:
            indices = self._words_in(self._target_words, gap)
            score, span = _best_run([self._worth(index, words) for index in indices])
            if span is not None and score > best:
                best = score
                found = Span(
                    self._target_words[indices[span.start]].start,
                    self._target_words[indices[span.end - 1]].end,
                )
        if found is None:
            self.lost.append(node.source)
            return self._empty(node, free)
        return found

    def _kept(self, node: _Node, free: list[Span]) -> Span:
        """Return where the text of what is kept stands in the target."""
        kept = node.source.of(self._source)
        for gap in free:
            at = self._target.find(kept, gap.start, gap.end)
            if at >= 0:
                return Span(at, at + len(kept))
        self.lost.append(node.source)
        return self._empty(node, free)

    def _is_all(self, source: Span) -> bool:
        return not self._source[: source.start].strip() and not self._source[source.end :].strip()

    def _worth(self, target_word: int, words: Sequence[int]) -> float:
        linked = self._linked[target_word]
        if not linked:
            return _UNLINKED
        return 1.0 if not linked.isdisjoint(words) else _FOREIGN

    @staticmethod
    def _words_in(words: Sequence[Span], stretch: Span) -> list[int]:
        return [
            index for index, word in enumerate(words) if word.start < stretch.end and word.end > stretch.start
        ]

    def _empty(self, node: _Node, free: list[Span]) -> Span:
        """Return a place for a pair around nothing: as far into the target as it stands in the source."""
        at = self._behind(node.source.start)
        gap = min(free, key=lambda gap: max(gap.start - at, at - gap.end, 0))
        at = min(max(at, gap.start), gap.end)
        return Span(at, at)

    def _spot(self, node: _Node, placed: list[tuple[Span, _Node]], within: Span) -> Span:
        """Return where a tag that stands alone goes: not into a sibling, not out of its parent."""
        at = min(max(self._behind(node.source.start), within.start), within.end)
        for span, other in placed:
            if span.start < at < span.end:
                at = span.start if node.order < other.order else span.end
        return Span(at, at)

    def _behind(self, at: int) -> int:
        """Return the place in the target that corresponds to one in the source: before the word that follows, else behind the last."""
        if not self._source[at:].strip():
            return len(self._target)
        following = [index for index, word in enumerate(self._source_words) if word.start >= at]
        for source_word in following[:1]:
            found = [index for index, linked in enumerate(self._linked) if source_word in linked]
            if found:
                return self._target_words[found[0]].start
        before = [index for index, word in enumerate(self._source_words) if word.end <= at]
        for source_word in reversed(before):
            found = [index for index, linked in enumerate(self._linked) if source_word in linked]
            if found:
                return self._target_words[found[-1]].end
        return 0


def _by_size(node: _Node) -> tuple[bool, int, int]:
    return node.source.start == node.source.end, node.source.start - node.source.end, node.order


def _gaps(within: Span, taken: list[Span]) -> list[Span]:
    """Return the stretches that are not taken."""
    gaps, at = [], within.start
    for span in sorted(taken):
        gaps.append(Span(at, max(at, span.start)))
        at = max(at, span.end)
    return [*gaps, Span(at, within.end)]


def _best_run(worths: list[float]) -> tuple[float, Span | None]:
    """Return the run of values with the largest sum, the shortest of equals, and the sum (Kadane)."""
    best, found = 0.0, None
    total, start = 0.0, 0
    for index, worth in enumerate(worths):
        if total <= 0:
            total, start = 0.0, index
        total += worth
        if total > best:
            best, found = total, Span(start, index + 1)
    return best, found
