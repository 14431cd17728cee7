"""The held-out part of a fine-tuning, and the scores on it before and after.

Beside *validation*, which watches a whole training on the development sets. Translations are those of the
engine that serves: in torch, without a cache, a hundred long sentences would take longer than the training.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sacrebleu
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from dragoman import config
from dragoman.registry.offline import open_offline
from dragoman.text.tokenizer import Tokenizer
from dragoman.types import Options
from models.convert.export import averaged_network, export
from models.corpora.user_pairs import Pairs
from models.evaluation.bleu import translate_lines
from models.network.transformer import Transformer
from models.paths import tokenizer_path
from models.training.validation import averaged, cross_entropy

SHOWN = 4  # sentences side by side


@dataclass(frozen=True)
class Measured:
    """A network's scores by name, and its translations in the direction that was asked for."""

    scores: dict[str, float]
    translations: list[str]


@dataclass(frozen=True)
class HeldOut:
    """Sentence pairs and the languages of their sides."""

    tokenizer: Tokenizer
    source: str
    target: str
    pairs: Pairs

    def __call__(self, network: Transformer, average: dict[str, Tensor]) -> dict[str, float]:
        """Score the averaged weights while training goes on."""
        with averaged(network, average):
            return self._losses(network)

    def measure(self, state: dict[str, Any]) -> Measured:
        """Score a checkpoint in both directions: loss in nats per target piece, BLEU and chrF."""
        scores = self._losses(averaged_network(state))
        forth, back = self._translated(state)
        sources, targets = self._sides()
        for language, done, wanted in ((self.target, forth, targets), (self.source, back, sources)):
            scores[f"BLEU into {language}"] = round(sacrebleu.corpus_bleu(done, [wanted]).score, 3)
            scores[f"chrF into {language}"] = round(sacrebleu.corpus_chrf(done, [wanted]).score, 3)
        return Measured(scores, forth)

    def _sides(self) -> tuple[list[str], list[str]]:
        return [source for source, _ in self.pairs], [target for _, target in self.pairs]

    def _losses(self, network: Transformer) -> dict[str, float]:
        sources, targets = self._sides()
        forth = cross_entropy(network, self.tokenizer, sources, targets, self.target)
        back = cross_entropy(network, self.tokenizer, targets, sources, self.source)
        return {f"loss into {self.target}": round(forth, 3), f"loss into {self.source}": round(back, 3)}

    def _translated(self, state: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Translate both sides by a bundle made for the moment; float needs no texts to calibrate on."""
        longest = min(config.Settings().max_sentence_tokens, state["shape"]["max_positions"])
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "bundle")
            export(
                state, tokenizer_path(), folder, precision="fp32", name="held-out", version="0", threshold=0.4
            )
            registry = open_offline(os.environ, folder, {"max_sentence_tokens": str(longest)})
            sources, targets = self._sides()
            there, again = Options(self.source, self.target), Options(self.target, self.source)
            forth = asyncio.run(translate_lines(registry.translator, sources, there))
            back = asyncio.run(translate_lines(registry.translator, targets, again))
            registry.close()
        return forth, back


def show(pairs: Pairs, before: Measured, after: Measured, console: Console) -> None:
    """Print the scores before and after, then some sentences side by side."""
    table = Table(f"{len(pairs)} pairs held out", "before", "after", "change")
    for name, old in before.scores.items():
        new = after.scores[name]
        table.add_row(name, f"{old:.2f}", f"{new:.2f}", f"{new - old:+.2f}")
    console.print(table)
    examples = Table("", "some of them", box=None)
    for number in _telling(before.translations, after.translations):
        texts = (*pairs[number], before.translations[number], after.translations[number])
        for name, text in zip(("source", "wanted", "before", "after"), texts, strict=True):
            examples.add_row(name, Text(text))
        examples.add_row()
    console.print(examples)


def _telling(before: list[str], after: list[str]) -> list[int]:
    """Choose sentences from all over the part, of those that changed if there are any."""
    changed = [number for number, old in enumerate(before) if old != after[number]]
    choice = changed or list(range(len(before)))
    return choice[:: -(-len(choice) // SHOWN)]
