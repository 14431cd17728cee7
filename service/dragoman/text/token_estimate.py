"""The token estimate: how many tokens texts will have, by a count of words, at a tenth of the cost of tokenizing."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SENTENCE_ENDS = re.compile(r"[.!?;:\n]\s")  # roughly
# Too high an estimate refuses what could be done; too low a one only refuses it a little later. So it starts at the
# upper bound, and no caller's texts can lift it beyond that to the cost of others.
_MAX_TOKENS_PER_WORD = 1.5
_LEARNING_RATE = 0.01  # for each call


class TokenCountEstimator:
    """Learns from the texts of all callers how many tokens a word has."""

    def __init__(self) -> None:
        self._tokens_per_word = _MAX_TOKENS_PER_WORD

    def sentences(self, texts: Sequence[str]) -> list[int]:
        """Estimate the number of tokens of each sentence of some texts."""
        words = [
            count for text in texts for part in _SENTENCE_ENDS.split(text) if (count := len(part.split()))
        ]
        return [round(count * self._tokens_per_word) for count in words]

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """Learn from some texts whose number of tokens is known."""
        if words := sum(len(text.split()) for text in texts):
            measured = min(tokens / words, _MAX_TOKENS_PER_WORD)
            self._tokens_per_word += _LEARNING_RATE * (measured - self._tokens_per_word)
