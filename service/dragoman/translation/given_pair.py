"""A given pair: a source and a target that the caller sent to be aligned, as tokens and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.alignment.links import AlignedWords
from dragoman.errors import OverLimit
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, PreparedSentence, Preprocessor
from dragoman.text.spans import Span
from dragoman.text.words import split_words
from dragoman.types import NO_ATTENTION, Finish, TranslatedSentence

# Words of signs that the model does not see have no tokens, so words are limited too: an alignment takes memory for
# each source word times each target word.
MAX_WORDS_PER_TOKEN = 2
GivenWords = list[Span] | None


@dataclass(frozen=True)
class Limits:
    """How many tokens the model takes on each side, special tokens included."""

    max_source_tokens: int
    max_target_tokens: int


@dataclass(frozen=True)
class GivenPair:
    """Both sides of a pair, each with the words to align."""

    source: PreparedSentence
    target: PreparedSentence
    words: tuple[list[Span], list[Span]]

    @property
    def is_blank(self) -> bool:
        """Tell whether a side has nothing that the model sees."""
        return not self.source.tokens or not self.target.tokens

    def unlinked(self) -> TranslatedSentence:
        """Return the result of a blank pair, without asking the model: no word is linked."""
        source_words, target_words = self.words
        weights = np.broadcast_to(np.float32(0.0), (len(target_words), len(source_words)))  # takes no memory
        aligned = AlignedWords(source_words, target_words, weights, [])
        return TranslatedSentence(
            self.source.span, self.target.span, Finish.FORCED, 0.0, aligned, [], [], NO_ATTENTION
        )

    def check(self, limits: Limits, field: str) -> None:
        """Refuse a pair that is too long for the model.

        Args:
            field: Path of the pair in the request.

        Raises:
            OverLimit: A side has too many tokens, or more than twice as many words.
        """
        source_words, target_words = self.words
        source_limit, target_limit = limits.max_source_tokens, limits.max_target_tokens
        num_source_tokens = len(self.source.tokens) + NUM_SPECIAL_TOKENS
        _check_size(f"{field}.source_text", "tokens", source_limit, num_source_tokens)
        _check_size(f"{field}.target_text", "tokens", target_limit, len(self.target.tokens))
        _check_size(f"{field}.source_text", "words", MAX_WORDS_PER_TOKEN * source_limit, len(source_words))
        _check_size(f"{field}.target_text", "words", MAX_WORDS_PER_TOKEN * target_limit, len(target_words))

    def fits_reversed(self, limits: Limits) -> bool:
        """Tell whether the model also takes the target as a source, and the source as its translation."""
        num_source_tokens = len(self.target.tokens) + NUM_SPECIAL_TOKENS
        return (
            num_source_tokens <= limits.max_source_tokens
            and len(self.source.tokens) <= limits.max_target_tokens
        )


def read(
    preprocessor: Preprocessor, texts: tuple[str, str], words: tuple[GivenWords, GivenWords]
) -> GivenPair:
    """Prepare both sides of a pair, and find the words of each unless the caller gave them."""
    source, target = (preprocessor.prepare(text, Span(0, len(text))) for text in texts)
    source_words, target_words = (
        split_words(text) if given is None else given for text, given in zip(texts, words, strict=True)
    )
    return GivenPair(source, target, (source_words, target_words))


def _check_size(field: str, unit: str, limit: int, actual: int) -> None:
    if actual > limit:
        raise OverLimit(f"{unit} in {field}", field=field, limit=limit, actual=actual, reason="TEXT_TOO_LONG")
