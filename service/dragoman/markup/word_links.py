"""Links between the words of a segment and of its translation, asked from the source's side."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from dragoman.markup.free_space import FreeSpace
from dragoman.text.spans import Span

_FOREIGN = 1.0  # what a target word costs that is linked to other words only
_UNLINKED = 0.25  # and one that is linked to none: an article, a mark


class WordLinks:
    """Words on both sides, in order and disjoint, and what links them."""

    def __init__(
        self, source_words: Sequence[Span], target_words: Sequence[Span], links: Iterable[tuple[int, int]]
    ) -> None:
        self._source_words, self._target_words = source_words, target_words
        targets: list[set[int]] = [set() for _ in source_words]
        for of_source, of_target in links:
            targets[of_source].add(of_target)
        self._targets = [sorted(each) for each in targets]
        linked = set().union(*targets)
        costs = (_FOREIGN if index in linked else _UNLINKED for index in range(len(target_words)))
        self._costs = list(accumulate(costs, initial=0.0))
        # For each source word, and the end, the last one before it that is linked; -1 for none.
        last = (index if each else -1 for index, each in enumerate(self._targets))
        self._linked_before = list(accumulate(last, max, initial=-1))

    def words_in(self, source: Span) -> range:
        """Return the numbers of the source words that a span touches."""
        first = bisect_right(self._source_words, source.start, key=_end)
        return range(first, max(first, bisect_left(self._source_words, source.end, key=_start)))

    def stretch(self, words: range, space: FreeSpace) -> Span | None:
        """Return the free stretch of target words that is linked most to some source words and least to others (Kadane)."""
        best, total = 0.0, 0.0
        found: Span | None = None
        start = last = 0
        gap: int | None = None
        for word in sorted({target for source in words for target in self._targets[source]}):
            span = self._target_words[word]
            gap, before = space.gap_of(span), gap
            if gap is None:
                continue
            total = total - (self._costs[word] - self._costs[last + 1]) if gap == before else 0.0
            if total <= 0:
                total, start = 0.0, span.start
            total += 1.0
            last = word
            if total > best:
                best, found = total, Span(start, span.end)
        return found

    def behind(self, at: int) -> int:
        """Return the place in the target of one in the source: before the word that follows, else behind the last."""
        following = bisect_left(self._source_words, at, key=_start)
        if following < len(self._source_words) and self._targets[following]:
            return self._target_words[self._targets[following][0]].start
        before = self._linked_before[bisect_right(self._source_words, at, key=_end)]
        return self._target_words[self._targets[before][-1]].end if before >= 0 else 0


def _start(word: Span) -> int:
    return word.start


def _end(word: Span) -> int:
    return word.end
