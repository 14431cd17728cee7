"""An estimate of pieces that learns."""

import pytest

from dragoman.text.token_estimate import TokenCountEstimator


def test_sentences() -> None:
    """
    Words are counted sentence by sentence; what has none is not there.
    """
    estimate = TokenCountEstimator()

    assert [6, 3, 2] == estimate.sentences(["One two three four. Five six.\n\n", " \n", "", "Seven!"])
    assert [] == estimate.sentences([" ", ""])


@pytest.mark.parametrize(("tokens", "learned"), [(140, 14), (50, 5), (200, 15), (100_000, 15)])
def test_learns(tokens: int, learned: int) -> None:
    """
    What callers send decides in the long run, up to a bound: one's odd texts get nobody else refused.

    Texts without words teach nothing.
    """
    estimate = TokenCountEstimator()
    for _ in range(1000):
        estimate.learn(["word " * 100], tokens)
        estimate.learn(["  "], 7)

    assert [learned] == estimate.sentences(["ten words, no more and no fewer, are in it."])
