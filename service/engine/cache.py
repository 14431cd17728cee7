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


def roomy(length: int) -> int:
    """Return the length to allocate for one that is needed: 8, 16, 24, 32, 48, 64, 96, 128, 192, ...

    Few lengths mean few allocations and few shapes, and at most half is more than needed.

    >>> [roomy(length) for length in (1, 9, 33, 100, 200)]
    [8, 16, 48, 128, 256]
    """
    room = 8
    while room < length:
        room += 8 if room < 32 else 1 << (room.bit_length() - 2)
    return room


class Cache:
    """Arrays of one shape, (R, H, L, K) each, one for each name."""

    def __init__(self, names: Sequence[str], heads: int, width: int) -> None:
        self._names, self._heads, self._width = names, heads, width
        self._allocate(0, 0)

    @property
    def length(self) -> int:
        """Return L: the positions that every row has."""
        return int(self._arrays[0].shape[2])

    def reserve(self, used: int, rows: int, length: int) -> bool:
        """Have room for some rows of some length, keeping the rows in use; tell whether the arrays are new.

        Rows grow by doubling. The length is work at every step, so it follows what is needed, up at once
        and down when half of it would do.
        """
        capacity, wanted = self._arrays[0].shape[0], roomy(length)
        if self.length > wanted > self.length // 2:
            wanted = self.length
        if rows <= capacity and wanted == self.length:
            return False
        old, kept = self._arrays, min(wanted, self.length)
        self._allocate(max(rows, 2 * capacity) if rows > capacity else capacity, wanted)
        for new, before in zip(self._arrays, old, strict=True):
            new[:used, :, :kept] = before[:used, :, :kept]
        return True

    def items(self, rows: int) -> list[tuple[str, Float]]:
        """Return what a graph works on: the rows in front, by name, not copied."""
        return [(name, array[:rows]) for name, array in zip(self._names, self._arrays, strict=True)]

    def put(self, rows: Sequence[int] | npt.NDArray[np.int64], parts: Sequence[Float]) -> None:
        """Write whole rows, (rows, H, l, K) each, from the first position on."""
        for array, part in zip(self._arrays, parts, strict=True):
            array[rows, :, : part.shape[2]] = part

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of one row over those of another."""
        for array in self._arrays:
            array[target, :, :length] = array[source, :, :length]

    def _allocate(self, rows: int, length: int) -> None:
        # Zeros, for what a mask hides must be finite: it is multiplied by a weight of 0, not skipped.
        shape = (rows, self._heads, length, self._width)
        self._arrays = [np.zeros(shape, np.float32) for _ in self._names]
