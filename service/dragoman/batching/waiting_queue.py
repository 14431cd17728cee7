"""Who waits: the most urgent first, callers in turn, nobody for ever, and not too much.

Between the callers and the *schedulers*. A newer sentence may join before an older one because it is more
urgent, because it is its caller's turn, or, among those of one caller, because it suits the batch better, but not
without end.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile

from dragoman.batching.decode_request import DecodeRequest
from dragoman.errors import OverLimit, QueueFull

WINDOW = 64  # how far down the line a better suited sentence is looked for
OLDEST_EVERY = 4  # joins, once the oldest has been overtaken often enough
Test = Callable[[DecodeRequest], bool]


@dataclass(eq=False)
class _Caller:
    """One caller's waiting sentences, by priority, then deadline, then arrival.

    Attributes:
        served: Work done for it, in pieces, on a common clock: who begins to wait starts where others are.
        work: Pieces of all that wait, by priority.
    """

    served: float
    waiting: list[DecodeRequest] = field(default_factory=list)
    work: Counter[int] = field(default_factory=Counter)

    def work_before(self, request: DecodeRequest) -> int:
        """Return the pieces of those that are more urgent; counted from the nearer end, which mostly is near."""
        place = bisect_left(self.waiting, _urgency(request), key=_urgency)
        if 2 * place < len(self.waiting):
            return sum(s.work for s in islice(self.waiting, place))
        return self.work.total() - sum(s.work for s in islice(self.waiting, place, None))

    @property
    def turn(self) -> tuple[int, float]:
        return self.waiting[0].priority, self.served


class WaitingQueue:
    """Waiting sentences: interactive before bulk, then the caller served least, then its earliest deadline.

    The bound: if k sentences wait when one arrives, at most `max_overtaken` + 3 (k + 1) newer ones go before
    it. For once `max_overtaken` have, they have gone before the oldest too, and from then on every fourth
    to join is the oldest: no more than 3 newer ones for each of the k, and for the sentence itself.
    """

    def __init__(
        self,
        *,
        max_waiting: int = 2**31,
        max_work: int = 2**31,
        max_overtaken: int = 64,
        max_caller_share: float = 1.0,
    ) -> None:
        """Start empty.

        Args:
            max_waiting: Sentences that may wait.
            max_work: Pieces, to be read and written, that may wait.
            max_overtaken: How many newer sentences may go before any one; the bound on waiting.
            max_caller_share: Part of the line that one caller, or all bulk, may fill; interactive callers without a
                name may fill it all.
        """
        self.limit(
            max_waiting=max_waiting,
            max_work=max_work,
            max_overtaken=max_overtaken,
            max_caller_share=max_caller_share,
        )
        self._callers: dict[str, _Caller] = {}
        self._by_arrival: OrderedDict[int, DecodeRequest] = OrderedDict()
        self._arrived = 0
        self._since_oldest = 0  # joins
        self._served = 0.0  # by whoever joined last
        self.work = self.rows = 0  # of all that wait
        self._work_of: Counter[int] = Counter()  # by priority
        self.num_of: Counter[int] = Counter()  # sentences, by priority
        self.num_given_up = 0  # since somebody last asked and set it to 0

    def limit(self, *, max_waiting: int, max_work: int, max_overtaken: int, max_caller_share: float) -> None:
        """Change the limits; nobody who waits already is sent away."""
        self.max_waiting, self._max_work, self._max_overtaken = max_waiting, max_work, max_overtaken
        self._max_caller_share = max_caller_share

    def __len__(self) -> int:
        return len(self._by_arrival)

    def __iter__(self) -> Iterator[DecodeRequest]:
        return iter(self._by_arrival.values())

    def check_room(
        self, caller: str, count: int, work: int, retry_seconds: float, now: float, priority: int = 0
    ) -> None:
        """Refuse some sentences at once, all or none.

        Args:
            work: Of all of them, in pieces.
            priority: Of all of them; nobody's but the first may fill the whole line.

        Raises:
            OverLimit: There would be no room for them even in an empty line.
            QueueFull: There is none now.
        """
        asked = {"sentences": (count, self.max_waiting), "pieces": (work, self._max_work)}
        for unit, (actual, limit) in asked.items():
            if actual > limit:
                raise OverLimit(
                    f"{unit} in one call", field="contents", limit=limit, actual=actual, reason="REQUEST_TOO_LONG"
                )  # fmt: skip
        if self._want_of_room(caller, count, work, priority):
            self._drop_lost(now)  # done only when their places are needed
            if wanting := self._want_of_room(caller, count, work, priority):
                raise QueueFull(wanting, retry_seconds=retry_seconds)

    def _want_of_room(self, caller: str, count: int, work: int, priority: int) -> str:
        """Say why there is no room for some sentences; nothing if there is."""
        if self._has_its_share(caller, count, work):
            waiting = len(self._callers[caller].waiting)
            return f"{waiting:,} of your sentences are waiting and {count:,} more asked for, {self._share}"
        if self._is_enough_bulk(priority, count, work):
            waiting = self.num_of[priority]
            return f"{waiting:,} bulk sentences are waiting and {count:,} more asked for, {self._share}"
        if self._is_full(count, work):
            return (
                f"{len(self):,} sentences ({self.work:,} pieces) are waiting and {count:,} ({work:,}) "
                f"more asked for, the limit is {self.max_waiting:,} ({self._max_work:,})"
            )
        return ""

    @property
    def _share(self) -> str:
        share, sentences, tokens = self._max_caller_share, self.max_waiting, self._max_work
        return f"the limit is {share:.0%} of {sentences:,} ({tokens:,} pieces)"

    def _is_full(self, count: int, work: int) -> bool:
        return len(self) + count > self.max_waiting or self.work + work > self._max_work

    def _has_its_share(self, caller: str, count: int, work: int) -> bool:
        """Tell whether others need the places; whoever has nothing in the line may always put in a call."""
        own = self._callers.get(caller) if caller else None
        if own is None:
            return False
        return self._is_more_than_a_share(count + len(own.waiting), work + own.work.total())

    def _is_enough_bulk(self, priority: int, count: int, work: int) -> bool:
        """Tell whether interactive calls need the places; if no bulk waits, one call of it may always come."""
        if not (priority and self.num_of[priority]):
            return False
        return self._is_more_than_a_share(count + self.num_of[priority], work + self._work_of[priority])

    def _is_more_than_a_share(self, count: int, work: int) -> bool:
        share = self._max_caller_share
        return count > share * self.max_waiting or work > share * self._max_work

    def work_before(self, request: DecodeRequest) -> int:
        """Return the pieces of those that would go before a sentence that does not wait yet."""
        own = self._callers.get(request.caller)
        ahead = own.work_before(request) if own else 0
        of_others = sum(
            work - (own.work[priority] if own else 0)
            for priority, work in self._work_of.items()
            if priority <= request.priority
        )
        return ahead + min(of_others, max(1, len(self._callers) - bool(own)) * (ahead + request.work))

    def add(self, request: DecodeRequest) -> None:
        """Let a sentence wait at the place its urgency gives it."""
        request.arrival = self._arrived
        self._arrived += 1
        self._by_arrival[request.arrival] = request
        caller = self._callers.setdefault(request.caller, _Caller(self._served))
        insort(caller.waiting, request, key=_urgency)
        self._count(caller, request, 1)

    def take(self, fits: Test, suits: Test) -> DecodeRequest | None:
        """Take out the sentence that joins next, or none if it must wait for room.

        Args:
            fits: The batch has room for it.
            suits: It also costs the others nothing.
        """
        candidates = self._candidates()
        # Others are not to be overtaken for it.
        equals = takewhile(lambda s: s.whose == candidates[0].whose, candidates)
        chosen = next((s for s in equals if suits(s) and fits(s)), None)
        chosen = chosen or next((s for s in candidates if fits(s)), None)
        if chosen is not None:
            self._since_oldest = 0 if chosen is self._oldest() else self._since_oldest + 1
            self._served = self._callers[chosen.caller].served
            self._callers[chosen.caller].served += chosen.work
            self._remove(chosen)
        return chosen

    def _candidates(self) -> list[DecodeRequest]:
        oldest = self._oldest()
        if oldest and self._since_oldest >= OLDEST_EVERY - 1:
            gone = self._arrived - len(self)
            if gone - oldest.arrival >= self._max_overtaken:  # of those gone, all that are not older
                return [oldest]
        callers = sorted(self._callers.values(), key=lambda caller: caller.turn)
        return list(islice(chain.from_iterable(caller.waiting for caller in callers), WINDOW))

    def _oldest(self) -> DecodeRequest | None:
        return next(iter(self._by_arrival.values()), None)

    def _remove(self, request: DecodeRequest) -> None:
        caller = self._callers[request.caller]
        del caller.waiting[bisect_left(caller.waiting, _urgency(request), key=_urgency)]
        if not caller.waiting:
            del self._callers[request.caller]
        del self._by_arrival[request.arrival]
        self._count(caller, request, -1)

    def _count(self, caller: _Caller, request: DecodeRequest, sign: int) -> None:
        work = sign * request.work
        self.work += work
        caller.work[request.priority] += work
        self._work_of[request.priority] += work
        self.num_of[request.priority] += sign
        self.rows += sign * request.search.beam_size

    def _drop_lost(self, now: float) -> None:
        for request in [waiting for waiting in self if waiting.is_lost(now)]:
            self._remove(request)
            self.give_up(request)

    def give_up(self, request: DecodeRequest) -> None:
        """Let a sentence go that was lost while it waited."""
        self.num_given_up += 1
        request.give_up()


def _urgency(request: DecodeRequest) -> tuple[int, float, int]:
    return request.priority, request.deadline, request.arrival
