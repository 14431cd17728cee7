"""How fast the decode loops are, measured as they run, and how long what waits will take.

Work is counted in pieces: those the encoder reads, and those each decoder row writes. A piece costs more in
a small batch than in a large one, so the pace is kept for each size of batch; one that has not been seen of late
is guessed from the nearest smaller one. So one bad moment, after which nothing of that size is admitted that would
show better, is not believed for ever; nor is one step in which the machine stood still taken for the pace.
"""

from __future__ import annotations

from dragoman.batching.decode_request import DecodeRequest

_FIRST_GUESS = 0.001  # seconds a piece in a batch of one
_GAIN = 1.4  # of each doubling up to 8 rows; measured, roughly
_FADING = 0.95  # of what was measured before, at each step
_MOST = 4  # times as long as usual, which a step counts for at most: if all are slow, a dozen of them show it
_MEMORY = 1000  # steps after which a size is forgotten
_SIZES = 11  # 1, 2, 4, ... 1024 rows


class ThroughputEstimator:
    """Seconds of one loop for a piece and for a step, by rows in the batch."""

    def __init__(self) -> None:
        self._of_late = [(0.0, 0.0, 0.0)] * _SIZES  # steps, pieces, seconds
        self._last_seen = [-_MEMORY] * _SIZES  # in steps
        self._steps = 0

    def observe(self, rows: int, tokens: int, seconds: float) -> None:
        """Take in one step: how many rows it had, and how many pieces were read and written."""
        size = _size(rows)
        steps_before, pieces_before, seconds_before = self._of_late[size]
        if self._knows(size):
            usual = seconds_before * max(tokens / pieces_before, 1 / steps_before)
            seconds = min(seconds, _MOST * usual)
        self._steps += 1
        self._last_seen[size] = self._steps
        self._of_late[size] = (
            _FADING * steps_before + 1,
            _FADING * pieces_before + tokens,
            _FADING * seconds_before + seconds,
        )

    def seconds_per_token(self, rows: int) -> float:
        """Return what a piece costs in a batch of some rows."""
        wanted = _size(rows)
        for size in range(wanted, -1, -1):
            if self._knows(size):
                _, tokens, seconds = self._of_late[size]
                return seconds / tokens / _GAIN ** min(wanted - size, 3)
        return _FIRST_GUESS / _GAIN ** min(wanted, 3)

    def step_seconds(self, rows: int) -> float:
        """Return what a step of some rows takes, with those who join meanwhile.

        In the long run each row that writes a piece lets one be read. A step that was seen while many joined at once
        took longer, but does not do so again and again.
        """
        size = _size(rows)
        lasting = 2 * rows * self.seconds_per_token(rows)
        if not self._knows(size):
            return lasting
        steps, _, seconds = self._of_late[size]
        return min(lasting, seconds / steps)

    def _knows(self, size: int) -> bool:
        return self._steps - self._last_seen[size] < _MEMORY

    def drain_seconds(self, work: int, rows: int, num_workers: int) -> float:
        """Return how long some loops take for some work, with batches of some rows each."""
        return work * self.seconds_per_token(rows) / num_workers

    def own_seconds(self, request: DecodeRequest, rows: int) -> float:
        """Return how long a sentence takes from the moment it joins a batch of some rows."""
        read = len(request.source_tokens) * self.seconds_per_token(rows)
        return read + request.expected_tokens * self.step_seconds(rows)


def _size(rows: int) -> int:
    return min(max(rows, 1).bit_length() - 1, _SIZES - 1)
