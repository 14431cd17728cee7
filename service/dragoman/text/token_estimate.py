"""How many pieces texts will have, by a count of words: a tenth of what cutting them up costs."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ENDS = re.compile(r"[.!?;:\n]\s")  # of sentences, roughly
# Pieces a word, at first and at most: too many refuse what could be done, too few only refuse it a little later, and
# what one caller writes is no reason to refuse another.
_MOST = 1.5
_LEARNING = 0.01  # of each call


class TokenCountEstimator:
    """Learns from the texts of its callers how many pieces a word has."""

    def __init__(self) -> None:
        self._pieces_per_word = _MOST

    def sentences(self, texts: Sequence[str]) -> list[int]:
        """Return about how many pieces each sentence of some texts has."""
        words = [count for text in texts for part in _ENDS.split(text) if (count := len(part.split()))]
        return [round(count * self._pieces_per_word) for count in words]

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """Take note of how many pieces some texts had."""
        if words := sum(len(text.split()) for text in texts):
            self._pieces_per_word += _LEARNING * (min(tokens / words, _MOST) - self._pieces_per_word)
