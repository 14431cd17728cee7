"""Bilingual starting embeddings: `casa`, `maison` and `house` begin as neighbours.

Pieces that occur in each other's translations get a positive shifted pointwise mutual information
(Levy and Goldberg, 2014, across the two sides of a pair instead of a window); the leading eigenvectors of
that table, rows of norm 1, replace random embeddings. A minute's work for a third of the early training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.corpora.packing import Packed

CHUNK_PAIRS = 10_000
SHIFT = 1.0  # log of the number of "negative samples": keeps the weakest associations out


def count(folder: Path, names: list[str], vocabulary: int, max_pairs: int) -> npt.NDArray[np.float32]:
    """Return how often piece i (English side) and piece j (other side) share a pair, (V, V)."""
    counts = np.zeros(vocabulary * vocabulary, np.float32)
    for name in names:
        corpus = Packed.open(folder / name)
        last = min(len(corpus), max_pairs)
        for start in range(0, last, CHUNK_PAIRS):
            cells = [
                _cells(corpus, pair, vocabulary) for pair in range(start, min(start + CHUNK_PAIRS, last))
            ]
            found, times = np.unique(np.concatenate(cells), return_counts=True)
            counts[found] += times
    return counts.reshape(vocabulary, vocabulary)


def _cells(corpus: Packed, pair: int, vocabulary: int) -> npt.NDArray[np.int64]:
    english = np.unique(corpus.english[corpus.english_offsets[pair] : corpus.english_offsets[pair + 1]])
    other = np.unique(corpus.other[corpus.other_offsets[pair] : corpus.other_offsets[pair + 1]])
    return (english.astype(np.int64)[:, None] * vocabulary + other).ravel()


def bilingual(counts: npt.NDArray[np.float32], width: int, seed: int = 1) -> Tensor:
    """Return (V, width) embeddings with rows of norm 1; pieces never seen get a random direction."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.from_numpy(counts)
    table = table + table.T  # (V, V), symmetric: a piece may stand on either side
    rows = table.sum(1)
    expected = rows[:, None] * rows / rows.sum()
    association = (table.log() - expected.clamp(min=1e-9).log() - SHIFT).clamp(min=0)  # log 0 clamps to 0 too
    # Randomised subspace iteration (Halko et al., 2011). Two languages face each other, so eigenvalues come
    # in pairs of both signs; the positive ones are where translations agree.
    basis = torch.randn(len(table), 3 * width, generator=generator)
    for _ in range(8):
        basis, _ = torch.linalg.qr(association @ basis)
    values, vectors = torch.linalg.eigh(basis.T @ (association @ basis))
    leading = (basis @ vectors)[:, -width:] * values[-width:].clamp(min=0).sqrt()
    random = torch.randn(leading.shape, generator=generator)
    seen = leading.norm(dim=1, keepdim=True) > 1e-3
    return torch.nn.functional.normalize(torch.where(seen, leading, random), dim=1)
