"""Who waits: the most urgent first, and nobody for ever.

Between the callers and the *scheduler*. A newer sentence may join before an older one because it is more
urgent or because it suits the batch better, but each sentence counts how often that happens to it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from itertools import count

from service.batching.sequence import Sequence

WINDOW = 256  # how far down the line a better suited sentence is looked for
Test = Callable[[Sequence], bool]


class Line:
    """Waiting sentences by priority, then deadline, then arrival.

    The bound: at most `max_overtaken` newer sentences join before any given one. For each that does adds
    one to its count, and while a count stands at the limit, only the oldest such sentence may join; since
    running sentences end, the batch empties, and an empty batch takes any sentence.
    """

    def __init__(self, max_overtaken: int) -> None:
        self._max_overtaken = max_overtaken
        self._waiting: list[Sequence] = []
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Let a sentence wait at the place its urgency gives it."""
        sequence.arrival = next(self._arrivals)
        insort(self._waiting, sequence, key=_urgency)

    def take(self, fits: Test, suits: Test) -> Sequence | None:
        """Take out the sentence that joins next, or none if it must wait for room.

        Args:
            fits: The batch has room for it.
            suits: It also costs the others nothing.
        """
        patient = min(
            (s for s in self._waiting if s.overtaken >= self._max_overtaken),
            key=lambda s: s.arrival,
            default=None,
        )
        candidates = self._waiting[:WINDOW] if patient is None else [patient]
        chosen = next((s for s in candidates if fits(s) and suits(s)), None)
        chosen = chosen or next((s for s in candidates if fits(s)), None)
        if chosen is not None:
            self._waiting.remove(chosen)
            for sequence in self._waiting:
                sequence.overtaken += sequence.arrival < chosen.arrival
        return chosen

    def drop(self, is_lost: Test) -> list[Sequence]:
        """Take out every sentence for which waiting has no more sense, and return them."""
        lost: list[Sequence] = []
        kept: list[Sequence] = []
        for sequence in self._waiting:  # asked once each: a client may hang up at any moment
            (lost if is_lost(sequence) else kept).append(sequence)
        self._waiting = kept
        return lost


def _urgency(sequence: Sequence) -> tuple[int, float, int]:
    return sequence.priority, sequence.deadline, sequence.arrival
