"""CTranslate2 as a measurement sees it, with everything that can be set for the sake of speed.

Imported where `ctranslate2` may be missing; only making an engine needs it (`make bench` installs it).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragoman import bundle
from dragoman.text.tokenizer import Tokenizer
from tests.benchmarks.corpus import Sentence

# Which library multiplies, by environment variables that are read when `ctranslate2` is loaded.
KERNELS: dict[str, dict[str, str]] = {
    "default": {},  # oneDNN on processors that are not Intel's
    "mkl": {"CT2_USE_MKL": "1"},
    "mkl packed": {"CT2_USE_MKL": "1", "CT2_PACKED_GEMM": "1"},
}
COMPUTE_TYPES = ("int8", "int8_float32", "int16", "float32")


@dataclass(frozen=True)
class Settings:
    """How CTranslate2 is run.

    Attributes:
        workers: Batches at once (its `inter_threads`).
        threads: Of each worker (its `intra_threads`).
        batch_type: Whether `max_batch_size` counts examples or tokens, padding included.
    """

    compute_type: str = "int8_float32"  # the fastest in every sweep
    kernels: str = "default"
    workers: int = 1
    threads: int = 1
    batch_type: str = "examples"
    max_batch_size: int = 32


def convert(checkpoint: Path, served: Path, folder: Path, quantization: str = "int8") -> Path:
    """Write the weights behind a bundle as a CTranslate2 model, and return its directory.

    Raises:
        ValueError: The checkpoint is not the one that the bundle was made of.
    """
    checkpoints = importlib.import_module(
        "models.training.checkpoint"
    )  # torch, which measuring does not need
    export_ctranslate2 = importlib.import_module("models.convert.ctranslate2")
    state = checkpoints.trained(checkpoint)
    training = bundle.load(served).manifest.training
    seen = {name: state[key] for name, key in (("target_tokens", "tokens"), ("updates", "updates"))}
    if seen != {name: training[name] for name in seen}:
        raise ValueError(f"{served} was not exported from {checkpoint}: its training is {training}")
    target = folder / quantization
    tokenizer = Tokenizer.from_file(served / bundle.TOKENIZER)
    export_ctranslate2.write(state, tokenizer, target, quantization)
    return target


def batches(sentences: Sequence[Sentence], settings: Settings) -> Iterator[list[int]]:
    """Cut sentences, given longest first, as `max_batch_size` and `batch_type` of `translate_batch` do.

    Done here so that each batch has a limit of its own: the library knows one for all, and the sentences
    that never end would run on for as long as the longest may.
    """
    batch: list[int] = []
    for place, sentence in enumerate(sentences):
        longest = len(sentences[batch[0]].ids) if batch else len(sentence.ids)
        size = len(batch) + 1 if settings.batch_type == "examples" else (len(batch) + 1) * longest
        if batch and size > settings.max_batch_size:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


class Theirs:
    """A CTranslate2 translator, asked in our piece ids."""

    def __init__(self, folder: Path, tokenizer: Path, settings: Settings) -> None:
        ctranslate2 = importlib.import_module("ctranslate2")
        pieces = Tokenizer.from_file(tokenizer)
        self._pieces = [pieces.piece(id_) for id_ in range(pieces.vocabulary_size)]
        self._ids = {piece: id_ for id_, piece in enumerate(self._pieces)}
        self._translator: Any = ctranslate2.Translator(
            str(folder), compute_type=settings.compute_type,
            inter_threads=settings.workers, intra_threads=settings.threads, max_queued_batches=-1,
        )  # fmt: skip
        self.settings = settings

    def run(self, sentences: Sequence[Sentence], beam: int = 1) -> list[list[int]]:
        """Translate some sentences, in one batch if they fit; return the pieces of each, without the end."""
        results = self._translator.translate_batch(
            self._tokens(sentences), beam_size=beam,
            max_decoding_length=max(given.limit for given in sentences),
            max_batch_size=self.settings.max_batch_size, batch_type=self.settings.batch_type,
        )  # fmt: skip
        return self._written(sentences, results)

    def translate(
        self, sentences: Sequence[Sentence], beam: int = 1, settings: Settings | None = None
    ) -> list[list[int]]:
        """Translate sentences, given longest first, in batches; all workers have something to do."""
        groups = [
            [sentences[place] for place in batch] for batch in batches(sentences, settings or self.settings)
        ]
        waiting = [
            self._translator.translate_batch(
                self._tokens(group), beam_size=beam, asynchronous=True,
                max_decoding_length=max(given.limit for given in group),
            )
            for group in groups
        ]  # fmt: skip
        written: list[list[int]] = []
        for group, results in zip(groups, waiting, strict=True):
            written += self._written(group, [result.result() for result in results])
        return written

    def timed(
        self, sentences: Sequence[Sentence], beam: int = 1, settings: Settings | None = None
    ) -> tuple[float, int]:
        """Return how long some sentences take, and how many pieces are written."""
        began = time.perf_counter()
        written = self.translate(sentences, beam, settings)
        return time.perf_counter() - began, sum(map(len, written))

    def ending(self, sentences: Sequence[Sentence]) -> list[bool]:
        """Tell which sentences come to an end, rather than to their limit."""
        order = sorted(range(len(sentences)), key=lambda place: -len(sentences[place].ids))
        written = self.translate([sentences[place] for place in order])
        ends = {
            place: len(pieces) < sentences[place].limit for place, pieces in zip(order, written, strict=True)
        }
        return [ends[place] for place in range(len(sentences))]

    def force(self, sentences: Sequence[Sentence], pieces: int) -> float:
        """Return the seconds to write exactly so many pieces for each sentence, and its end."""
        tokens = self._tokens(sentences)
        began = time.perf_counter()
        self._translator.translate_batch(
            tokens, beam_size=1, min_decoding_length=pieces + 1, max_decoding_length=pieces + 1
        )
        return time.perf_counter() - began

    def close(self) -> None:
        """Give back its memory."""
        self._translator.unload_model()

    def _tokens(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        return [[self._pieces[id_] for id_ in given.ids] for given in sentences]

    def _written(self, sentences: Sequence[Sentence], results: Sequence[Any]) -> list[list[int]]:
        """Return ids; a sentence of a batch with longer ones may have passed its own limit."""
        return [
            [self._ids[piece] for piece in result.hypotheses[0][: given.limit]]
            for given, result in zip(sentences, results, strict=True)
        ]
