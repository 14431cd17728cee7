"""Preprocessing: a text becomes sentences that the model can take, as tokens with the way back to the text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dragoman.text.masking import Masked, mask
from dragoman.text.normalize import normalize, normalize_with_offsets
from dragoman.text.segments import find_segments
from dragoman.text.sentences import split_to_fit
from dragoman.text.spans import Span
from dragoman.text.tokenizer import Tokenizer

BATCH_CODE_POINTS = 20_000  # of texts that are split together
NUM_SPECIAL_TOKENS = 2  # tag and end, around the tokens of every source


def target_token_limit(num_source_tokens: int) -> int:
    """Return how many tokens a translation may have, unless the caller says so; generous for short sources.

    Args:
        num_source_tokens: Special tokens included.

    >>> target_token_limit(7)
    24
    """
    return 2 * num_source_tokens + 10


@dataclass(frozen=True)
class PreparedSentence:
    """A sentence as the model reads it, and the way back from its tokens to the caller's text.

    Attributes:
        span: Where it stands in the text.
        text: As the caller wrote it.
        tokens: Of its normalised form, special tokens left out.
        token_spans: Of each token, into `text`; empty if nobody needs them.
        num_parts: How many parts the sentence was split into; only its first part says so.
        masked: What the model reads instead, where something in it must not change.
    """

    span: Span
    text: str
    tokens: list[int]
    token_spans: list[Span]
    num_parts: int = 1
    masked: Masked | None = None


class Preprocessor:
    """Splits texts into sentences of the length that one model takes."""

    def __init__(self, tokenizer: Tokenizer, max_sentence_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_sentence_tokens - NUM_SPECIAL_TOKENS

    def split_all(
        self, texts: Sequence[str], language: str, *, with_spans: bool, protect: bool = False
    ) -> list[list[PreparedSentence]]:
        """Split some texts into sentences."""
        return [self.split(text, language, with_spans=with_spans, protect=protect) for text in texts]

    def split(
        self, text: str, language: str, *, with_spans: bool, protect: bool = False
    ) -> list[PreparedSentence]:
        """Split a text into sentences, around what is protected if that is wanted; one that is too long for the model comes in several parts."""
        prepared: list[PreparedSentence] = []
        for span, protected in find_segments(text, language, protect=protect):
            prepare = partial(self.prepare, text, protected=protected, with_spans=with_spans, protect=protect)
            sentence = prepare(span)
            if len(sentence.tokens) <= self._max_tokens:
                prepared += [sentence] if sentence.tokens else []  # invisible characters have no tokens
                continue
            spans = split_to_fit(text, span, self._fits)
            parts = [prepare(part) for part in spans]
            parts = [part for part in parts if part.tokens]
            prepared += [replace(parts[0], num_parts=len(parts)), *parts[1:]]
        return prepared

    def _fits(self, text: str) -> bool:
        return len(self._tokenizer.encode_ids(normalize(text))) <= self._max_tokens

    def prepare(
        self,
        text: str,
        span: Span,
        *,
        protected: Sequence[Span] = (),
        with_spans: bool = True,
        protect: bool = False,
    ) -> PreparedSentence:
        """Normalise and tokenize one sentence, with the span of each token if it is wanted.

        Args:
            protected: Spans of the text, disjoint and in order; those inside the sentence are read by the model as placeholders.
            protect: Whether they, and the case of letters, pass around the model.
        """
        sentence = span.of(text)
        first = bisect_left(protected, span.start, key=lambda one: one.start)
        last = bisect_right(protected, span.end, key=lambda one: one.end)
        inside = [one.moved(-span.start) for one in protected[first:last]]
        if protect and (masked := mask(sentence, inside)) is not None:
            return self._prepare_masked(span, sentence, masked)
        if not with_spans:
            return PreparedSentence(span, sentence, self._tokenizer.encode_ids(normalize(sentence)), [])
        normalized = normalize_with_offsets(sentence)
        encoded = self._tokenizer.encode(normalized.text)
        starts = [*normalized.starts, len(sentence)]
        spans = [Span(starts[a], normalized.ends[b - 1] if b > a else starts[a]) for a, b in encoded.spans]
        return PreparedSentence(span, sentence, encoded.tokens, spans)

    def _prepare_masked(self, span: Span, sentence: str, masked: Masked) -> PreparedSentence:
        """Prepare what the model reads in place of a sentence; its tokens lead to the sentence's own characters."""
        one = self.prepare(masked.text, Span(0, len(masked.text)))
        starts = [*masked.starts, len(sentence)]
        spans = [Span(starts[a], masked.ends[b - 1] if b > a else starts[a]) for a, b in one.token_spans]
        return PreparedSentence(span, sentence, one.tokens, spans, masked=masked)


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in order, some together: an abandoned call costs at most the batch in work."""
    batch: list[str] = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > BATCH_CODE_POINTS:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch
