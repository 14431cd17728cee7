"""Keys and values of all rows, in place: a row that joins or leaves copies itself and no other.

Rows lie densely in front. The arrays are larger than what is in use, so that joining seldom allocates; a
step is run on the rows in front, which are contiguous whatever the capacity.

Axes: R rows, L positions, H heads, K width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Kept = npt.NDArray[np.float32 | np.int8]
ROWS = 16  # that memory grows by
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
    """Return the length to allocate for one that is needed: 64, 128, 256, ...

    Few lengths mean few allocations and few shapes; a step reads what stands in a row, not the room behind it.

    >>> [roomy(length) for length in (1, 65, 100, 200)]
    [64, 128, 128, 256]
    """
    return max(64, 1 << (length - 1).bit_length())


class Cache:
    """Arrays of one shape and type, (R, H, L, K) each, one for each name: a block (names, R, H, L, K).

    The block lies in front of a larger piece of memory, of which there are two: what changes its shape is
    copied from one to the other, and fresh memory, which the system hands out slowly, is seldom needed. Together they
    are at most one and a half times what was needed at once.
    """

    def __init__(
        self, names: Sequence[str], heads: int, width: int, dtype: type[np.float32 | np.int8] = np.float32
    ) -> None:
        self._names, self._heads, self._width = names, heads, width
        self._memory, self._spare = np.empty(0, dtype), np.empty(0, dtype)
        self._block = self._laid_out(0, 0)

    @property
    def length(self) -> int:
        """Return L: the positions that every row has."""
        length: int = self._block.shape[3]
        return length

    def reserve(self, used: int, rows: int, length: int) -> bool:
        """Have room for some rows of some length, keeping the rows in use; tell whether the arrays have moved.

        Rows grow by sixteens. The length is memory, and changing it copies all rows: it follows what is needed
        up at once, and down when a quarter of it would do.
        """
        capacity, wanted = self._block.shape[1], roomy(length)
        if self.length > wanted > self.length // 4:
            wanted = self.length
        if rows <= capacity and wanted == self.length:
            return False
        if rows > capacity:
            capacity = -(-rows // ROWS) * ROWS
        kept = self._block[:, :used, :, : min(wanted, self.length)]
        size = math.prod(self._shape(capacity, wanted))
        if len(self._spare) >= size:
            self._memory, self._spare = self._spare, self._memory
        elif len(self._memory) >= size:
            kept = kept.copy()  # the block grows where it lies
        else:
            new = np.empty(size, self._memory.dtype)
            self._memory, self._spare = new, self._memory if 2 * len(self._memory) <= size else new[:0]
        self._block = self._laid_out(capacity, wanted)
        self._block[:, :used, :, : kept.shape[3]] = kept
        return True

    def _shape(self, rows: int, length: int) -> tuple[int, ...]:
        return len(self._names), rows, self._heads, length, self._width

    def _laid_out(self, rows: int, length: int) -> Kept:
        shape = self._shape(rows, length)
        return self._memory[: math.prod(shape)].reshape(shape)

    def items(self, rows: int) -> list[tuple[str, Kept]]:
        """Return what a graph works on: the rows in front, by name, not copied."""
        return [(name, array[:rows]) for name, array in zip(self._names, self._block, strict=True)]

    def put(self, rows: Sequence[int] | npt.NDArray[np.int64], parts: Sequence[Kept]) -> None:
        """Write whole rows, (rows, H, l, K) each, from the first position on."""
        for array, part in zip(self._block, parts, strict=True):
            array[rows, :, : part.shape[2]] = part

    def copy(self, source: int, target: int, length: int, first: int = 0) -> None:
        """Copy the positions of one row up to a length, or those from another on, over those of another row."""
        self._block[:, target, :, first:length] = self._block[:, source, :, first:length]
