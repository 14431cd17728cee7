"""Our engine as a measurement sees it: token ids in, token ids out, through the loop that serves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dragoman.batching.decode_request import DecodeRequest, DecodeResult
from dragoman.registry.offline import open_offline
from dragoman.types import Finish, Search
from tests.benchmarks.corpus import Sentence

DEFAULTS: Mapping[str, str] = {}

# The one place that knows how our engine is asked and how it answers.


def _decode_request(given: Sentence, shift: int, beam: int, target_prefix: Sequence[int]) -> DecodeRequest:
    return DecodeRequest(
        given.ids,
        max_tokens=given.limit,
        shift=shift,
        wants_attention=False,
        search=Search(beam_size=beam),
        target_prefix=list(target_prefix),
        is_target_forced=bool(target_prefix),
    )


def _pieces(result: DecodeResult) -> list[int]:
    return result.best.tokens


def _is_complete(result: DecodeResult) -> bool:
    return result.best.finish is Finish.STOP


class Ours:
    """The loop of a bundle, with the settings of a server unless others are given; threads follow the cores."""

    def __init__(self, bundle: Path, settings: Mapping[str, str] = DEFAULTS) -> None:
        registry = open_offline({}, bundle, settings)
        self._pool = registry.pool
        self._shift = registry.bundle.manifest.alignment.shift

    def translate(self, sentences: Sequence[Sentence], beam: int = 1) -> list[list[int]]:
        """Return the pieces of each translation, without the end."""
        results = self._run([_decode_request(given, self._shift, beam, ()) for given in sentences])
        return [_pieces(result) for result in results]

    def ending(self, sentences: Sequence[Sentence]) -> list[bool]:
        """Tell which sentences come to an end, rather than to their limit or into a circle."""
        results = self._run([_decode_request(given, self._shift, 1, ()) for given in sentences])
        return [_is_complete(result) for result in results]

    def timed(self, sentences: Sequence[Sentence], beam: int = 1) -> tuple[float, int]:
        """Return how long some sentences take, and how many pieces are written."""
        began = time.perf_counter()
        written = self.translate(sentences, beam)
        return time.perf_counter() - began, sum(map(len, written))

    def force(self, sentences: Sequence[Sentence], pieces: int) -> float:
        """Return the seconds to write exactly so many pieces for each sentence, and its end."""
        target_prefix = [[given.ids[1]] * pieces for given in sentences]
        requests = [
            _decode_request(Sentence(given.ids, pieces + 1), self._shift, 1, target)
            for given, target in zip(sentences, target_prefix, strict=True)
        ]
        began = time.perf_counter()
        self._run(requests)
        return time.perf_counter() - began

    def _run(self, requests: list[DecodeRequest]) -> list[DecodeResult]:
        self._pool.submit(requests)
        return [decode_request.future.result() for decode_request in requests]

    def close(self) -> None:
        """Stop the loop."""
        self._pool.close()
