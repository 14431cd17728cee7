"""Early admission: refuse texts that would be late, before the work of splitting them into sentences."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.batching.decode_pool import DecodePool
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, PreparedSentence
from dragoman.text.spans import Span
from dragoman.text.token_estimate import TokenCountEstimator
from dragoman.text.tokenizer import EOS_ID
from dragoman.translation.decode_requests import DecodeRequests
from dragoman.types import Options


class EarlyAdmission:
    """Estimates by a count of words what texts will cost, and asks the pool whether it can be done."""

    def __init__(self, pool: DecodePool, requests: DecodeRequests, max_source_tokens: int) -> None:
        self._pool = pool
        self._requests = requests
        self._max_tokens = max_source_tokens - NUM_SPECIAL_TOKENS  # longer sentences are split
        self._estimator = TokenCountEstimator()

    def check(self, texts: Sequence[str], options: Options) -> None:
        """Refuse some texts if they would hardly be done in time.

        Raises:
            DeadlineTooShort, DeadlinePassed, OverLimit, QueueFull: As `DecodePool.check` does.
        """
        counts = self._estimator.sentences(texts)
        if not counts:
            return
        longest = PreparedSentence(Span(0, 0), "", [EOS_ID] * min(max(counts), self._max_tokens), [])
        min_sentences = sum(not text.isspace() for text in texts if text)
        num_sentences = sum(-(-count // self._max_tokens) for count in counts)
        num_source_tokens = sum(counts) + NUM_SPECIAL_TOKENS * num_sentences
        work = num_source_tokens * (1 + options.search.beam_size)
        self._pool.check(self._requests.make(longest, options), min_sentences, num_sentences, work)

    def learn(self, texts: Sequence[str], num_tokens: int) -> None:
        """Improve the estimate by how many tokens some texts turned out to have."""
        self._estimator.learn(texts, num_tokens)
