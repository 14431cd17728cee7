"""A text's way in: sentences that the model can take, as pieces, and the way back from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dragoman.text.normalize import normalize, normalize_with_offsets
from dragoman.text.sentences import split_sentences, split_to_fit
from dragoman.text.spans import Span
from dragoman.text.tokenizer import Tokenizer

TOGETHER = 20_000  # code points that are cut together
NUM_SPECIAL_TOKENS = 2  # tag and end, around the pieces of every source


@dataclass(frozen=True)
class PreparedSentence:
    """A sentence on its way in: pieces, and the way from them back to the caller's text."""

    span: Span
    text: str
    tokens: list[int]
    token_spans: list[Span]  # into `text`; none if nobody asked for them
    num_parts: int = 1  # of an over-long sentence, whose first part this is


class Preprocessor:
    """Cuts texts for one model."""

    def __init__(self, tokenizer: Tokenizer, max_sentence_tokens: int) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_sentence_tokens - NUM_SPECIAL_TOKENS

    def split(self, text: str, language: str, *, with_spans: bool) -> list[PreparedSentence]:
        """Cut a text into sentences that the model can take."""
        prepared: list[PreparedSentence] = []
        for whole in split_sentences(text, language):
            one = self.prepare(text, whole, with_spans=with_spans)
            if len(one.tokens) <= self._max_tokens:
                prepared += [one] if one.tokens else []  # one of invisible characters has none
                continue
            spans = split_to_fit(text, whole, self._fits)
            parts = [self.prepare(text, span, with_spans=with_spans) for span in spans]
            parts = [part for part in parts if part.tokens]
            prepared += [replace(parts[0], num_parts=len(parts)), *parts[1:]]
        return prepared

    def _fits(self, text: str) -> bool:
        return len(self._tokenizer.encode_ids(normalize(text))) <= self._max_tokens

    def prepare(self, text: str, span: Span, *, with_spans: bool = True) -> PreparedSentence:
        """Normalise one sentence and cut it into pieces, keeping the way back if it is wanted."""
        sentence = span.of(text)
        if not with_spans:
            return PreparedSentence(span, sentence, self._tokenizer.encode_ids(normalize(sentence)), [])
        normalized = normalize_with_offsets(sentence)
        encoded = self._tokenizer.encode(normalized.text)
        starts = [*normalized.starts, len(sentence)]
        spans = [Span(starts[a], normalized.ends[b - 1] if b > a else starts[a]) for a, b in encoded.spans]
        return PreparedSentence(span, sentence, encoded.tokens, spans)


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in order, some together: a call that is given up may still cost one batch."""
    batch: list[str] = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > TOGETHER:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch
