"""The throughput estimator: how fast the workers are, measured as they run, and how long what waits will take.

Work is counted in tokens: those that the encoder reads, and one for each decoder row and step. A token costs more in a
small batch than in a large one, so throughput is kept for each batch size; one that was not seen lately is estimated
from the next smaller. Bad figures do not last: a size is forgotten if nothing new of it is seen, and a step in
which the machine stood still counts only as several times a usual one.
"""

from __future__ import annotations

from typing import NamedTuple

from dragoman.batching.decode_request import DecodeRequest

_INITIAL_SECONDS = 0.001  # for a token in a batch of one row, before anything is measured
_SPEED_UP = 1.4  # of a token by each doubling of the rows, up to 8; measured, roughly
_DECAY = 0.95  # of older measurements, at each step
_MAX_SLOWDOWN = 4  # a step counts at most as so many usual ones; if all are slow, a dozen of them show it
_MEMORY_STEPS = 1000  # after which a batch size that was not seen again is forgotten
_NUM_SIZES = 11  # 1, 2, 4, ... 1024 rows


class _Average(NamedTuple):
    """Exponentially decayed sums over the steps of one batch size."""

    steps: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0


class ThroughputEstimator:
    """Seconds that one worker needs for a token and for a step, by rows in the batch."""

    def __init__(self) -> None:
        self._averages = [_Average()] * _NUM_SIZES
        self._last_seen = [-_MEMORY_STEPS] * _NUM_SIZES  # number of the step
        self._num_steps = 0

    def observe(self, rows: int, tokens: int, seconds: float) -> None:
        """Learn from one step: its rows, the tokens read and written, and its time."""
        size = _size(rows)
        before = self._averages[size]
        if self._is_known(size):
            usual = before.seconds * max(tokens / before.tokens, 1 / before.steps)
            seconds = min(seconds, _MAX_SLOWDOWN * usual)
        self._num_steps += 1
        self._last_seen[size] = self._num_steps
        self._averages[size] = _Average(
            _DECAY * before.steps + 1,
            _DECAY * before.tokens + tokens,
            _DECAY * before.seconds + seconds,
        )

    def seconds_per_token(self, rows: int) -> float:
        """Estimate what a token costs in a batch of some rows."""
        wanted = _size(rows)
        for size in range(wanted, -1, -1):
            if self._is_known(size):
                known = self._averages[size]
                return known.seconds / known.tokens / _SPEED_UP ** min(wanted - size, 3)
        return _INITIAL_SECONDS / _SPEED_UP ** min(wanted, 3)

    def step_seconds(self, rows: int) -> float:
        """Estimate what a step of some rows takes, including the sentences that join meanwhile.

        In the long run, each row that writes a token lets one be read. A step that was seen while many joined at once
        took longer, but that does not happen at every step.
        """
        size = _size(rows)
        sustained = 2 * rows * self.seconds_per_token(rows)
        if not self._is_known(size):
            return sustained
        known = self._averages[size]
        return min(sustained, known.seconds / known.steps)

    def drain_seconds(self, work: int, rows: int, num_workers: int) -> float:
        """Estimate how long some workers take for some work, in batches of some rows each."""
        return work * self.seconds_per_token(rows) / num_workers

    def request_seconds(self, request: DecodeRequest, rows: int) -> float:
        """Estimate how long a sentence takes once it has joined a batch of some rows."""
        read = len(request.source_tokens) * self.seconds_per_token(rows)
        return read + request.expected_tokens * self.step_seconds(rows)

    def _is_known(self, size: int) -> bool:
        return self._num_steps - self._last_seen[size] < _MEMORY_STEPS


def _size(rows: int) -> int:
    """Return the index of a batch size: the power of two at or below it."""
    return min(max(rows, 1).bit_length() - 1, _NUM_SIZES - 1)
