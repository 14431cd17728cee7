"""Token batches without end, drawn from the packed corpora.

Between *data* and *train*. A draw is a pure function of the seed and its number, so a training resumes
exactly where it stopped by remembering one integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, Tokenizer
from models.corpora.packing import DataError, Packed, languages_of

Int = npt.NDArray[np.int64]
Plan = list[tuple[str, int, bool]]  # (corpus, pair, from the second language into the first)
# Pairs drawn together, so that a batch can hold sentences of like length on both sides: with 524,288 a fortieth of the
# source positions is padding, with 131,072 a twelfth, with 16,384 a quarter.
MIN_POOL_PAIRS, POOL_PAIRS_PER_TOKEN = 524_288, 4
_PLACE_BITS = 20  # of a position; the rest says which pool


@dataclass(frozen=True)
class Batch:
    """Padded token ids of B pairs."""

    source: Int  # (B, S): tag, pieces, end
    target_in: Int  # (B, T): begin, pieces
    target_out: Int  # (B, T): pieces, end
    kept: Int  # (N,): flat indices of the target positions that are not padding
    links: Int | None  # (L,): flat indices into (B, T, S) of target pieces and where they come from
    shares: npt.NDArray[np.float32] | None  # (L,): each link's part of its target piece; they sum to 1

    def tensors(
        self, device: str | torch.device
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return all of it on a device, as `losses` takes it."""

        def move(array: npt.NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(array).to(device)

        return (
            move(self.source), move(self.target_in), move(self.target_out), move(self.kept),
            None if self.links is None else move(self.links),
            None if self.shares is None else move(self.shares),
        )  # fmt: skip


class Batches:
    """An endless, reproducible stream of batches over all corpora and both directions."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        weights: dict[str, float],
        *,
        batch_tokens: int,
        max_tokens: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        multiple: int = 8,
    ) -> None:
        """Open the packed corpora.

        Args:
            weights: Share of the drawn target tokens for each corpus; they need not sum to 1.
            batch_tokens: Padded target positions in one batch, at most.
            max_tokens: Longer pairs are passed over.
            multiple: Padded lengths are multiples of this: 8 suits a GPU, 1 wastes least.

        Raises:
            DataError: A corpus named in `weights` is not packed, or has no pair.
        """
        self._corpora = {name: Packed.open(folder / name) for name in weights}
        if empty := [name for name, corpus in self._corpora.items() if len(corpus) == 0]:
            raise DataError(f"{folder / empty[0]}: not one usable pair; take it out of [data.weights]")
        self._tags = tokenizer.languages
        self._batch_tokens, self._max_tokens, self._seed = batch_tokens, max_tokens, seed
        self._rank, self._world, self._multiple = rank, world, multiple
        # Of a small corpus each pair once, or sentences of one length would be the same one again and again;
        # but never fewer than fill a batch for each rank with the shortest pairs there are.
        there_are = max(sum(map(len, self._corpora.values())), world * batch_tokens // 3)
        self._pool_pairs = min(max(MIN_POOL_PAIRS, POOL_PAIRS_PER_TOKEN * batch_tokens), there_are)
        lengths = {name: len(c.other) / len(c) + 1 for name, c in self._corpora.items()}
        rates = {name: weight / lengths[name] for name, weight in weights.items()}
        self._rates = {name: rate / sum(rates.values()) for name, rate in rates.items()}
        self._shuffled: dict[str, tuple[int, Int]] = {}  # corpus -> the epoch shuffled last, and its order

    def plans(self, position: int) -> Iterator[tuple[int, Plan]]:
        """Yield `(next position, plan)` for ever, from a position that an earlier run stopped at.

        Positions count the batches of all ranks, so that a run may go on with another number of them.
        """
        pool, place = position >> _PLACE_BITS, position & ((1 << _PLACE_BITS) - 1)
        while True:
            plans = self._plan(pool)
            for first in range(place, len(plans) - self._world + 1, self._world):
                yield (pool << _PLACE_BITS) + first + self._world, plans[first + self._rank]
            pool, place = pool + 1, 0

    def _plan(self, pool: int) -> list[Plan]:
        """Draw one pool and cut it into batches, in random order."""
        random = np.random.default_rng((self._seed, pool))
        names, pairs, backs, sources, targets = self._draw(pool, random)
        # Neighbours in this order share a width; the noise shuffles those of like length.
        noise = self._multiple * random.random(len(pairs))
        order = np.lexsort((sources + noise, -(-targets // self._multiple)))
        longest = np.maximum(sources, targets)[order]
        widths = (-(-longest // self._multiple) * self._multiple).tolist()
        corpora = list(self._corpora)
        drawn = zip(names[order].tolist(), pairs[order].tolist(), backs[order].tolist(), strict=True)
        plans: list[Plan] = []
        width = 0
        for (name, pair, back), needed in zip(drawn, widths, strict=True):
            width = max(width, needed)
            if not plans or (len(plans[-1]) + 1) * width > self._batch_tokens:
                plans.append([])
                width = needed
            plans[-1].append((corpora[name], pair, back))
        if len(plans) < self._world:
            raise DataError(f"{len(plans)} batches of usable pairs for {self._world} processes: see [data]")
        return [plans[i] for i in random.permutation(len(plans))]

    def _draw(
        self, pool: int, random: np.random.Generator
    ) -> tuple[Int, Int, npt.NDArray[np.bool_], Int, Int]:
        """Return, for each pair of a pool: corpus, number, direction, and both lengths with tag or end."""
        parts = []
        for index, (name, corpus) in enumerate(self._corpora.items()):
            rate = self._rates[name] * self._pool_pairs
            pairs = self._permuted(name, int(pool * rate), int((pool + 1) * rate), len(corpus))
            english = corpus.english_offsets[pairs + 1] - corpus.english_offsets[pairs] + 2
            other = corpus.other_offsets[pairs + 1] - corpus.other_offsets[pairs] + 2
            back = random.random(len(pairs)) < (0.5 if languages_of(name)[2] else 0.0)
            source, target = np.where(back, other, english), np.where(back, english, other)
            short = np.maximum(source, target) <= self._max_tokens
            of_corpus = (np.full(len(pairs), index), pairs, back, source, target)
            parts.append([column[short] for column in of_corpus])
        names, numbers, backs, sources, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
        return names, numbers, backs, sources, targets

    def _permuted(self, name: str, first: int, last: int, size: int) -> Int:
        """Return members first..last of an endless stream that shuffles the corpus anew each epoch."""
        parts = [np.zeros(0, np.int64)]
        for epoch in range(first // size, (last - 1) // size + 1) if last > first else ():
            if self._shuffled.get(name, (-1,))[0] != epoch:
                seed = (self._seed, epoch, sum(name.encode()))
                self._shuffled[name] = epoch, np.random.default_rng(seed).permutation(size)
            order = self._shuffled[name][1]
            parts.append(order[max(0, first - epoch * size) : last - epoch * size])
        return np.concatenate(parts)

    def collate(self, plan: Plan) -> Batch:
        """Fetch the pairs of one plan and pad them."""
        sources, targets, links = [], [], []
        for name, index, back in plan:
            corpus = self._corpora[name]
            english, other = corpus.pair(index)
            first, second, _ = languages_of(name)
            language = first if back else second
            sources.append([self._tags[language], *(other if back else english), EOS_ID])
            targets.append(english if back else other)
            links.append(corpus.links_of(index)[:, ::-1] if back else corpus.links_of(index))
        return collate(sources, targets, links if any(map(len, links)) else None, self._multiple)


def collate(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    links: Sequence[npt.NDArray[np.uint8]] | None = None,
    multiple: int = 8,
) -> Batch:
    """Pad sentences into one batch.

    Args:
        sources: With tag and end.
        targets: Pieces alone.
        links: For each pair, rows of (source piece, target piece), counted without the tag.
    """
    width_s = -(-max(map(len, sources)) // multiple) * multiple
    width_t = -(-(max(map(len, targets)) + 1) // multiple) * multiple
    source = np.full((len(sources), width_s), PAD_ID, np.int64)
    target_in = np.full((len(sources), width_t), PAD_ID, np.int64)
    target_out = np.full((len(sources), width_t), PAD_ID, np.int64)
    for row, (s, t) in enumerate(zip(sources, targets, strict=True)):
        source[row, : len(s)] = s
        target_in[row, 0], target_in[row, 1 : len(t) + 1] = BOS_ID, t
        target_out[row, : len(t)], target_out[row, len(t)] = t, EOS_ID
    places, shares = (None, None) if links is None else _flat_links(links, width_t, width_s)
    return Batch(source, target_in, target_out, np.flatnonzero(target_out != PAD_ID), places, shares)


def _flat_links(
    links: Sequence[npt.NDArray[np.uint8]], width_t: int, width_s: int
) -> tuple[Int, npt.NDArray[np.float32]]:
    """Return where the links of B pairs lie in (B, T, S), and each one's share of its target piece."""
    rows = np.repeat(np.arange(len(links)), [len(of_row) for of_row in links])  # (L,)
    source, target = np.concatenate(links).astype(np.int64).T  # (L,) each
    pieces = rows * width_t + target  # (L,): flat in (B, T)
    shares = 1 / np.bincount(pieces)[pieces]
    return pieces * width_s + source + 1, shares.astype(np.float32)  # + 1: the tag
