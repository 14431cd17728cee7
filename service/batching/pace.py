"""How fast the decode loops are, measured as they run, and how long what waits will take.

Work is counted in pieces: those the encoder reads, and those each decoder row writes. A piece costs more in
a small batch than in a large one, so the pace is kept for each size of batch; one that has not been seen yet
is guessed from the nearest smaller one.
"""

from __future__ import annotations

from service.batching.sequence import Sequence

_FIRST_GUESS = 0.001  # seconds a piece in a batch of one
_GAIN = 1.4  # of each doubling up to 8 rows; measured, roughly
_FADING = 0.95  # of what was measured before, at each step
_SIZES = 11  # 1, 2, 4, ... 1024 rows


class Pace:
    """Seconds of one loop for a piece, by rows in the batch."""

    def __init__(self) -> None:
        self._pieces, self._seconds = [0.0] * _SIZES, [0.0] * _SIZES  # of late, by size

    def observe(self, rows: int, pieces: int, seconds: float) -> None:
        """Take in one step: how many rows it had, and how many pieces were read and written."""
        size = _size(rows)
        self._pieces[size] = _FADING * self._pieces[size] + pieces
        self._seconds[size] = _FADING * self._seconds[size] + seconds

    def seconds_per_piece(self, rows: int) -> float:
        """Return what a piece costs in a batch of some rows."""
        wanted = _size(rows)
        for size in range(wanted, -1, -1):
            if self._pieces[size]:
                return self._seconds[size] / self._pieces[size] / _GAIN ** min(wanted - size, 3)
        return _FIRST_GUESS / _GAIN ** min(wanted, 3)

    def drain_seconds(self, work: int, rows: int, loops: int) -> float:
        """Return how long some loops take for some work, with batches of some rows each."""
        return work * self.seconds_per_piece(rows) / loops

    def own_seconds(self, sequence: Sequence, rows: int) -> float:
        """Return how long a sentence takes from the moment it joins a batch of some rows."""
        return self.seconds_per_piece(rows) * (len(sequence.source_ids) + sequence.expected_tokens * rows)


def _size(rows: int) -> int:
    return min(max(rows, 1).bit_length() - 1, _SIZES - 1)
