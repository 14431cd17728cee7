"""The waiting queue: sentences without a row yet, in the order in which they join.

The most urgent goes first and callers take turns. A newer sentence may overtake an older one because it is more
urgent, because it is its caller's turn or, among the sentences of one caller, because it fits the batch better; but
only so often.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile

from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.queue_limits import Amount, QueueLimits
from dragoman.errors import QueueFull

WINDOW = 64  # how many of the first sentences are searched for one that fits
OLDEST_EVERY = 4  # joins: every fourth is the oldest, once that has been overtaken too often
NOTHING = Amount(0, 0)
Test = Callable[[DecodeRequest], bool]


@dataclass(eq=False)
class _Caller:
    """The waiting sentences of one caller, ordered by priority, deadline and arrival.

    Attributes:
        served: Tokens of work done for it. A newcomer starts at what the caller served last has, so that callers
            compete from the moment they begin to wait.
        work: Tokens of work that waits, by priority.
    """

    served: float
    waiting: list[DecodeRequest] = field(default_factory=list)
    work: Counter[int] = field(default_factory=Counter)

    @property
    def amount(self) -> Amount:
        """Return how much waits."""
        return Amount(len(self.waiting), self.work.total())

    @property
    def turn(self) -> tuple[int, float]:
        """Return the order among callers: the most urgent sentence decides, then who was served least."""
        return self.waiting[0].priority, self.served

    def work_before(self, request: DecodeRequest) -> int:
        """Return the work of the more urgent sentences, summed from the nearer end of the list."""
        place = bisect_left(self.waiting, _urgency(request), key=_urgency)
        if 2 * place < len(self.waiting):
            return sum(s.work for s in islice(self.waiting, place))
        return self.work.total() - sum(s.work for s in islice(self.waiting, place, None))


class WaitingQueue:
    """Orders waiting sentences: by priority, then the caller served least, then deadline and arrival.

    The bound on waiting: if k sentences wait when one arrives, at most `max_overtaken` + 3 (k + 1) newer ones join
    before it. Once `max_overtaken` newer ones have, they have overtaken the oldest too, and from then on every fourth
    to join is the oldest: at most 3 newer ones for each of the k, and 3 for the sentence itself.

    Attributes:
        limits: May be replaced at any time; sentences that wait already stay.
        work: Tokens to read and to write, of all that wait.
        rows: Decoder rows that they will take.
        num_of: How many wait, by priority.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.work = 0
        self.rows = 0
        self.num_of: Counter[int] = Counter()
        self._work_of: Counter[int] = Counter()  # by priority
        self._callers: dict[str, _Caller] = {}
        self._by_arrival: OrderedDict[int, DecodeRequest] = OrderedDict()
        self._num_arrived = 0
        self._joins_since_oldest = 0
        self._served = 0.0  # of the caller whose sentence joined last
        self._num_given_up = 0

    def __len__(self) -> int:
        return len(self._by_arrival)

    def __iter__(self) -> Iterator[DecodeRequest]:
        return iter(self._by_arrival.values())

    def check_room(
        self, caller: str, count: int, work: int, retry_seconds: float, now: float, priority: int = 0
    ) -> None:
        """Refuse the sentences of a call, all or none.

        Args:
            count: How many they are.
            work: Tokens to read and to write, of all of them.
            retry_seconds: When there should be room, for those who are refused.
            priority: Of all of them. Only priority 0 may fill the whole queue.

        Raises:
            OverLimit: They would not even fit an empty queue.
            QueueFull: There is no room for them now.
        """
        call = Amount(count, work)
        self.limits.check_call(call)
        if self._refusal(caller, call, priority):
            self._drop_lost(now)  # takes a while, so it is done only when their places are needed
            if refusal := self._refusal(caller, call, priority):
                raise QueueFull(refusal, retry_seconds=retry_seconds)

    def _refusal(self, caller: str, call: Amount, priority: int) -> str:
        known = self._callers.get(caller) if caller else None
        return self.limits.refusal(
            call,
            waiting=Amount(len(self), self.work),
            of_caller=known.amount if known else NOTHING,
            of_bulk=Amount(self.num_of[priority], self._work_of[priority]) if priority else NOTHING,
        )

    def work_before(self, request: DecodeRequest) -> int:
        """Return the work that would be done before a sentence that does not wait yet."""
        own = self._callers.get(request.caller)
        own_before = own.work_before(request) if own else 0
        of_others = sum(
            work - (own.work[priority] if own else 0)
            for priority, work in self._work_of.items()
            if priority <= request.priority
        )
        # Callers take turns: while this one's work is done, each other caller has at most as much done.
        num_others = max(1, len(self._callers) - bool(own))
        return own_before + min(of_others, num_others * (own_before + request.work))

    def add(self, request: DecodeRequest) -> None:
        """Insert a sentence by its urgency."""
        request.arrival = self._num_arrived
        self._num_arrived += 1
        self._by_arrival[request.arrival] = request
        caller = self._callers.setdefault(request.caller, _Caller(self._served))
        insort(caller.waiting, request, key=_urgency)
        self._count(caller, request, 1)

    def take(self, fits: Test, suits: Test) -> DecodeRequest | None:
        """Remove and return the sentence that joins next; None if that one must wait for room.

        Args:
            fits: Whether the batch has room for a sentence.
            suits: Whether it fits without making the batch longer.
        """
        candidates = self._candidates()
        # A sentence that suits may overtake those of the same caller and priority, not those of others.
        equals = takewhile(lambda s: s.lane == candidates[0].lane, candidates)
        chosen = next((s for s in equals if suits(s) and fits(s)), None)
        chosen = chosen or next((s for s in candidates if fits(s)), None)
        if chosen is not None:
            self._joins_since_oldest = 0 if chosen is self._oldest() else self._joins_since_oldest + 1
            self._served = self._callers[chosen.caller].served
            self._callers[chosen.caller].served += chosen.work
            self._remove(chosen)
        return chosen

    def _candidates(self) -> list[DecodeRequest]:
        """Return the sentences that may join next, in order: only the oldest, if it has waited too long."""
        oldest = self._oldest()
        if oldest and self._joins_since_oldest >= OLDEST_EVERY - 1:
            num_gone = self._num_arrived - len(self)
            if (
                num_gone - oldest.arrival >= self.limits.max_overtaken
            ):  # older ones are gone, so the rest are newer
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
        """Remove the sentences whose caller is gone or whose deadline has passed."""
        for request in [waiting for waiting in self if waiting.is_lost(now)]:
            self._remove(request)
            self.give_up(request)

    def give_up(self, request: DecodeRequest) -> None:
        """End a sentence that was lost while it waited, and count it."""
        self._num_given_up += 1
        request.give_up()

    def take_num_given_up(self) -> int:
        """Return how many sentences were given up since the last call."""
        count, self._num_given_up = self._num_given_up, 0
        return count


def _urgency(request: DecodeRequest) -> tuple[int, float, int]:
    return request.priority, request.deadline, request.arrival
