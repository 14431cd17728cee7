"""The cache: keys and values of all rows, changed in place. A row that joins or leaves moves no other.

The rows in use come first, without gaps. The arrays are larger than needed, so that joining seldom allocates; a step runs
on the rows in use, which are contiguous whatever the capacity.

Axes: R rows, L positions, H heads, K width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
CacheArray = npt.NDArray[np.float32 | np.int8]
ROW_STEP = 16  # rows by which capacity grows
_Item = TypeVar("_Item")


def close_gaps(items: list[_Item], gone: Sequence[int]) -> None:
    """Remove the items at some places, and fill each gap with the last item.

    >>> rows = ["a", "b", "c", "d"]
    >>> close_gaps(rows, [0, 2])
    >>> rows
    ['d', 'b']
    """
    for place in sorted(gone, reverse=True):
        last = items.pop()
        if place < len(items):
            items[place] = last


def row_capacity(rows: int) -> int:
    """Return how many rows to allocate for those that are needed.

    >>> [row_capacity(rows) for rows in (1, 16, 17)]
    [16, 16, 32]
    """
    return -(-rows // ROW_STEP) * ROW_STEP


def allocated_length(length: int) -> int:
    """Return the length to allocate for a needed one: 64, 128, 256, ...

    Few lengths mean few allocations and few shapes. A step does not read the unused positions behind a row's own.

    >>> [allocated_length(length) for length in (1, 65, 100, 200)]
    [64, 128, 128, 256]
    """
    return max(64, 1 << (length - 1).bit_length())


class Cache:
    """Named arrays of one shape and type, (R, H, L, K) each, together a block (names, R, H, L, K).

    There are two pieces of memory. The block is at the front of one; when its shape changes, it is copied to the other.
    New memory, which the system provides slowly, is seldom needed. Together, the two are at most one and a half times as
    large as the largest block.
    """

    def __init__(
        self, names: Sequence[str], heads: int, width: int, dtype: type[np.float32 | np.int8] = np.float32
    ) -> None:
        self._names = names
        self._heads = heads
        self._width = width
        self._memory = np.empty(0, dtype)
        self._spare = np.empty(0, dtype)
        self._block = self._view(0, 0)

    @property
    def length(self) -> int:
        """Return L: the positions that every row has."""
        length: int = self._block.shape[3]
        return length

    def reserve(self, used: int, rows: int, length: int) -> bool:
        """Make room for some rows of some length, keeping the rows in use; return whether the arrays have moved.

        Capacity grows by `ROW_STEP` rows. A change of the length copies all rows: the length grows as soon as more is
        needed, and shrinks once a quarter of it is enough.
        """
        capacity = self._block.shape[1]
        new_length = allocated_length(length)
        if self.length > new_length > self.length // 4:
            new_length = self.length
        if rows <= capacity and new_length == self.length:
            return False
        if rows > capacity:
            capacity = row_capacity(rows)
        kept = self._block[:, :used, :, : min(new_length, self.length)]
        size = math.prod(self._shape(capacity, new_length))
        if len(self._spare) >= size:
            self._memory, self._spare = self._spare, self._memory
        elif len(self._memory) >= size:
            kept = kept.copy()  # the block grows in place, over what is copied from
        else:
            new = np.empty(size, self._memory.dtype)
            self._memory, self._spare = new, self._memory if 2 * len(self._memory) <= size else new[:0]
        self._block = self._view(capacity, new_length)
        self._block[:, :used, :, : kept.shape[3]] = kept
        return True

    def _shape(self, rows: int, length: int) -> tuple[int, ...]:
        return len(self._names), rows, self._heads, length, self._width

    def _view(self, rows: int, length: int) -> CacheArray:
        shape = self._shape(rows, length)
        return self._memory[: math.prod(shape)].reshape(shape)

    def items(self, rows: int) -> list[tuple[str, CacheArray]]:
        """Return the rows in use, by name, as views."""
        return [(name, array[:rows]) for name, array in zip(self._names, self._block, strict=True)]

    def put(self, rows: Sequence[int] | npt.NDArray[np.int64], parts: Sequence[CacheArray]) -> None:
        """Write the first l positions of some rows, (rows, H, l, K) for each name."""
        for array, part in zip(self._block, parts, strict=True):
            array[rows, :, : part.shape[2]] = part

    def copy(self, source: int, target: int, length: int, first: int = 0) -> None:
        """Copy the positions `first` to `length` of one row to another."""
        self._block[:, target, :, first:length] = self._block[:, source, :, first:length]
