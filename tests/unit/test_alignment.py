"""From attention between pieces to links between words."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.alignment import Link, hard_links, membership, word_weights
from service.text.spans import Span


def matrix(*rows: list[float]) -> npt.NDArray[np.float32]:
    """Return a matrix as the engine makes them."""
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("pieces", "words", "shares"),
    [
        ([(0, 3)], [(0, 3)], [[1.0]]),
        ([(0, 2), (2, 5)], [(0, 5)], [[1.0], [1.0]]),  # a word of two pieces
        ([(0, 4)], [(0, 1), (1, 4)], [[0.25, 0.75]]),  # a piece across two words
        ([(3, 4)], [(0, 3), (4, 6)], [[0.0, 0.0]]),  # a space
        ([(4, 4)], [(0, 3), (4, 6)], [[0.0, 1.0]]),  # no characters: the word it stands in
        ([(6, 6)], [(0, 3), (4, 6)], [[0.0, 0.0]]),  # the end
        ([(0, 1), (0, 1), (0, 1)], [(0, 1)], [[1.0], [1.0], [1.0]]),  # bytes of one character
    ],
    ids=["same", "pieces-of-a-word", "words-of-a-piece", "between", "empty", "end", "bytes"],
)
def test_membership(
    pieces: list[tuple[int, int]], words: list[tuple[int, int]], shares: list[list[float]]
) -> None:
    """
    A piece belongs to words by the characters it shares with them.
    """
    found = membership([Span(*piece) for piece in pieces], [Span(*word) for word in words])

    assert shares == found.tolist()


def test_membership_of_nothing() -> None:
    """
    Sentences without pieces or without words have empty tables, not errors.
    """
    assert (0, 1) == membership([], [Span(0, 1)]).shape
    assert (1, 0) == membership([Span(0, 1)], []).shape


def test_word_weights() -> None:
    """
    Attention is summed over the pieces of a source word and averaged over those of a target word.
    """
    attention = matrix([0.6, 0.2, 0.1], [0.0, 0.2, 0.7])
    source = matrix([1, 0], [1, 0], [0, 1])  # two words of two and one pieces
    target = matrix([1], [1])  # one word of two pieces

    weights = word_weights(attention, source, target)

    assert pytest.approx(matrix([0.5, 0.4])) == weights


@settings(derandomize=True, max_examples=50, deadline=None)
@given(arrays.arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32)))
def test_weights_are_bounded(attention: npt.NDArray[np.float32]) -> None:
    """
    Weights of words lie in [0, 1], and those of a target word sum to at most 1 if its pieces' do.
    """
    attention = attention / np.maximum(attention.sum(1, keepdims=True), 1.0)
    source = membership([Span(i, i + 1) for i in range(5)], [Span(0, 2), Span(2, 5)])
    target = membership([Span(i, i + 1) for i in range(4)], [Span(0, 3), Span(3, 4)])

    weights = word_weights(attention, source, target)

    assert (weights >= 0).all()
    assert (weights.sum(1) <= 1 + 1e-5).all()


def test_hard_links() -> None:
    """
    Links are the weights of at least the threshold, by source word, then target word.
    """
    weights = matrix([0.1, 0.9], [0.5, 0.4], [0.6, 0.0])

    links = hard_links(weights, 0.5)

    assert [(0, 1), (0, 2), (1, 0)] == [(link.source_word, link.target_word) for link in links]
    assert Link(0, 1, 0.5) == links[0]


def test_no_links() -> None:
    """
    A word that nothing reaches has no link, and a pair without words none at all.
    """
    assert [] == hard_links(matrix([0.1, 0.2]), 0.5)
    assert [] == hard_links(np.zeros((0, 3), np.float32), 0.5)
