"""From attention between pieces to links between words.

After the engine on the path of a sentence. Words are the reader's (`dragoman.text.words`), pieces the
model's; both are spans into the same text, and meet by the characters they share.

Axes: S source pieces, T target pieces, V source words, W target words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dragoman.text.spans import Span

Float = npt.NDArray[np.float32]
STRETCH = 5  # words: of fewer, other languages often say nothing
LEAST = 3  # words that are left of them
FAINT = 0.3  # attention received, of an even share


class Link(NamedTuple):
    """A source word and a target word that mean the same, and how sure the model is, in [0, 1]."""

    source_word: int
    target_word: int
    weight: float


@dataclass(frozen=True)
class AlignedWords:
    """The words of a sentence pair and what links them."""

    source: list[Span]
    target: list[Span]
    weights: Float  # (W, V)
    links: list[Link]


def membership(pieces: Sequence[Span], words: Sequence[Span]) -> Float:
    """Return which part of each piece lies in each word, (pieces, words); rows sum to 1 or 0.

    A piece without characters of its own (a space) belongs to the word that its place belongs to.
    """
    piece_start, piece_end = (
        np.array(pieces, np.int64).reshape(-1, 1, 2).transpose(2, 0, 1)
    )  # (pieces, 1) each
    word_start, word_end = np.array(words, np.int64).reshape(1, -1, 2).transpose(2, 0, 1)  # (1, words) each
    shared = np.minimum(piece_end, word_end) - np.maximum(piece_start, word_start)
    placed = (word_start <= piece_start) & (piece_start < word_end)
    shares = np.where(piece_start == piece_end, placed, np.maximum(shared, 0)).astype(np.float32)
    total: Float = np.maximum(shares.sum(1, keepdims=True), np.float32(1e-9))
    return np.asarray(shares / total, np.float32)


def word_weights(attention: Float, source: Float, target: Float) -> Float:
    """Return attention between words, (W, V): summed over a source word's pieces, averaged over a target's.

    Args:
        attention: (T, S), rows as the model gave them; what it gave to tag and end belongs to no word.
        source: Membership of the source pieces, (S, V).
        target: Membership of the target pieces, (T, W).
    """
    averaging = target / np.maximum(target.sum(0, keepdims=True), 1e-9)  # (T, W)
    weights: Float = np.clip(averaging.T @ attention @ source, 0.0, 1.0)
    return weights


def hard_links(weights: Float, threshold: float) -> list[Link]:
    """Return the links of at least the threshold, by source word, then target word."""
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
    """Yield each stretch of the source that the target hardly attends to, and what it received of an even share.

    `STRETCH` words in a row, marks not counted, make one if they received less than `FAINT` on the mean; those that
    overlap are one, less what is covered at its ends.

    Args:
        text: What the words of the source are spans of.
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
        if last - first + 1 < LEAST:  # between words that are barely covered
            continue
        span = Span(words.source[places[first]].start, words.source[places[last]].end)
        yield span, float(received[first : last + 1].mean())
