"""The quota of a caller: a token bucket that refills evenly and holds one minute's allowance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Bucket:
    """A token bucket.

    Who asks for more than it can ever hold is served once it is full, and then waits until the debt is paid: so
    the average is kept, and nothing is refused for ever.

    Attributes:
        per_minute: What flows in within a minute, and the most it holds.
        level: What is in it; below 0, what is owed.
        at: When that was so, in seconds.
    """

    per_minute: float
    level: float
    at: float

    @classmethod
    def started(cls, per_minute: float, share: float, at: float) -> Bucket:
        """Return a bucket that nothing has been taken from since the server started.

        Args:
            share: How full it was then; one request always was allowed.
            at: When that was.
        """
        return cls(per_minute, max(min(1.0, per_minute), share * per_minute), at)

    def wait_seconds(self, amount: float, now: float) -> float:
        """Return how long it takes until `amount` may be taken; 0 if it may be now."""
        self.level = min(self.per_minute, self.level + max(0.0, now - self.at) * self.per_minute / 60)
        self.at = now
        return max(0.0, (min(amount, self.per_minute) - self.level) * 60 / self.per_minute)

    def take(self, amount: float) -> None:
        """Take something out; a negative amount puts it back."""
        self.level = min(self.per_minute, self.level - amount)
