"""Postprocessing: from a decoder's tokens to text, words, links and scores, with offsets in the caller's texts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import fmean

import numpy as np

from dragoman.alignment.links import AlignedWords, hard_links, membership, symmetrized, word_weights
from dragoman.batching.decode_request import DecodeResult, Output
from dragoman.bundle import AlignmentHead
from dragoman.text.masking import Unmasked, attended_place, unmask
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, PreparedSentence
from dragoman.text.spans import Span
from dragoman.text.tokenizer import EOS_ID, Decoded, Tokenizer
from dragoman.text.words import split_words
from dragoman.types import NO_ATTENTION, Alternative, Options, Token, TranslatedSentence

Words = tuple[list[Span], list[Span]]  # of the source and of the target, each from its sentence's beginning


class Postprocessor:
    """Turns the results of one model's decoder into sentences."""

    def __init__(self, tokenizer: Tokenizer, head: AlignmentHead) -> None:
        self._tokenizer = tokenizer
        self._head = head

    def restore(
        self, sentence: PreparedSentence, output: Output, options: Options, prefix: PreparedSentence | None
    ) -> Unmasked:
        """Decode a translation, and put back what is protected in it as it was."""
        if sentence.masked is None:
            return Unmasked(self.decode(output, options, prefix))
        decoded = self._tokenizer.decode(output.tokens)
        place_of = partial(attended_place, decoded, sentence.token_spans, output.attention)
        return unmask(decoded, sentence.masked, place_of)

    def decode(self, output: Output, options: Options, prefix: PreparedSentence | None) -> Decoded:
        """Join tokens to text, with the span of each token if it is needed; a prefix is kept as the caller wrote it."""
        if prefix is None and not options.wants_token_spans:
            return Decoded(self._tokenizer.decode_text(output.tokens), [])
        if prefix is None:
            return self._tokenizer.decode(output.tokens)
        rest = self._tokenizer.decode(output.tokens[len(prefix.tokens) :], goes_on=bool(prefix.tokens))
        # The first token brings a space of its own, even where the prefix ends with one.
        num_cut = 1 if prefix.text[-1:].isspace() and rest.text.startswith(" ") else 0
        offset = len(prefix.text) - num_cut
        start = len(prefix.text)
        spans = [Span(max(start, offset + span.start), max(start, offset + span.end)) for span in rest.spans]
        return Decoded(prefix.text + rest.text[num_cut:], prefix.token_spans + spans)

    def describe(
        self,
        sentence: PreparedSentence,
        result: DecodeResult,
        options: Options,
        target: Decoded,
        words: Words | None,
        *,
        at: int,
    ) -> TranslatedSentence:
        """Return a sentence with its best translation.

        Args:
            target: The decoded translation.
            words: What to align, if alignment was asked for.
            at: Where the translation begins in the reply.
        """
        start = sentence.span.start
        best = result.best
        source_tokens: list[Token] = []
        target_tokens: list[Token] = []
        if options.wants_token_spans:
            source_tokens = self._source_tokens(sentence, options)
            target_tokens = self._target_tokens(best, target)
        return TranslatedSentence(
            source_span=sentence.span,
            target_span=Span(at, at + len(target.text)),
            finish=best.finish,
            score=fmean(best.log_probabilities),
            words=words and self._align_words(sentence, best, target, words, start, at),
            source_tokens=[replace(token, span=token.span.moved(start)) for token in source_tokens],
            target_tokens=[replace(token, span=token.span.moved(at)) for token in target_tokens],
            attention=best.attention if words else NO_ATTENTION,
            num_source_tokens=len(sentence.tokens) + NUM_SPECIAL_TOKENS,
            num_target_tokens=len(best.log_probabilities),
            num_alternative_tokens=sum(len(other.log_probabilities) for other in result.alternatives),
            times=result.times,
            repetitions=best.repetitions,
        )

    def with_reverse(
        self,
        aligned: TranslatedSentence,
        sentence: PreparedSentence,
        result: DecodeResult,
        target: Decoded,
    ) -> TranslatedSentence:
        """Return an aligned pair with its words linked by both directions.

        Args:
            sentence: The target of the pair, as the model read it.
            result: Of forcing the source of the pair, decoded as `target`.
        """
        assert aligned.words is not None, "only aligned pairs have a reverse. This is a bug."
        words = aligned.words.target, aligned.words.source
        reverse = self._align_words(sentence, result.best, target, words, 0, 0)
        return replace(aligned, words=symmetrized(aligned.words, reverse, self._head.threshold))

    def alternatives(
        self,
        sentence: PreparedSentence,
        result: DecodeResult,
        options: Options,
        target: Decoded,
        prefix: PreparedSentence | None,
    ) -> list[Alternative]:
        """Return the other translations; where different tokens spell the same text, only the best."""
        seen = {target.text}
        alternatives = []
        for output in result.alternatives:
            other = self.restore(sentence, output, options, prefix).decoded
            if other.text in seen:
                continue
            seen.add(other.text)
            aligned = None
            if options.alignment:
                words = split_words(sentence.text), split_words(other.text)
                aligned = self._align_words(sentence, output, other, words, sentence.span.start, 0)
            alternatives.append(Alternative(other.text, fmean(output.log_probabilities), aligned))
        return alternatives

    def _source_tokens(self, sentence: PreparedSentence, options: Options) -> list[Token]:
        """Name the source tokens. Tag and end stand at the borders and cover nothing."""
        piece = self._tokenizer.piece
        length = len(sentence.text)
        pairs = zip(sentence.tokens, sentence.token_spans, strict=True)
        return [
            Token(piece(self._tokenizer.tag_id(options.target)), Span(0, 0)),
            *(Token(piece(token), span) for token, span in pairs),
            Token(piece(EOS_ID), Span(length, length)),
        ]

    def _target_tokens(self, output: Output, target: Decoded) -> list[Token]:
        """Name the target tokens, with their log-probabilities; the end is missing if it was not reached."""
        length = len(target.text)
        tokens = [*output.tokens, EOS_ID]
        spans = [*target.spans, Span(length, length)]
        return [
            Token(self._tokenizer.piece(token), span, log_probability)
            for token, span, log_probability in zip(tokens, spans, output.log_probabilities, strict=False)
        ]

    def _align_words(
        self,
        sentence: PreparedSentence,
        output: Output,
        target: Decoded,
        words: Words,
        source_start: int,
        target_start: int,
    ) -> AlignedWords:
        """Link words by the attention between their tokens, and move their spans to where the sentences begin."""
        source_words, target_words = words
        special = ((1, 1), (0, 0))  # tag and end belong to no word
        source_share = np.pad(membership(sentence.token_spans, source_words), special)
        target_share = membership(target.spans, target_words)
        weights = word_weights(output.attention[: len(target.spans)], source_share, target_share)
        return AlignedWords(
            [word.moved(source_start) for word in source_words],
            [word.moved(target_start) for word in target_words],
            weights,
            hard_links(weights, self._head.threshold),
        )
