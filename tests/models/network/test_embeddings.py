"""Bilingual starting embeddings: translations begin as neighbours."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from models.network.embeddings import bilingual, count
from tests.models.toy import VOCABULARY, WORDS, Toy


def test_counts_pairs_not_occurrences(toy: Toy) -> None:
    """
    Two pieces count once for each pair that has both, however often they stand in it.
    """
    counts = count(toy.packed, ["toy.en-fr"], VOCABULARY, 40)
    from models.corpora.packing import Packed

    corpus = Packed.open(toy.packed / "toy.en-fr")
    expected = np.zeros_like(counts)
    for pair in range(40):
        english, other = corpus.pair(pair)
        for i in set(english):
            for j in set(other):
                expected[i, j] += 1

    assert np.array_equal(expected, counts)


def test_translations_are_neighbours(toy: Toy) -> None:
    """
    For most words the nearest word of the other language is the translation; all rows have norm 1.
    """
    counts = count(toy.packed, ["toy.en-fr", "toy.en-es"], VOCABULARY, 10**9)

    table = bilingual(counts, width=32)

    assert torch.allclose(table.norm(dim=1), torch.ones(VOCABULARY), atol=1e-5)
    for other in ("fr", "es"):
        words = [
            (toy.tokenizer.encode(english).tokens, toy.tokenizer.encode(foreign).tokens)
            for english, foreign in zip(WORDS["en"].split(), WORDS[other].split(), strict=True)
        ]
        whole = [(english[0], foreign[0]) for english, foreign in words if len(english) == len(foreign) == 1]
        english, foreign = (table[list(ids)] for ids in zip(*whole, strict=True))
        nearest = (english @ foreign.T).argmax(1)
        assert 10 < len(whole)
        assert (nearest == torch.arange(len(whole))).float().mean() > 0.8


def test_is_the_same_each_time(toy: Toy) -> None:
    """
    The same counts and seed give the same table.
    """
    counts = count(toy.packed, ["toy.en-fr"], VOCABULARY, 200)

    assert torch.equal(bilingual(counts, 16), bilingual(counts, 16))
