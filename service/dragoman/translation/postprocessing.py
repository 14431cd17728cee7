"""A translation's way out: from pieces to text, words, links and flags, with every offset in the caller's texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from dragoman.alignment.links import (
    AlignedWords,
    hard_links,
    membership,
    symmetrized,
    uncovered,
    word_weights,
)
from dragoman.batching.decode_request import DecodeResult, Output
from dragoman.bundle import AlignmentHead
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, PreparedSentence
from dragoman.text.spans import Span
from dragoman.text.tokenizer import EOS_ID, Decoded, Tokenizer
from dragoman.text.words import split_words
from dragoman.translation.quality_flags import quality_flags
from dragoman.types import (
    NO_ATTENTION,
    Alternative,
    Finish,
    Flag,
    FlagKind,
    Options,
    Token,
    TranslatedSentence,
)


class Postprocessor:
    """Says what came of sentences, for one model."""

    def __init__(self, tokenizer: Tokenizer, head: AlignmentHead) -> None:
        self._tokenizer, self._head = tokenizer, head

    def decode(self, written: Output, options: Options, prefix: PreparedSentence | None) -> Decoded:
        """Join pieces to text, and locate them if it is wanted; a prefix stands there as it was given."""
        if prefix is None and not options.wants_token_spans:
            return Decoded(self._tokenizer.decode_text(written.tokens), [])
        if prefix is None:
            return self._tokenizer.decode(written.tokens)
        rest = self._tokenizer.decode(written.tokens[len(prefix.tokens) :], goes_on=bool(prefix.tokens))
        cut = 1 if prefix.text[-1:].isspace() and rest.text.startswith(" ") else 0  # it has its space
        by = len(prefix.text) - cut
        spans = [Span(max(by + cut, by + span.start), max(by + cut, by + span.end)) for span in rest.spans]
        return Decoded(prefix.text + rest.text[cut:], prefix.token_spans + spans)

    def alternatives(
        self,
        sentence: PreparedSentence,
        result: DecodeResult,
        options: Options,
        target: Decoded,
        prefix: PreparedSentence | None,
    ) -> list[Alternative]:
        """Describe the further translations; pieces that spell the same text count once."""
        seen, found = {target.text}, []
        for written in result.alternatives:
            other = self.decode(written, options, prefix)
            if other.text in seen:
                continue
            seen.add(other.text)
            words = None
            if options.alignment:
                both = split_words(sentence.text), split_words(other.text)
                words = self._align_words(sentence, written, other, both, sentence.span.start, 0)
            found.append(Alternative(other.text, fmean(written.log_probabilities), words))
        return found

    def describe(
        self, sentence: PreparedSentence, result: DecodeResult, options: Options, target: Decoded,
        words: tuple[list[Span], list[Span]] | None, *, at: int,
    ) -> TranslatedSentence:  # fmt: skip
        """Say everything about one sentence; `at` is where its translation begins in the reply."""
        begin, best = sentence.span.start, result.best
        source_tokens: list[Token] = []  # not made unless they are asked for
        target_tokens: list[Token] = []
        if options.wants_token_spans:
            source_tokens, target_tokens = self._tokens(sentence, best, options, target)
        return TranslatedSentence(
            source_span=sentence.span,
            target_span=Span(at, at + len(target.text)),
            finish=best.finish,
            score=fmean(best.log_probabilities),
            words=words and self._align_words(sentence, best, target, words, begin, at),
            source_tokens=[replace(token, span=_moved(token.span, begin)) for token in source_tokens],
            target_tokens=[replace(token, span=_moved(token.span, at)) for token in target_tokens],
            attention=best.attention if words else NO_ATTENTION,
            num_source_tokens=len(sentence.tokens) + NUM_SPECIAL_TOKENS,
            num_target_tokens=len(best.log_probabilities),
            num_alternative_tokens=sum(len(other.log_probabilities) for other in result.alternatives),
            times=result.times,
            repetitions=best.repetitions,
        )

    def with_reverse(
        self, done: TranslatedSentence, sentence: PreparedSentence, result: DecodeResult, target: Decoded
    ) -> TranslatedSentence:
        """Return an aligned pair whose words are linked by both directions.

        Args:
            sentence: The target of the pair, as it was read; `result` and `target` are what came of it: the source.
        """
        assert done.words is not None, "only aligned pairs have a reverse. This is a bug."
        words = done.words.target, done.words.source
        reverse = self._align_words(sentence, result.best, target, words, 0, 0)
        return replace(done, words=symmetrized(done.words, reverse, self._head.threshold))

    def _tokens(
        self, sentence: PreparedSentence, written: Output, options: Options, target: Decoded
    ) -> tuple[list[Token], list[Token]]:
        """Name the pieces of both sides; tag and end stand at the borders and cover nothing."""
        piece, size, length = self._tokenizer.piece, len(sentence.text), len(target.text)
        source = [
            Token(piece(id_), span) for id_, span in zip(sentence.tokens, sentence.token_spans, strict=True)
        ]
        source.insert(0, Token(piece(self._tokenizer.tag_id(options.target)), Span(0, 0)))
        source.append(Token(piece(EOS_ID), Span(size, size)))
        ids = [*written.tokens, EOS_ID]
        spans = [*target.spans, Span(length, length)]
        return source, [  # the end is missing where the limit came first
            Token(piece(id_), span, log_probability)
            for id_, span, log_probability in zip(ids, spans, written.log_probabilities, strict=False)
        ]

    def _align_words(
        self, sentence: PreparedSentence, written: Output, target: Decoded,
        words: tuple[list[Span], list[Span]], begin: int, at: int,
    ) -> AlignedWords:  # fmt: skip
        source_share = np.pad(
            membership(sentence.token_spans, words[0]), ((1, 1), (0, 0))
        )  # tag and end: no word's
        target_share = membership(target.spans, words[1])
        weights = word_weights(written.attention[: len(target.spans)], source_share, target_share)
        moved = [_moved(word, begin) for word in words[0]], [_moved(word, at) for word in words[1]]
        return AlignedWords(*moved, weights, hard_links(weights, self._head.threshold))


@dataclass(frozen=True)
class Part:
    """What one sentence adds to the translation of a streamed text.

    Attributes:
        sentence: None for a text without any.
        text: The sentence with the white space before it and, if it is the last, what follows it.
        flags: Doubts about it, and about the sentence that ends with it, if that was cut into parts.
    """

    sentence: TranslatedSentence | None
    text: str
    flags: list[Flag]
    is_last: bool


class TextAssembler:
    """Puts the translations of one text where its sentences stood, in order.

    Attributes:
        text: The source.
        done: What has been put there so far.
    """

    def __init__(
        self, postprocessor: Postprocessor, text: str, sentences: list[PreparedSentence], options: Options,
        prefix: PreparedSentence | None, *, keeps_details: bool = True,
    ) -> None:  # fmt: skip
        """Begin a text; one that is handed out as it grows need not keep the details of what was."""
        self._postprocessor, self.text, self._options = postprocessor, text, options
        self._sentences, self._prefix, self._keeps_details = sentences, prefix, keeps_details
        self.done: list[TranslatedSentence] = []
        self._end = self._length = 0  # in the source, in the reply
        self._first = 0  # of the parts of the present sentence
        self._said: list[str] = []  # of the present sentence, from its first part on

    @property
    def size_of_next(self) -> int:
        """Return how many code points of the source `add` looks through: with its last part, all of a sentence."""
        index = len(self.done)
        first = self._first if self._is_last_part(index) else index
        return self._sentences[index].span.end - self._sentences[first].span.start

    def add(self, result: DecodeResult) -> Part:
        """Put the next sentence."""
        index, options, prefix = len(self.done), self._options, self._prefix
        sentence = self._sentences[index]
        gap = self.text[self._end : sentence.span.start]
        target = self._postprocessor.decode(result.best, options, prefix)
        words = (split_words(sentence.text), split_words(target.text)) if options.alignment else None
        at = self._length + len(gap)
        done = self._postprocessor.describe(sentence, result, options, target, words, at=at)
        if result.alternatives:
            others = self._postprocessor.alternatives(sentence, result, options, target, prefix)
            done = replace(done, alternatives=others)
        self.done.append(done)
        self._said += [gap if index > self._first else "", target.text]
        self._end, self._length = sentence.span.end, at + len(target.text)
        is_last = len(self.done) == len(self._sentences)
        added = gap + target.text + (self.text[self._end :] if is_last else "")
        first, part = self._first, Part(self.done[-1], added, self._flags(index), is_last)
        if not self._keeps_details and self._first > first:  # what speaks against it is said
            self.done[first:] = [one.without_details() for one in self.done[first:]]
        return part

    def _flags(self, index: int) -> list[Flag]:
        """Return the doubts about a sentence once its last part is done."""
        if not self._is_last_part(index):
            return []
        parts = self.done[self._first :]
        source = self.text[parts[0].source_span.start : parts[-1].source_span.end]
        found = quality_flags(source, "".join(self._said))
        self._first, self._said = index + 1, []
        return flags_of(parts, found, self.text)

    def _is_last_part(self, index: int) -> bool:
        return index - self._first + 1 == self._sentences[self._first].num_parts


def unlinked(source: Span, target: Span, words: tuple[list[Span], list[Span]]) -> TranslatedSentence:
    """Describe a pair with a blank side: there is nothing to ask the model."""
    weights = np.broadcast_to(np.float32(0.0), (len(words[1]), len(words[0])))  # takes no memory
    aligned = AlignedWords(*words, weights, [])
    return TranslatedSentence(source, target, Finish.FORCED, 0.0, aligned, [], [], NO_ATTENTION)


def flags_of(parts: list[TranslatedSentence], found: list[Flag], text: str) -> list[Flag]:
    """Say what a reader should doubt about a sentence.

    Args:
        parts: That it was cut into, or itself alone.
        found: By comparing both texts, whose spans count from the sentence's beginning.
        text: That the sentence stands in.
    """
    source = Span(parts[0].source_span.start, parts[-1].source_span.end)
    target = Span(parts[0].target_span.start, parts[-1].target_span.end)
    flags = [
        replace(
            flag,
            source_span=flag.source_span and _moved(flag.source_span, source.start),
            target_span=flag.target_span and _moved(flag.target_span, target.start),
        )
        for flag in found
    ]
    for part in parts:
        spans = part.source_span, part.target_span
        if part.finish is Finish.LENGTH:
            flags.append(Flag(FlagKind.TARGET_CUT, *spans, part.num_target_tokens))
        if part.finish is Finish.REPETITION:
            flags.append(Flag(FlagKind.REPETITION, *spans, part.repetitions))
        if part.words:
            lost = uncovered(part.words, text)
            flags += [Flag(FlagKind.UNCOVERED_SOURCE, span, None, value) for span, value in lost]
    if len(parts) > 1:
        flags.append(Flag(FlagKind.SENTENCE_SPLIT, source, target, len(parts)))
    return sorted(flags, key=lambda flag: (flag.target_span or target, flag.source_span or source))


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by)
