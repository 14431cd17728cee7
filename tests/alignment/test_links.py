"""From attention between pieces to links between words."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dragoman.alignment.links import (
    AlignedWords,
    Link,
    hard_links,
    membership,
    symmetrized,
    uncovered,
    word_weights,
)
from dragoman.text.spans import Span


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


@settings(max_examples=50)
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


def test_symmetrized() -> None:
    """
    A link holds if both directions together are sure of it; one that the other denies does not.
    """
    words = [Span(0, 1), Span(2, 3)]
    forward = AlignedWords(words, words[:1], matrix([0.9, 0.6]), [])
    reverse = AlignedWords(words[:1], words, matrix([0.3], [0.2]), [])

    both = symmetrized(forward, reverse, 0.5)

    assert [(0, 0)] == [(link.source_word, link.target_word) for link in both.links]
    assert np.allclose(both.weights, [[0.6, 0.4]])
    assert (words, words[:1]) == (both.source, both.target)


@pytest.mark.parametrize(
    ("received", "lost"),
    [
        ([1, 1, 1, 1, 1, 1, 1, 1], []),
        ([1, 1, 0, 0, 0, 1, 1, 1], []),  # three words: other languages often say nothing
        ([1, 1, 0, 0, 0, 0, 1, 1], [("c d e f", 0.0)]),
        ([1, 1, 0, 0, 0, 0, 0, 1], [("c d e f g", 0.0)]),
        ([2, 2, 2, 0, 0.25, 0, 0.25, 0], [("d e f g h", 0.1)]),  # to the end
        ([0, 0, 0, 0, 0, 2, 2, 2], [("a b c d e", 0.0)]),  # from the beginning
        ([1, 0.5, 0, 0, 0, 0, 0, 0.5], [("c d e f g", 0.0)]),  # what is covered at its ends is not of it
        ([0, 0, 1, 0, 0, 0, 0, 0], [("a b c d e f g h", 0.125)]),  # a word seen between is
        ([0.37, 0.37, 0, 0.37, 0.37, 1, 1, 1], []),  # one word between others that are barely seen
    ],
)
def test_uncovered(received: list[float], lost: list[tuple[str, float]]) -> None:
    """
    Where hardly anything of the target attends to five words in a row, they are found, with what they received.
    """
    text = "a b c d e f g h"
    words = [Span(2 * place, 2 * place + 1) for place in range(8)]
    weights = matrix(*[[value / 8 for value in received]] * 8)  # each of eight target words spends alike

    found = list(uncovered(AlignedWords(words, words, weights, []), text))

    assert [where for where, _ in lost] == [span.of(text) for span, _ in found]
    assert [value for _, value in found] == pytest.approx([value for _, value in lost])


def test_marks_are_no_words() -> None:
    """
    A row of marks may go uncovered, and does not count among words that do.
    """
    text = "a , b , c"
    words = [Span(2 * place, 2 * place + 1) for place in range(5)]
    nothing = np.zeros((2, 5), np.float32)

    assert [] == list(uncovered(AlignedWords(words, words[:2], nothing, []), text))
    assert [] == list(uncovered(AlignedWords(words, [], nothing[:0], []), "a b c d e"))
    [(span, value)] = uncovered(AlignedWords(words, words[:2], nothing, []), "a b c d e")
    assert (Span(0, 9), 0.0) == (span, value)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(12)), elements=st.floats(0, 1, width=32)),
    st.text("a,", min_size=12, max_size=12),
)
def test_uncovered_stretches_are_apart(weights: npt.NDArray[np.float32], text: str) -> None:
    """
    Whatever the weights, stretches follow one another, begin and end with words, and received next to nothing.
    """
    words = [Span(place, place + 1) for place in range(12)]

    found = list(uncovered(AlignedWords(words, words[: len(weights)], weights, []), text))

    for span, value in found:
        assert "aa" == span.of(text)[0] + span.of(text)[-1]
        assert 0 <= value < 1
    assert all(one.end <= other.start for (one, _), (other, _) in itertools.pairwise(found))
