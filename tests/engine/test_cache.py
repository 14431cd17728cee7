"""The rows' keys and values: in place and dense."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.engine.cache import Cache, close_gaps

NAMES = ["key", "value"]


def filled(
    rows: int, length: int, value: float = 1.0
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return what an engine would write for some rows: one head, one number a position."""
    return [np.full((rows, 1, length, 1), value * sign, np.float32) for sign in (1, -1)]


@pytest.mark.parametrize(
    ("gone", "left"),
    [([], "abcd"), ([3], "abc"), ([0], "dbc"), ([0, 2], "db"), ([0, 3], "cb"), ([0, 1, 2, 3], "")],
)
def test_close_gaps(gone: list[int], left: str) -> None:
    """
    Each gap is filled by what is then the last, so that as little as possible moves.
    """
    items = list("abcd")

    close_gaps(items, gone)

    assert list(left) == items


def test_reserve_keeps_rows_in_use() -> None:
    """
    Growing, in rows or in length, keeps what was written.
    """
    cache = Cache(NAMES, heads=1, width=1)
    cache.reserve(0, 2, 8)
    cache.put([0, 1], filled(2, 8))

    assert cache.reserve(2, 17, 100), "the arrays have moved"
    assert not cache.reserve(17, 17, 100)

    keys, values = (array[:2, :, :8] for _, array in cache.items(17))
    assert (1, 128, 1) == cache.items(17)[0][1].shape[1:]
    assert [8.0, 8.0] == keys.sum((1, 2, 3)).tolist()
    assert [-8.0, -8.0] == values.sum((1, 2, 3)).tolist()


def test_reserve_shrinks_when_a_quarter_would_do() -> None:
    """
    A long sentence that left is not paid for at every later step, nor is its length given up at once.
    """
    cache = Cache(NAMES, heads=1, width=1)
    cache.reserve(0, 1, 256)

    cache.reserve(1, 1, 65)
    assert 256 == cache.length
    cache.reserve(1, 1, 64)
    assert 64 == cache.length


def test_new_shapes_use_old_memory() -> None:
    """
    Going back and forth between two shapes takes no new memory and keeps the rows.
    """
    cache = Cache(NAMES, heads=2, width=3)
    cache.reserve(0, 2, 8)
    cache.put([0, 1], [np.ones((2, 2, 8, 3), np.float32)] * 2)
    cache.reserve(2, 2, 300)
    before = {array.__array_interface__["data"][0] for _, array in cache.items(2)}

    for length in (8, 300, 8, 300):
        cache.reserve(2, 2, length)

    assert before == {array.__array_interface__["data"][0] for _, array in cache.items(2)}
    for _, array in cache.items(2):
        assert 2 * 2 * 8 * 3 == array[:, :, :8].sum()


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(1, 512)), min_size=1, max_size=20))
def test_memory_is_bounded(wanted: list[tuple[int, int]]) -> None:
    """
    Whatever comes after what, memory is one and a half times the largest block at most, and rows in use stay.
    """
    cache = Cache(["key"], heads=1, width=1)
    largest = used = capacity = 0

    for number, (rows, length) in enumerate(wanted, 1):
        kept = min(used, rows)
        before = [array[:kept, :, :1].copy() for _, array in cache.items(kept)] if kept else []
        cache.reserve(kept, rows, length)
        assert all((cache.items(kept)[0][1][:, :, :1] == array).all() for array in before)
        used = rows
        cache.put(range(rows), [np.full((rows, 1, 1, 1), number, np.float32)])
        capacity = max(capacity, -(-rows // 16) * 16)
        largest = max(largest, capacity * cache.length)
        assert cache.length >= length
        assert cache._memory.size + cache._spare.size <= 1.5 * largest


def test_items_are_not_copied() -> None:
    """
    What a graph works on is the memory itself, contiguous whatever the capacity.
    """
    cache = Cache(NAMES, heads=1, width=1)
    cache.reserve(0, 4, 8)

    [(name, array), _] = cache.items(2)
    cache.put([1], filled(1, 8))

    assert "key" == name
    assert array.flags["C_CONTIGUOUS"]
    assert 8.0 == array[1, :, :8].sum()


def test_keeps_eight_bits_as_they_are() -> None:
    """
    A cache of whole numbers takes a quarter of the memory.
    """
    cache = Cache(NAMES, heads=1, width=1, dtype=np.int8)
    cache.reserve(0, 1, 8)
    cache.put([0], [np.full((1, 1, 8, 1), -128, np.int8)] * 2)

    arrays = [array for _, array in cache.items(1)]
    assert [np.dtype(np.int8)] * 2 == [array.dtype for array in arrays]
    assert [-1024, -1024] == [array[:, :, :8].sum() for array in arrays]


def test_copy_takes_a_row_along() -> None:
    """
    A row that fills a gap brings the positions that are in use, in every array.
    """
    cache = Cache(NAMES, heads=1, width=1)
    cache.reserve(0, 2, 8)
    cache.put([1], filled(1, 8, 2.0))

    cache.copy(1, 0, 5)

    assert [10.0, -10.0] == [array[:, :, :5].sum() for _, array in cache.items(1)]


def test_copy_leaves_what_both_have() -> None:
    """
    A row that takes over another's later positions keeps its own earlier ones.
    """
    cache = Cache(NAMES, heads=1, width=1)
    cache.reserve(0, 2, 8)
    cache.put([0], filled(1, 8, 1.0))
    cache.put([1], filled(1, 8, 2.0))

    cache.copy(1, 0, 5, first=3)

    assert [[1, 1, 1, 2, 2, 1, 1, 1], [-1, -1, -1, -2, -2, -1, -1, -1]] == [
        array[0, 0, :8, 0].tolist() for _, array in cache.items(1)
    ]
