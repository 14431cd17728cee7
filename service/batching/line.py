"""Who waits: the most urgent first, nobody for ever, and not too many.

Between the callers and the *schedulers*. A newer sentence may join before an older one because it is more
urgent or because it suits the batch better, but only so often.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator

from service.batching.sequence import Sequence
from service.errors import OverLimit, QueueFull

WINDOW = 64  # how far down the line a better suited sentence is looked for
Test = Callable[[Sequence], bool]


class Line:
    """Waiting sentences by priority, then deadline, then arrival.

    The bound: at most `max_overtaken` newer sentences go before any given one. Only the oldest needs to be
    watched, for whoever goes before a sentence goes before the oldest too; and once that many have gone
    before the oldest, it alone may join. Since running sentences end, and an empty batch takes any sentence,
    it does.
    """

    def __init__(self, *, max_waiting: int = 2**31, max_overtaken: int = 64) -> None:
        """Start empty.

        Args:
            max_waiting: Sentences that may wait.
            max_overtaken: How many newer sentences may go before any one; the bound on waiting.
        """
        self._max_waiting, self._max_overtaken = max_waiting, max_overtaken
        self._by_urgency: list[Sequence] = []
        self._by_arrival: OrderedDict[int, Sequence] = OrderedDict()
        self._arrived = 0

    def __len__(self) -> int:
        return len(self._by_urgency)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._by_urgency)

    def check_room(self, count: int, retry_seconds: float, now: float) -> None:
        """Refuse some sentences at once, all or none.

        Raises:
            OverLimit: There would be no room for them even in an empty line.
            QueueFull: Waiting longer would only break the caller's deadline.
        """
        if count > self._max_waiting:
            raise OverLimit(
                "sentences in one call", field="contents",
                limit=self._max_waiting, actual=count, reason="REQUEST_TOO_LONG",
            )  # fmt: skip
        if len(self) + count > self._max_waiting:
            self._drop_lost(now)  # done only when their places are needed
        if len(self) + count > self._max_waiting:
            raise QueueFull(
                f"{len(self):,} sentences are waiting and {count:,} more asked for, "
                f"the limit is {self._max_waiting:,}",
                retry_seconds=retry_seconds,
            )

    def add(self, sequence: Sequence) -> None:
        """Let a sentence wait at the place its urgency gives it."""
        sequence.arrival = self._arrived
        self._arrived += 1
        self._by_arrival[sequence.arrival] = sequence
        insort(self._by_urgency, sequence, key=_urgency)

    def take(self, fits: Test, suits: Test) -> Sequence | None:
        """Take out the sentence that joins next, or none if it must wait for room.

        Args:
            fits: The batch has room for it.
            suits: It also costs the others nothing.
        """
        candidates = [oldest] if (oldest := self._overdue()) else self._by_urgency[:WINDOW]
        chosen = next((s for s in candidates if suits(s) and fits(s)), None)
        chosen = chosen or next((s for s in candidates if fits(s)), None)
        if chosen is not None:
            self._remove(chosen)
        return chosen

    def _overdue(self) -> Sequence | None:
        """Return the oldest sentence if it has been overtaken often enough."""
        if not self._by_arrival:
            return None
        oldest = next(iter(self._by_arrival.values()))
        gone = self._arrived - len(self)
        overtaken = gone - oldest.arrival  # of those gone, all that are not older
        return oldest if overtaken >= self._max_overtaken else None

    def _remove(self, sequence: Sequence) -> None:
        del self._by_urgency[bisect_left(self._by_urgency, _urgency(sequence), key=_urgency)]
        del self._by_arrival[sequence.arrival]

    def _drop_lost(self, now: float) -> None:
        for sequence in [waiting for waiting in self._by_urgency if waiting.is_lost(now)]:
            self._remove(sequence)
            sequence.give_up()


def _urgency(sequence: Sequence) -> tuple[int, float, int]:
    return sequence.priority, sequence.deadline, sequence.arrival
