"""Text in, text out: the whole path of a sentence.

    split -> normalise -> pieces -> (loop: encode, decode) -> text -> words and links -> put back

White space between sentences is never touched; every offset points into the texts that the caller gave
and gets. Knows nothing of gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence as Items
from dataclasses import replace

import numpy as np

from service.alignment import AlignedWords, hard_links, membership, word_weights
from service.batching.loop import Loop
from service.batching.sequence import Result, Sequence, Written
from service.bundle import AlignmentHead, Bundle
from service.errors import InvalidRequest, OverLimit
from service.metrics import Metrics
from service.text.preparation import MARKS, Preparation, Prepared
from service.text.spans import Span
from service.text.tokenizer import EOS_ID, Decoded, Tokenizer
from service.text.words import split_words
from service.translation import (
    Alternative,
    Finish,
    Flag,
    FlagKind,
    Options,
    Token,
    TranslatedSentence,
    Translation,
)


class Translator:
    """Translates and aligns texts by means of one running loop."""

    def __init__(
        self, bundle: Bundle, tokenizer: Tokenizer, loop: Loop, metrics: Metrics, *, max_sentence_tokens: int
    ) -> None:
        self._tokenizer, self._loop, self._metrics = tokenizer, loop, metrics
        self._head: AlignmentHead = bundle.manifest.alignment
        self._max_source_tokens = max_sentence_tokens
        self._preparation = Preparation(tokenizer, max_sentence_tokens)
        self._max_target_tokens = bundle.manifest.max_target_tokens

    async def translate(self, texts: Items[str], options: Options) -> list[Translation]:
        """Translate some texts together; the reply keeps their order.

        Raises:
            InvalidRequest: There is a prefix, and a text is not one sentence.
            OverLimit: There will never be room for all their sentences.
            QueueFull: There is no room for them now.
        """
        prepared = await self._split_all(texts, options.source)
        prefix = self._prefix(prepared, options)
        sequences = [
            [self._sequence(sentence, options, prefix) for sentence in sentences] for sentences in prepared
        ]
        results = await self._run([sequence for of_text in sequences for sequence in of_text])
        translations = []
        for text, sentences in zip(texts, prepared, strict=True):
            of_text, results = results[: len(sentences)], results[len(sentences) :]
            translations.append(self._assemble(text, sentences, of_text, options, prefix))
        return translations

    async def align(
        self, source: str, target: str, options: Options,
        source_words: list[Span] | None = None, target_words: list[Span] | None = None,
        *, field: str = "pair",
    ) -> TranslatedSentence:  # fmt: skip
        """Align and score a given pair by forcing the target through the decoder.

        Args:
            source_words: The caller's own words; ours if not given. Likewise `target_words`.
            field: Path of the pair in the request, for errors.

        Raises:
            OverLimit: A side has more tokens than the model takes.
        """
        given = self._preparation.prepare(source, Span(0, len(source)))
        wanted = self._preparation.prepare(target, Span(0, len(target)))
        words = (
            split_words(source) if source_words is None else source_words,
            split_words(target) if target_words is None else target_words,
        )
        if not given.ids or not wanted.ids:
            return _unlinked(given.span, wanted.span, words)
        _limit(f"{field}.source_text", self._max_source_tokens, len(given.ids) + MARKS)
        _limit(f"{field}.target_text", self._max_target_tokens, len(wanted.ids))
        sequence = self._sequence(given, replace(options, max_target_tokens=len(wanted.ids) + 1), wanted)
        sequence.is_forced_whole = True
        [result] = await self._run([sequence])
        return self._describe(given, result, options, Decoded(target, wanted.pieces), words, at=0)

    def _prefix(self, prepared: list[list[Prepared]], options: Options) -> Prepared | None:
        """Return the pieces that every translation must begin with, if any.

        Raises:
            InvalidRequest: A text is not one sentence, or the prefix leaves no room for more.
        """
        if not options.prefix:
            return None
        for index, sentences in enumerate(prepared):
            if len(sentences) != 1:
                raise InvalidRequest(
                    f"a target prefix needs texts of one sentence; contents[{index}] has {len(sentences)}",
                    field="decoding.target_prefix", reason="PREFIX_NEEDS_ONE_SENTENCE",
                    limit=1, actual=len(sentences),
                )  # fmt: skip
        prefix = self._preparation.prepare(options.prefix, Span(0, len(options.prefix)))
        limit = options.max_target_tokens or self._max_target_tokens
        if len(prefix.ids) >= limit:
            field = "decoding.target_prefix"
            raise OverLimit(
                f"tokens in {field}", field=field, limit=limit - 1, actual=len(prefix.ids), reason="INVALID_OPTION"
            )  # fmt: skip
        return prefix

    async def _split_all(self, texts: Items[str], language: str) -> list[list[Prepared]]:
        """Cut all texts aside, since a long one takes a second; a call given up stops between two texts."""
        began = time.monotonic()
        prepared = [await asyncio.to_thread(self._preparation.split, text, language) for text in texts]
        self._metrics.stage_seconds.labels("split").observe(time.monotonic() - began)
        return prepared

    def _sequence(self, sentence: Prepared, options: Options, begin: Prepared | None) -> Sequence:
        source_ids = [self._tokenizer.tag_id(options.target), *sentence.ids, EOS_ID]
        forced = begin.ids if begin else []
        limit = len(forced) + 2 * len(source_ids) + 10  # generous for short ones
        return Sequence(
            source_ids,
            max_tokens=options.max_target_tokens or min(limit, self._max_target_tokens),
            shift=self._head.shift,
            search=options.search,
            forced=forced,
            priority=int(options.is_bulk),
            deadline=options.deadline,
        )

    async def _run(self, sequences: list[Sequence]) -> list[Result]:
        """Wait for some sentences; if the caller goes away, they leave the batch at the next step."""
        self._loop.submit(sequences)
        return list(await asyncio.gather(*(asyncio.wrap_future(sequence.future) for sequence in sequences)))

    def _assemble(
        self, text: str, sentences: list[Prepared], results: list[Result], options: Options,
        prefix: Prepared | None,
    ) -> Translation:  # fmt: skip
        """Put the translations where the sentences stood."""
        parts: list[str] = []
        done: list[TranslatedSentence] = []
        end = length = 0  # in the source, in the reply
        for sentence, result in zip(sentences, results, strict=True):
            gap = text[end : sentence.span.start]
            target = self._decode(result.best, prefix)
            words = (split_words(sentence.text), split_words(target.text)) if options.alignment else None
            described = self._describe(sentence, result, options, target, words, at=length + len(gap))
            others = self._alternatives(sentence, result, options, target, prefix)
            done.append(replace(described, alternatives=others))
            parts += [gap, target.text]
            end, length = sentence.span.end, length + len(gap) + len(target.text)
        self._metrics.characters.labels(options.pair).inc(len(text))
        flags = [flag for at, first in enumerate(sentences) for flag in _flags(done[at : at + first.parts])]
        return Translation("".join([*parts, text[end:]]), done, flags)

    def _decode(self, written: Written, prefix: Prepared | None) -> Decoded:
        """Join pieces to text; a prefix stands there as it was given."""
        if prefix is None:
            return self._tokenizer.decode(written.ids)
        rest = self._tokenizer.decode(written.ids[len(prefix.ids) :], goes_on=bool(prefix.ids))
        cut = 1 if prefix.text[-1:].isspace() and rest.text.startswith(" ") else 0  # it has its space
        by = len(prefix.text) - cut
        spans = [Span(max(by + cut, by + span.start), max(by + cut, by + span.end)) for span in rest.spans]
        return Decoded(prefix.text + rest.text[cut:], prefix.pieces + spans)

    def _alternatives(
        self, sentence: Prepared, result: Result, options: Options, target: Decoded, prefix: Prepared | None
    ) -> list[Alternative]:
        """Describe the further translations; pieces that spell the same text count once."""
        seen, found = {target.text}, []
        for written in result.alternatives:
            other = self._decode(written, prefix)
            if other.text in seen:
                continue
            seen.add(other.text)
            words = None
            if options.alignment:
                both = split_words(sentence.text), split_words(other.text)
                words = self._align_words(sentence, written, other, both, sentence.span.start, 0)
            found.append(Alternative(other.text, float(np.mean(written.log_probabilities)), words))
        return found

    def _describe(
        self, sentence: Prepared, result: Result, options: Options, target: Decoded,
        words: tuple[list[Span], list[Span]] | None, *, at: int,
    ) -> TranslatedSentence:  # fmt: skip
        """Say everything about one sentence; `at` is where its translation begins in the reply."""
        begin, best = sentence.span.start, result.best
        source_tokens, target_tokens = self._tokens(sentence, best, options, target)
        self._metrics.source_tokens.labels(options.pair).inc(len(source_tokens))
        self._metrics.target_tokens.labels(options.pair).inc(len(target_tokens))
        return TranslatedSentence(
            source_span=sentence.span,
            target_span=Span(at, at + len(target.text)),
            finish=best.finish,
            score=float(np.mean(best.log_probabilities)),
            words=words and self._align_words(sentence, best, target, words, begin, at),
            source_tokens=[replace(token, span=_moved(token.span, begin)) for token in source_tokens],
            target_tokens=[replace(token, span=_moved(token.span, at)) for token in target_tokens],
            attention=best.attention,
            times=result.times,
            repetitions=best.repetitions,
        )

    def _tokens(
        self, sentence: Prepared, written: Written, options: Options, target: Decoded
    ) -> tuple[list[Token], list[Token]]:
        """Name the pieces of both sides; tag and end stand at the borders and cover nothing."""
        piece, size, length = self._tokenizer.piece, len(sentence.text), len(target.text)
        source = [Token(piece(id_), span) for id_, span in zip(sentence.ids, sentence.pieces, strict=True)]
        source.insert(0, Token(piece(self._tokenizer.tag_id(options.target)), Span(0, 0)))
        source.append(Token(piece(EOS_ID), Span(size, size)))
        ids = [*written.ids, EOS_ID]
        spans = [*target.spans, Span(length, length)]
        return source, [  # the end is missing where the limit came first
            Token(piece(id_), span, log_probability)
            for id_, span, log_probability in zip(ids, spans, written.log_probabilities, strict=False)
        ]

    def _align_words(
        self, sentence: Prepared, written: Written, target: Decoded,
        words: tuple[list[Span], list[Span]], begin: int, at: int,
    ) -> AlignedWords:  # fmt: skip
        source_share = np.pad(
            membership(sentence.pieces, words[0]), ((1, 1), (0, 0))
        )  # tag and end: no word's
        target_share = membership(target.spans, words[1])
        weights = word_weights(written.attention[: len(target.spans)], source_share, target_share)
        moved = [_moved(word, begin) for word in words[0]], [_moved(word, at) for word in words[1]]
        return AlignedWords(*moved, weights, hard_links(weights, self._head.threshold))


def _limit(field: str, limit: int, actual: int) -> None:
    if actual > limit:
        raise OverLimit(f"tokens in {field}", field=field, limit=limit, actual=actual, reason="TEXT_TOO_LONG")


def _unlinked(source: Span, target: Span, words: tuple[list[Span], list[Span]]) -> TranslatedSentence:
    """Describe a pair with a blank side: there is nothing to ask the model."""
    nothing = np.zeros((0, 0), np.float32)
    weights = np.zeros((len(words[1]), len(words[0])), np.float32)
    aligned = AlignedWords(*words, weights, [])
    return TranslatedSentence(source, target, Finish.FORCED, 0.0, aligned, [], [], nothing)


def _flags(parts: list[TranslatedSentence]) -> list[Flag]:
    """Say what a reader should doubt, given a sentence and the parts it was cut into, if it is their first."""
    flags = []
    first, last = parts[0], parts[-1]
    if first.finish is Finish.LENGTH:
        flags.append(
            Flag(FlagKind.TARGET_CUT, first.source_span, first.target_span, len(first.target_tokens))
        )
    if first.finish is Finish.REPETITION:
        flags.append(Flag(FlagKind.REPETITION, first.source_span, first.target_span, first.repetitions))
    if len(parts) > 1:
        source = Span(first.source_span.start, last.source_span.end)
        target = Span(first.target_span.start, last.target_span.end)
        flags.append(Flag(FlagKind.SENTENCE_SPLIT, source, target, len(parts)))
    return flags


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by)
