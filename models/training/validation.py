"""Validation during training: cross-entropy, BLEU and chrF on part of the development sets.

Quick and in torch, to watch a run. Scores to be quoted come from `models.evaluation.bleu`, through the engine
that serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sacrebleu
import torch
from torch import Tensor

from dragoman.bundle.padding import max_unpadded
from dragoman.text.normalize import normalize
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, target_token_limit
from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, Tokenizer
from models.corpora.batches import collate
from models.corpora.packing import DataError
from models.network.transformer import Transformer, losses

DIRECTIONS = (("en", "fr"), ("fr", "en"), ("en", "es"), ("es", "en"), ("es", "fr"), ("fr", "es"))
ENTROPY_SET, SCORE_SET = "newstest2012", "flores200-dev"


def read_set(folder: Path, name: str, language: str) -> list[str]:
    """Return the sentences of a development set.

    Raises:
        DataError: There is no such file.
    """
    path = folder / f"{name}.{language}"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {error}") from error
    return text.removesuffix("\n").split("\n")  # and nothing else: U+2028 is part of a sentence


class Validation:
    """The same sentences each time, so that the numbers of a run can be compared."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, sentences: int = 64) -> None:
        self._tokenizer = tokenizer
        self._texts = {
            (name, language): read_set(folder, name, language)[:sentences]
            for name in (ENTROPY_SET, SCORE_SET)
            for language in ("en", "fr", "es")
        }

    def __call__(self, network: Transformer, average: dict[str, Tensor]) -> dict[str, float]:
        """Score the averaged weights: nats per target token, then BLEU and chrF per direction."""
        with averaged(network, average):
            return self._entropies(network) | self._scores(network)

    def _entropies(self, network: Transformer) -> dict[str, float]:
        found = {}
        for source, target in DIRECTIONS:
            texts = self._texts[ENTROPY_SET, source], self._texts[ENTROPY_SET, target]
            entropy = cross_entropy(network, self._tokenizer, *texts, target)
            found[f"entropy_{source}_{target}"] = round(entropy, 4)
        by_english = [
            found[f"entropy_{s}_{t}"] for s, t in DIRECTIONS if "en" in (s, t)
        ]  # as in earlier runs
        found["entropy"] = round(sum(by_english) / len(by_english), 4)
        return found

    def _scores(self, network: Transformer) -> dict[str, float]:
        found = {}
        for source, target in DIRECTIONS:
            translated = translate(network, self._tokenizer, self._texts[SCORE_SET, source], target)
            references = [self._texts[SCORE_SET, target]]
            found[f"bleu_{source}_{target}"] = round(sacrebleu.corpus_bleu(translated, references).score, 2)
            found[f"chrf_{source}_{target}"] = round(sacrebleu.corpus_chrf(translated, references).score, 2)
        return found


@contextmanager
def averaged(network: Transformer, average: dict[str, Tensor]) -> Iterator[None]:
    """Let a network that trains translate with its averaged weights for a while."""
    kept = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    network.load_state_dict(average, strict=False)
    network.eval()
    try:
        yield
    finally:
        network.load_state_dict(kept, strict=False)
        network.train()


@torch.no_grad()
def cross_entropy(
    network: Transformer, tokenizer: Tokenizer, sources: list[str], targets: list[str], target: str
) -> float:
    """Return the mean over all target pieces, in nats, without smoothing."""
    given = _encode(network, tokenizer, sources, target)
    wanted = _encode(network, tokenizer, targets, target)
    total = tokens = 0.0
    for rows in _chunks(len(given), 32):
        batch = collate([given[r] for r in rows], [wanted[r][1:-1] for r in rows])
        scored = losses(network, *batch.tensors(network.embedding.weight.device), 0.0)
        total += scored.cross_entropy.item()
        tokens += len(batch.kept)
    return total / tokens


def translate(network: Transformer, tokenizer: Tokenizer, sources: list[str], target: str) -> list[str]:
    """Return greedy translations, in torch and without a cache: for some hundred sentences at most."""
    ids = _encode(network, tokenizer, sources, target)
    translated: list[str] = []
    for rows in _chunks(len(ids), 64):
        part = [ids[r] for r in rows]
        written = greedy(network, part, max_tokens=max(map(len, part)) + 16)  # loops need not run on
        translated += [tokenizer.decode_text(row) for row in written]
    return translated


def _encode(network: Transformer, tokenizer: Tokenizer, texts: list[str], target: str) -> list[list[int]]:
    ids = tokenizer.encode_batch([normalize(text) for text in texts])
    max_pieces = max_unpadded(network.shape.max_positions) - NUM_SPECIAL_TOKENS
    return [[tokenizer.tag_id(target), *row[:max_pieces], EOS_ID] for row in ids]


def _chunks(size: int, step: int) -> list[range]:
    return [range(start, min(start + step, size)) for start in range(0, size, step)]


@torch.no_grad()
def greedy(network: Transformer, sources: list[list[int]], max_tokens: int | None = None) -> list[list[int]]:
    """Return the most probable next piece, again and again: the reference for the serving engine.

    No cache: the whole prefix is computed anew at each step, which is slow and beyond doubt.

    Args:
        max_tokens: Pieces, at most (default: what the longest source is given when serving).
    """
    device = network.embedding.weight.device
    batch = collate(sources, [[]] * len(sources))
    memory, mask = network.encode(torch.from_numpy(batch.source).to(device))
    limit = min(max_tokens or target_token_limit(max(map(len, sources))), network.shape.max_positions)
    ids = torch.full((len(sources), 1), BOS_ID, device=device)  # (B, T)
    done = torch.zeros(len(sources), dtype=torch.bool, device=device)
    for _ in range(limit):
        hidden, _ = network.decode(memory, mask, ids)
        best = network.logits(hidden[:, -1]).argmax(-1).masked_fill(done, PAD_ID)
        ids = torch.cat([ids, best[:, None]], 1)
        done |= best == EOS_ID
        if bool(done.all()):
            break
    rows = ids[:, 1:].tolist()
    return [row[: row.index(EOS_ID)] if EOS_ID in row else [i for i in row if i != PAD_ID] for row in rows]
