"""Keys and values of all rows, in place: a row that joins or leaves copies itself and no other.

Rows lie densely in front. The arrays are larger than what is in use, so that joining seldom allocates; a
step is run on the rows in front, which are contiguous whatever the capacity.

Axes: R rows, L positions, H heads, K width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
_Item = TypeVar("_Item")


def close_gaps(items: list[_Item], gone: Sequence[int]) -> None:
    """Take out the items at some places; each gap is filled by what is then the last.

    >>> rows = ["a", "b", "c", "d"]
    >>> close_gaps(rows, [0, 2])
    >>> rows
    ['d', 'b']
    """
    for place in sorted(gone, reverse=True):
        last = items.pop()
        if place < len(items):
            items[place] = last


class Cache:
    """Arrays of one shape, (R, H, L, K) each, one for each name."""

    def __init__(self, names: Sequence[str], heads: int, width: int) -> None:
        self._names, self._heads, self._width = names, heads, width
        self._arrays = self._allocate(0, 0)

    @property
    def length(self) -> int:
        """Return L: the positions that every row has."""
        return int(self._arrays[0].shape[2])

    def reserve(self, used: int, rows: int, length: int) -> None:
        """Have room for some rows of some length, keeping the rows in use.

        Rows grow by doubling. The length is work at every step, so it is kept near what is needed: it grows
        at once, and shrinks when half of it would do.
        """
        capacity = self._arrays[0].shape[0]
        wanted = length if length > self.length or 2 * length <= self.length else self.length
        if rows <= capacity and wanted == self.length:
            return
        old, kept = self._arrays, min(wanted, self.length)
        self._arrays = self._allocate(max(rows, 2 * capacity) if rows > capacity else capacity, wanted)
        for new, before in zip(self._arrays, old, strict=True):
            new[:used, :, :kept] = before[:used, :, :kept]

    def feeds(self, rows: int) -> dict[str, Float]:
        """Return what a graph reads: the rows in front, not copied."""
        return {name: array[:rows] for name, array in zip(self._names, self._arrays, strict=True)}

    def put(self, rows: Sequence[int] | npt.NDArray[np.int64], parts: Sequence[Float]) -> None:
        """Write whole rows, (rows, H, l, K) each, from the first position on."""
        for array, part in zip(self._arrays, parts, strict=True):
            array[rows, :, : part.shape[2]] = part

    def put_at(self, places: npt.NDArray[np.int64], parts: Sequence[Float]) -> None:
        """Write one position of each row in front, (rows, H, 1, K) each."""
        rows = np.arange(len(places))
        for array, part in zip(self._arrays, parts, strict=True):
            array[rows, :, places] = part[:, :, 0]

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        for array in self._arrays:
            array[target] = array[source]

    def _allocate(self, rows: int, length: int) -> list[Float]:
        # Zeros, for what a mask hides must be finite: it is multiplied by a weight of 0, not skipped.
        shape = (rows, self._heads, length, self._width)
        return [np.zeros(shape, np.float32) for _ in self._names]
