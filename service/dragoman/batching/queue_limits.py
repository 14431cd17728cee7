"""The limits of the waiting queue: how much may wait in all, of one caller, and of all bulk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dragoman.errors import OverLimit

NO_LIMIT = 2**31


class Amount(NamedTuple):
    """An amount of work: how many sentences, and how many tokens to read and to write."""

    sentences: int
    tokens: int


@dataclass(frozen=True)
class QueueLimits:
    """What a waiting queue may hold.

    Attributes:
        max_waiting: Sentences.
        max_work: Tokens, to be read and written.
        max_overtaken: How many newer sentences may join before an older one; it bounds how long anyone waits.
        max_caller_share: The part of the queue that one caller, or all bulk together, may fill. Interactive callers
            without a name cannot be told apart and may fill all of it.
    """

    max_waiting: int = NO_LIMIT
    max_work: int = NO_LIMIT
    max_overtaken: int = 64
    max_caller_share: float = 1.0

    def check_call(self, call: Amount) -> None:
        """Refuse a call that would not even fit an empty queue.

        Raises:
            OverLimit: It has too many sentences or tokens.
        """
        limits = {
            "sentences": (call.sentences, self.max_waiting),
            "pieces": (call.tokens, self.max_work),
        }
        for unit, (actual, limit) in limits.items():
            if actual > limit:
                raise OverLimit(
                    f"{unit} in one call", field="contents", limit=limit, actual=actual, reason="REQUEST_TOO_LONG"
                )  # fmt: skip

    def refusal(self, call: Amount, *, waiting: Amount, of_caller: Amount, of_bulk: Amount) -> str:
        """Return why there is no room for a call now; an empty string if there is room.

        A caller without waiting sentences may always put in one call of any size that fits the queue, for it would
        otherwise never be served. The same holds for bulk.

        Args:
            call: What the call asks for.
            waiting: What waits in all.
            of_caller: What waits for the same caller, if callers are known.
            of_bulk: What waits as bulk, if the call is bulk.
        """
        for owner, amount in (("of your sentences", of_caller), ("bulk sentences", of_bulk)):
            if amount.sentences and self._is_over_share(amount, call):
                return (
                    f"{amount.sentences:,} {owner} are waiting and {call.sentences:,} more asked for, "
                    f"the limit is {self.max_caller_share:.0%} of {self.max_waiting:,} ({self.max_work:,} pieces)"
                )
        if (
            waiting.sentences + call.sentences > self.max_waiting
            or waiting.tokens + call.tokens > self.max_work
        ):
            return (
                f"{waiting.sentences:,} sentences ({waiting.tokens:,} pieces) are waiting and {call.sentences:,} "
                f"({call.tokens:,}) more asked for, the limit is {self.max_waiting:,} ({self.max_work:,})"
            )
        return ""

    def _is_over_share(self, waiting: Amount, call: Amount) -> bool:
        share = self.max_caller_share
        return (
            waiting.sentences + call.sentences > share * self.max_waiting
            or waiting.tokens + call.tokens > share * self.max_work
        )
