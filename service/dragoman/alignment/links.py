"""Alignment links: from attention between tokens to links between words.

Words are a reader's (`dragoman.text.words`), tokens the model's. Both are spans into the same text, and a token belongs
to the words whose characters it shares.

Axes: S source tokens, T target tokens, V source words, W target words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dragoman.text.spans import Span

Float = npt.NDArray[np.float32]
STRETCH = 5  # words; fewer are often left out in another language for good reason
LEAST = 3  # words of a stretch that must remain once its covered ends are cut off
FAINT = 0.3  # attention that a word receives, relative to an even share


class Link(NamedTuple):
    """A source word and a target word that stand for each other, with a weight in [0, 1]."""

    source_word: int
    target_word: int
    weight: float


@dataclass(frozen=True)
class AlignedWords:
    """The words of a sentence pair and the links between them."""

    source: list[Span]
    target: list[Span]
    weights: Float  # (W, V)
    links: list[Link]


def membership(tokens: Sequence[Span], words: Sequence[Span]) -> Float:
    """Return which part of each token is in each word, (tokens, words). Rows sum to 1 or to 0.

    A token without characters, such as a space, belongs to the word at its place.
    """
    token_start, token_end = (
        np.array(tokens, np.int64).reshape(-1, 1, 2).transpose(2, 0, 1)
    )  # (tokens, 1) each
    word_start, word_end = np.array(words, np.int64).reshape(1, -1, 2).transpose(2, 0, 1)  # (1, words) each
    shared = np.minimum(token_end, word_end) - np.maximum(token_start, word_start)
    placed = (word_start <= token_start) & (token_start < word_end)
    shares = np.where(token_start == token_end, placed, np.maximum(shared, 0)).astype(np.float32)
    total: Float = np.maximum(shares.sum(1, keepdims=True), np.float32(1e-9))
    return np.asarray(shares / total, np.float32)


def word_weights(attention: Float, source: Float, target: Float) -> Float:
    """Return attention between words, (W, V): summed over a source word's tokens, averaged over a target word's.

    Args:
        attention: (T, S), as the model gives it; attention to tag and end belongs to no word.
        source: Membership of the source tokens, (S, V).
        target: Membership of the target tokens, (T, W).
    """
    averaging = target / np.maximum(target.sum(0, keepdims=True), 1e-9)  # (T, W)
    weights: Float = np.clip(averaging.T @ attention @ source, 0.0, 1.0)
    return weights


def hard_links(weights: Float, threshold: float) -> list[Link]:
    """Return the links whose weight reaches the threshold, ordered by source word, then target word."""
    found = [Link(int(v), int(w), float(weights[w, v])) for w, v in np.argwhere(weights >= threshold)]
    return sorted(found)


def symmetrized(forward: AlignedWords, reverse: AlignedWords, threshold: float) -> AlignedWords:
    """Return the words of a pair linked by the mean of both directions.

    A link that one direction alone is sure of holds if the other does not deny it: half the alignment errors of either
    direction on Hansards, and fewer than intersection, union or grow-diag-final of their links leave.
    """
    weights: Float = np.float32(0.5) * (forward.weights + reverse.weights.T)
    return AlignedWords(forward.source, forward.target, weights, hard_links(weights, threshold))


def uncovered(words: AlignedWords, text: str) -> Iterator[tuple[Span, float]]:
    """Yield each stretch of the source that the target hardly attends to, with its attention relative to an even share.

    A stretch is `STRETCH` words in a row, punctuation aside, whose mean attention is below `FAINT`. Overlapping stretches
    are joined, and covered words at their ends are cut off.

    Args:
        text: The text that the source words are spans of.
    """
    places = [v for v, word in enumerate(words.source) if any(map(str.isalnum, word.of(text)))]
    if len(places) < STRETCH or not words.target:
        return
    received = words.weights.sum(0)[places] * (len(words.source) / len(words.target))  # 1: an even share
    means = np.convolve(received, np.full(STRETCH, 1 / STRETCH), "valid")
    faint = np.zeros(len(places), bool)
    for begin in np.flatnonzero(means < FAINT):
        faint[begin : begin + STRETCH] = True
    for start, end in np.flatnonzero(np.diff(np.pad(faint, 1))).reshape(-1, 2):
        low = start + np.flatnonzero(received[start:end] < FAINT)
        first, last = int(low[0]), int(low[-1])
        if last - first + 1 < LEAST:  # single words between barely covered ones
            continue
        span = Span(words.source[places[first]].start, words.source[places[last]].end)
        yield span, float(received[first : last + 1].mean())
