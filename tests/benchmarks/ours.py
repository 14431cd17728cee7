"""Our engine as a measurement sees it: token ids in, token ids out, through the loop that serves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence as Items
from pathlib import Path

from dragoman import config
from dragoman.batching.sequence import Result, Sequence
from dragoman.registry.loading import build
from dragoman.types import Finish, Search
from tests.benchmarks.corpus import Sentence

DEFAULTS: Mapping[str, str] = {}

# The one place that knows how our engine is asked and how it answers.


def _sequence(given: Sentence, shift: int, beam: int, forced: Items[int]) -> Sequence:
    return Sequence(
        given.ids,
        max_tokens=given.limit,
        shift=shift,
        wants_attention=False,
        search=Search(beam_size=beam),
        forced=list(forced),
        is_forced_whole=bool(forced),
    )


def _pieces(result: Result) -> list[int]:
    return result.best.ids


def _is_complete(result: Result) -> bool:
    return result.best.finish is Finish.STOP


class Ours:
    """The loop of a bundle, with the settings of a server unless others are given; threads follow the cores."""

    def __init__(self, bundle: Path, settings: Mapping[str, str] = DEFAULTS) -> None:
        given = {"bundle": str(bundle), **config.ANY_QUEUE, **settings}
        served, _ = build(config.read(given, {}))
        self._loop = served.loop
        self._shift = served.bundle.manifest.alignment.shift

    def translate(self, sentences: Items[Sentence], beam: int = 1) -> list[list[int]]:
        """Return the pieces of each translation, without the end."""
        results = self._run([_sequence(given, self._shift, beam, ()) for given in sentences])
        return [_pieces(result) for result in results]

    def ending(self, sentences: Items[Sentence]) -> list[bool]:
        """Tell which sentences come to an end, rather than to their limit or into a circle."""
        results = self._run([_sequence(given, self._shift, 1, ()) for given in sentences])
        return [_is_complete(result) for result in results]

    def timed(self, sentences: Items[Sentence], beam: int = 1) -> tuple[float, int]:
        """Return how long some sentences take, and how many pieces are written."""
        began = time.perf_counter()
        written = self.translate(sentences, beam)
        return time.perf_counter() - began, sum(map(len, written))

    def force(self, sentences: Items[Sentence], pieces: int) -> float:
        """Return the seconds to write exactly so many pieces for each sentence, and its end."""
        forced = [[given.ids[1]] * pieces for given in sentences]
        sequences = [
            _sequence(Sentence(given.ids, pieces + 1), self._shift, 1, target)
            for given, target in zip(sentences, forced, strict=True)
        ]
        began = time.perf_counter()
        self._run(sequences)
        return time.perf_counter() - began

    def _run(self, sequences: list[Sequence]) -> list[Result]:
        self._loop.submit(sequences)
        return [sequence.future.result() for sequence in sequences]

    def close(self) -> None:
        """Stop the loop."""
        self._loop.close()
