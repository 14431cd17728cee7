"""Usage metrics: what callers asked for and got, by direction."""

from __future__ import annotations

from collections.abc import Iterable

from dragoman.observability.metrics import Metrics
from dragoman.types import Flag, Options, TranslatedSentence


class Usage:
    """Counts characters, tokens and quality flags."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count_text(self, text: str, options: Options) -> None:
        """Count the characters of a text."""
        self._metrics.characters.labels(options.pair).inc(len(text))

    def count_sentence(self, sentence: TranslatedSentence, options: Options) -> None:
        """Count the tokens of a sentence and of its translations."""
        self._metrics.source_tokens.labels(options.pair).inc(sentence.num_source_tokens)
        self._metrics.target_tokens.labels(options.pair).inc(sentence.num_returned_tokens)

    def count_flags(self, flags: Iterable[Flag]) -> None:
        """Count quality flags, by kind."""
        for flag in flags:
            self._metrics.fidelity_flags.labels(flag.kind.value).inc()
