"""Text in, text out: the whole path of a sentence.

    split -> normalise -> pieces -> (loop: encode, decode) -> text -> words and links -> put back

White space between sentences is never touched; every offset points into the texts that the caller gave
and gets. Knows nothing of gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from collections.abc import Sequence as Items
from dataclasses import replace
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from dragoman.batching import stages
from dragoman.batching.decode_pool import Loop
from dragoman.batching.results import results_of
from dragoman.batching.sequence import Result, Sequence
from dragoman.bundle import Bundle
from dragoman.errors import InvalidRequest, OverLimit, QueueFull
from dragoman.observability import tracing
from dragoman.observability.metrics import Metrics
from dragoman.text.estimate import PieceEstimate
from dragoman.text.preparation import MARKS, Preparation, Prepared, batches
from dragoman.text.spans import Span
from dragoman.text.tokenizer import EOS_ID, Decoded, Tokenizer
from dragoman.text.words import split_words
from dragoman.translation.postprocessing import Assembly, Description, Part, unlinked
from dragoman.types import Options, TranslatedSentence, Translation

T = TypeVar("T")
_NUMBER_BYTES = 4  # of attention, in float32
SHORT = 1000  # code points that are cut so fast that another thread is not worth its cost
CHUNK = 32  # sentences of a streamed text that are queued together


class Translator:
    """Translates and aligns texts by means of one running loop."""

    def __init__(
        self, bundle: Bundle, tokenizer: Tokenizer, loop: Loop, metrics: Metrics, *, max_sentence_tokens: int
    ) -> None:
        self._tokenizer, self._loop, self._metrics = tokenizer, loop, metrics
        self._shift = bundle.manifest.alignment.shift
        self._max_source_tokens = max_sentence_tokens
        self._preparation = Preparation(tokenizer, max_sentence_tokens)
        self._description = Description(tokenizer, bundle.manifest.alignment)
        self._max_target_tokens = bundle.manifest.max_target_tokens
        self._estimate = PieceEstimate()
        # Of streamed texts that wait for room; gone with the last that waits.
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def translate(
        self, texts: Items[str], options: Options, places: Items[int] | None = None
    ) -> list[Translation]:
        """Translate some texts together; the reply keeps their order.

        Args:
            places: Where they stand in the request, for errors; one after the other if not given.

        Raises:
            InvalidRequest: There is a prefix, and a text is not one sentence.
            OverLimit: There will never be room for all their sentences.
            QueueFull, MemoryFull: There is no room for them now.
        """
        self.check(texts, options)
        prepared = await self._split_all(texts, options)
        pieces = sum(len(sentence.ids) for sentences in prepared for sentence in sentences)
        self._estimate.learn(texts, pieces)
        prefix = self._prefix(prepared, options, places)
        sequences = [self._sequence(one, options, prefix) for sentences in prepared for one in sentences]
        _hold(sequences, options)
        results = await self._run(sequences)
        translations: list[Translation] = []
        for text, sentences in zip(texts, prepared, strict=True):
            if translations:
                await asyncio.sleep(0)  # others go on: a large call takes a second
            of_text, results = results[: len(sentences)], results[len(sentences) :]
            assembly = Assembly(self._description, text, sentences, options, prefix)
            parts = [self._counted(assembly.add(result), options) for result in of_text]
            self._metrics.characters.labels(options.pair).inc(len(text))
            flags = [flag for part in parts for flag in part.flags]
            whole = "".join(part.text for part in parts) if parts else text
            translations.append(Translation(whole, assembly.done, flags))
        return translations

    def check(self, texts: Items[str], options: Options) -> None:
        """Refuse at once, by a count of words, what would hardly be done in time.

        Raises:
            DeadlineTooShort, DeadlinePassed, OverLimit, QueueFull: As `Loop.check` does.
        """
        pieces = self._estimate.sentences(texts)
        if not pieces:
            return
        most = self._max_source_tokens - MARKS  # longer ones are cut
        longest = Prepared(Span(0, 0), "", [EOS_ID] * min(max(pieces), most), [])
        least = sum(not text.isspace() for text in texts if text)
        about = sum(-(-count // most) for count in pieces)
        work = (sum(pieces) + MARKS * about) * (1 + options.search.beam_size)
        self._loop.check(self._sequence(longest, options, None), least, about, work)

    async def stream(self, text: str, options: Options) -> AsyncGenerator[Part, None]:
        """Translate one text of any length: sentences in order, each once it is done; a full line is waited for, no error.

        Raises:
            InvalidRequest: There is a prefix, and the text is not one sentence.
            DeadlineTooShort, DeadlinePassed: The rest would not be done, or was not done, in time.
        """
        [sentences] = await self._split_all([text], options)
        prefix = self._prefix([sentences], options)
        self._metrics.characters.labels(options.pair).inc(len(text))
        if not sentences:
            yield Part(None, text, [], is_last=True)
            return
        left = deque(self._sequence(sentence, options, prefix) for sentence in sentences)  # not yet queued
        _hold(left, options, 2 * CHUNK)
        assembly = Assembly(self._description, text, sentences, options, prefix, keeps_details=False)
        waiting: deque[Sequence] = deque()
        passed: list[stages.Instants] = []

        async def first() -> Part:
            [result] = await results_of([waiting[0]])
            passed.append(stages.instants(waiting.popleft()))
            return self._counted(assembly.add(result), options)

        try:
            while chunk := [left.popleft() for _ in range(min(CHUNK, self._loop.max_waiting, len(left)))]:
                await self._submit_patiently(chunk)
                waiting += chunk
                while len(waiting) > CHUNK:  # the next chunk is queued before this one is done
                    yield await first()
            while waiting:
                yield await first()
        finally:
            for sequence in waiting:
                sequence.abandon()
                passed.append(stages.instants(sequence))
            stages.trace(passed)

    async def _submit_patiently(self, sequences: list[Sequence]) -> None:
        """Queue some sentences as soon as there is room; of one caller's texts the first goes first, however long it is."""
        async with self._turns.setdefault(sequences[0].whose, asyncio.Lock()):
            while True:
                try:
                    return self._loop.submit(sequences)
                except QueueFull as full:
                    await asyncio.sleep(min(full.retry_seconds, 1.0))

    def _counted(self, part: Part, options: Options) -> Part:
        if part.sentence is not None:
            self._count(part.sentence, options)
        for flag in part.flags:
            self._metrics.fidelity_flags.labels(flag.kind.value).inc()
        return part

    def _count(self, done: TranslatedSentence, options: Options) -> None:
        self._metrics.source_tokens.labels(options.pair).inc(done.num_source_tokens)
        self._metrics.target_tokens.labels(options.pair).inc(done.num_returned_tokens)

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
            OverLimit: A side has more tokens than the model takes, or more than twice as many words.
        """
        given, wanted = await _aside(partial(self._prepared, source, target), len(source) + len(target))
        words = (
            split_words(source) if source_words is None else source_words,
            split_words(target) if target_words is None else target_words,
        )
        if not given.ids or not wanted.ids:
            return unlinked(given.span, wanted.span, words)
        _limit(f"{field}.source_text", self._max_source_tokens, len(given.ids) + MARKS)
        _limit(f"{field}.target_text", self._max_target_tokens, len(wanted.ids))
        # Marks that the model does not see are words without tokens; what is between words grows with their product.
        _limit(f"{field}.source_text", 2 * self._max_source_tokens, len(words[0]), "words")
        _limit(f"{field}.target_text", 2 * self._max_target_tokens, len(words[1]), "words")
        sequence = self._sequence(given, replace(options, max_target_tokens=len(wanted.ids) + 1), wanted)
        sequence.is_forced_whole = True
        _hold([sequence], options)
        [result] = await self._run([sequence])
        done = self._description.describe(given, result, options, Decoded(target, wanted.pieces), words, at=0)
        self._count(done, options)
        return done

    def _prepared(self, *texts: str) -> list[Prepared]:
        return [self._preparation.prepare(text, Span(0, len(text))) for text in texts]

    def _prefix(
        self, prepared: list[list[Prepared]], options: Options, places: Items[int] | None = None
    ) -> Prepared | None:
        """Return the pieces that every translation must begin with, if any.

        Raises:
            InvalidRequest: A text is not one sentence, or the prefix is longer than a translation may be.
        """
        if not options.prefix:
            return None
        for index, sentences in zip(places or range(len(prepared)), prepared, strict=True):
            if len(sentences) != 1:
                raise InvalidRequest(
                    f"a target prefix needs texts of one sentence; contents[{index}] has {len(sentences)}",
                    field="decoding.target_prefix", reason="PREFIX_NEEDS_ONE_SENTENCE",
                    limit=1, actual=len(sentences),
                )  # fmt: skip
        prefix = self._preparation.prepare(options.prefix, Span(0, len(options.prefix)))
        limit = options.max_target_tokens or self._max_target_tokens
        if len(prefix.ids) > limit:
            field = "decoding.target_prefix"
            raise OverLimit(
                f"tokens in {field}", field=field, limit=limit, actual=len(prefix.ids), reason="INVALID_OPTION"
            )  # fmt: skip
        return prefix

    async def _split_all(self, texts: Items[str], options: Options) -> list[list[Prepared]]:
        """Cut texts into sentences and pieces; a call given up stops between two batches of them."""
        began = time.monotonic()
        prepared: list[list[Prepared]] = []
        for some in batches(texts):
            prepared += await _aside(partial(self._split_some, some, options), sum(map(len, some)))
        ended = time.monotonic()
        self._metrics.stage_seconds.labels("split").observe(ended - began)
        tracing.stage("split", began, ended, texts=len(texts), sentences=sum(map(len, prepared)))
        return prepared

    def _split_some(self, texts: Items[str], options: Options) -> list[list[Prepared]]:
        return [
            self._preparation.split(text, options.source, with_pieces=options.wants_pieces) for text in texts
        ]

    def _sequence(self, sentence: Prepared, options: Options, begin: Prepared | None) -> Sequence:
        source_ids = [self._tokenizer.tag_id(options.target), *sentence.ids, EOS_ID]
        forced = begin.ids if begin else []
        limit = len(forced) + 2 * len(source_ids) + 10  # generous for short ones
        return Sequence(
            source_ids,
            max_tokens=options.max_target_tokens or min(limit, self._max_target_tokens),
            shift=self._shift,
            wants_attention=options.alignment,
            search=options.search,
            forced=forced,
            priority=int(options.is_bulk),
            deadline=options.deadline,
            caller=options.caller,
        )

    async def _run(self, sequences: list[Sequence]) -> list[Result]:
        """Queue some sentences and wait until all are done."""
        self._loop.submit(sequences)
        try:
            return await results_of(sequences)
        finally:
            if tracing.is_wanted():
                stages.trace(map(stages.instants, sequences))


def _hold(sequences: Iterable[Sequence], options: Options, most: int | None = None) -> None:
    """Hold what the attention of some sentences may take, if the `most` largest are under way at once.

    It is kept for all hypotheses.

    Raises:
        MemoryFull: There is no room for it.
    """
    if options.alignment:
        numbers = sorted((len(one.source_ids) * one.max_tokens for one in sequences), reverse=True)[:most]
        options.hold(_NUMBER_BYTES * (1 + options.search.num_alternatives) * sum(numbers))


async def _aside(work: Callable[[], T], size: int) -> T:
    """Do what takes a second for a long text in another thread, so that all other calls go on."""
    return work() if size <= SHORT else await asyncio.to_thread(work)


def _limit(field: str, limit: int, actual: int, unit: str = "tokens") -> None:
    if actual > limit:
        raise OverLimit(f"{unit} in {field}", field=field, limit=limit, actual=actual, reason="TEXT_TOO_LONG")
