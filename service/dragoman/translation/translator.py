"""Text in, text out: the whole path of a sentence.

    split -> normalise -> pieces -> (loop: encode, decode) -> text -> words and links -> put back

White space between sentences is never touched; every offset points into the texts that the caller gave
and gets. Knows nothing of gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar
from weakref import WeakValueDictionary

from dragoman.batching import stages
from dragoman.batching.decode_pool import DecodePool
from dragoman.batching.decode_request import DecodeRequest, DecodeResult
from dragoman.batching.results import results_of
from dragoman.bundle import Bundle
from dragoman.errors import InvalidRequest, OverLimit, QueueFull
from dragoman.observability import tracing
from dragoman.observability.metrics import Metrics
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, PreparedSentence, Preprocessor, batches
from dragoman.text.spans import Span
from dragoman.text.token_estimate import TokenCountEstimator
from dragoman.text.tokenizer import EOS_ID, Decoded, Tokenizer
from dragoman.text.words import split_words
from dragoman.translation.postprocessing import Part, Postprocessor, TextAssembler, unlinked
from dragoman.types import Options, TranslatedSentence, Translation

T = TypeVar("T")
_NUMBER_BYTES = 4  # of attention, in float32
SHORT = 1000  # code points that are cut so fast that another thread is not worth its cost
CHUNK = 32  # sentences of a streamed text that are queued together


class Translator:
    """Translates and aligns texts by means of one running loop."""

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer,
        pool: DecodePool,
        metrics: Metrics,
        *,
        max_sentence_tokens: int,
    ) -> None:
        self._tokenizer, self._pool, self._metrics = tokenizer, pool, metrics
        self._shift = bundle.manifest.alignment.shift
        self._max_source_tokens = max_sentence_tokens
        self._preprocessor = Preprocessor(tokenizer, max_sentence_tokens)
        self._postprocessor = Postprocessor(tokenizer, bundle.manifest.alignment)
        self._max_target_tokens = bundle.manifest.max_target_tokens
        self._estimate = TokenCountEstimator()
        # Of streamed texts that wait for room; gone with the last that waits.
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def translate(
        self, texts: Sequence[str], options: Options, places: Sequence[int] | None = None
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
        tokens = sum(len(sentence.tokens) for sentences in prepared for sentence in sentences)
        self._estimate.learn(texts, tokens)
        prefix = self._prefix(prepared, options, places)
        requests = [self._decode_request(one, options, prefix) for sentences in prepared for one in sentences]
        _hold(requests, options)
        results = iter(await self._run(requests))
        translations: list[Translation] = []
        for text, sentences in zip(texts, prepared, strict=True):
            if translations:
                await asyncio.sleep(0)  # others go on: a large call takes a second
            assembler = TextAssembler(self._postprocessor, text, sentences, options, prefix)
            translations.append(await self._assemble(assembler, islice(results, len(sentences)), options))
        return translations

    async def _assemble(
        self, assembler: TextAssembler, results: Iterable[DecodeResult], options: Options
    ) -> Translation:
        """Put the translations of all sentences of a text together, and count what it has."""
        parts = await _aside(lambda: [assembler.add(result) for result in results], len(assembler.text))
        for part in parts:
            self._counted(part, options)
        self._metrics.characters.labels(options.pair).inc(len(assembler.text))
        flags = [flag for part in parts for flag in part.flags]
        whole = "".join(part.text for part in parts) if parts else assembler.text
        return Translation(whole, assembler.done, flags)

    def check(self, texts: Sequence[str], options: Options) -> None:
        """Refuse at once, by a count of words, what would hardly be done in time.

        Raises:
            DeadlineTooShort, DeadlinePassed, OverLimit, QueueFull: As `DecodePool.check` does.
        """
        tokens = self._estimate.sentences(texts)
        if not tokens:
            return
        most = self._max_source_tokens - NUM_SPECIAL_TOKENS  # longer ones are cut
        longest = PreparedSentence(Span(0, 0), "", [EOS_ID] * min(max(tokens), most), [])
        least = sum(not text.isspace() for text in texts if text)
        about = sum(-(-count // most) for count in tokens)
        work = (sum(tokens) + NUM_SPECIAL_TOKENS * about) * (1 + options.search.beam_size)
        self._pool.check(self._decode_request(longest, options, None), least, about, work)

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
        left = deque(
            self._decode_request(sentence, options, prefix) for sentence in sentences
        )  # not yet queued
        _hold(left, options, 2 * CHUNK)
        assembler = TextAssembler(self._postprocessor, text, sentences, options, prefix, keeps_details=False)
        waiting: deque[DecodeRequest] = deque()
        passed: list[stages.StageTimes] = []

        async def first() -> Part:
            [result] = await results_of([waiting[0]])
            passed.append(stages.stage_times(waiting.popleft()))
            part = await _aside(partial(assembler.add, result), assembler.size_of_next)
            return self._counted(part, options)

        try:
            while chunk := [left.popleft() for _ in range(min(CHUNK, self._pool.max_waiting, len(left)))]:
                await self._submit_patiently(chunk)
                waiting += chunk
                while len(waiting) > CHUNK:  # the next chunk is queued before this one is done
                    yield await first()
            while waiting:
                yield await first()
        finally:
            for request in waiting:
                request.abandon()
                passed.append(stages.stage_times(request))
            stages.trace(passed)

    async def _submit_patiently(self, requests: list[DecodeRequest]) -> None:
        """Queue some sentences as soon as there is room; of one caller's texts the first goes first, however long it is."""
        async with self._turns.setdefault(requests[0].lane, asyncio.Lock()):
            while True:
                try:
                    return self._pool.submit(requests)
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
        """Align and score a given pair by forcing the target through the decoder, and the source if both directions count.

        Args:
            source_words: The caller's own words; ours if not given. Likewise `target_words`.
            field: Path of the pair in the request, for errors.

        Raises:
            OverLimit: A side has more tokens than the model takes, or more than twice as many words.
        """
        read = partial(self._read_pair, (source, target), (source_words, target_words))
        (given, wanted), words = await _aside(read, len(source) + len(target))
        if not given.tokens or not wanted.tokens:
            return unlinked(given.span, wanted.span, words)
        _limit(f"{field}.source_text", self._max_source_tokens, len(given.tokens) + NUM_SPECIAL_TOKENS)
        _limit(f"{field}.target_text", self._max_target_tokens, len(wanted.tokens))
        # Marks that the model does not see are words without tokens; what is between words grows with their product.
        _limit(f"{field}.source_text", 2 * self._max_source_tokens, len(words[0]), "words")
        _limit(f"{field}.target_text", 2 * self._max_target_tokens, len(words[1]), "words")
        requests = [self._forced(given, wanted, options)]
        if options.both_directions and self._fits(wanted, given):
            requests.append(self._forced(wanted, given, options.reversed))
        _hold(requests, options)
        result, *reverse = await self._run(requests)
        done = self._postprocessor.describe(
            given, result, options, Decoded(target, wanted.token_spans), words, at=0
        )
        if reverse:
            done = self._postprocessor.with_reverse(
                done, wanted, reverse[0], Decoded(source, given.token_spans)
            )
        self._count(done, options)
        return done

    def _read_pair(
        self, texts: tuple[str, str], given: tuple[list[Span] | None, list[Span] | None]
    ) -> tuple[list[PreparedSentence], tuple[list[Span], list[Span]]]:
        """Return both sides with their words: the caller's, or ours where the caller gave none."""
        prepared = [self._preprocessor.prepare(text, Span(0, len(text))) for text in texts]
        source, target = (
            split_words(text) if words is None else words for text, words in zip(texts, given, strict=True)
        )
        return prepared, (source, target)

    def _prefix(
        self, prepared: list[list[PreparedSentence]], options: Options, places: Sequence[int] | None = None
    ) -> PreparedSentence | None:
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
        prefix = self._preprocessor.prepare(options.prefix, Span(0, len(options.prefix)))
        limit = options.max_target_tokens or self._max_target_tokens
        if len(prefix.tokens) > limit:
            field = "decoding.target_prefix"
            raise OverLimit(
                f"tokens in {field}", field=field, limit=limit, actual=len(prefix.tokens), reason="INVALID_OPTION"
            )  # fmt: skip
        return prefix

    async def _split_all(self, texts: Sequence[str], options: Options) -> list[list[PreparedSentence]]:
        """Cut texts into sentences and pieces; a call given up stops between two batches of them."""
        began = time.monotonic()
        prepared: list[list[PreparedSentence]] = []
        for some in batches(texts):
            prepared += await _aside(partial(self._split_some, some, options), sum(map(len, some)))
        ended = time.monotonic()
        self._metrics.stage_seconds.labels("split").observe(ended - began)
        tracing.stage("split", began, ended, texts=len(texts), sentences=sum(map(len, prepared)))
        return prepared

    def _split_some(self, texts: Sequence[str], options: Options) -> list[list[PreparedSentence]]:
        return [
            self._preprocessor.split(text, options.source, with_spans=options.wants_token_spans)
            for text in texts
        ]

    def _forced(self, given: PreparedSentence, wanted: PreparedSentence, options: Options) -> DecodeRequest:
        """Return a request that writes nothing but a given target."""
        limited = replace(options, max_target_tokens=len(wanted.tokens) + 1)
        request = self._decode_request(given, limited, wanted)
        request.is_target_forced = True
        return request

    def _fits(self, given: PreparedSentence, wanted: PreparedSentence) -> bool:
        """Tell whether a pair is within the limits of tokens in this direction."""
        return (
            len(given.tokens) + NUM_SPECIAL_TOKENS <= self._max_source_tokens
            and len(wanted.tokens) <= self._max_target_tokens
        )

    def _decode_request(
        self, sentence: PreparedSentence, options: Options, begin: PreparedSentence | None
    ) -> DecodeRequest:
        source_tokens = [self._tokenizer.tag_id(options.target), *sentence.tokens, EOS_ID]
        target_prefix = begin.tokens if begin else []
        limit = len(target_prefix) + 2 * len(source_tokens) + 10  # generous for short ones
        return DecodeRequest(
            source_tokens,
            max_tokens=options.max_target_tokens or min(limit, self._max_target_tokens),
            shift=self._shift,
            wants_attention=options.alignment,
            search=options.search,
            target_prefix=target_prefix,
            priority=int(options.is_bulk),
            deadline=options.deadline,
            caller=options.caller,
        )

    async def _run(self, requests: list[DecodeRequest]) -> list[DecodeResult]:
        """Queue some sentences and wait until all are done."""
        self._pool.submit(requests)
        try:
            return await results_of(requests)
        finally:
            if tracing.is_wanted():
                stages.trace(map(stages.stage_times, requests))


def _hold(requests: Iterable[DecodeRequest], options: Options, most: int | None = None) -> None:
    """Hold what the attention of some sentences may take, if the `most` largest are under way at once.

    It is kept for all hypotheses.

    Raises:
        MemoryFull: There is no room for it.
    """
    if options.alignment:
        numbers = sorted((len(one.source_tokens) * one.max_tokens for one in requests), reverse=True)[:most]
        options.hold(_NUMBER_BYTES * (1 + options.search.num_alternatives) * sum(numbers))


async def _aside(work: Callable[[], T], size: int) -> T:
    """Do what takes a second for a long text in another thread, so that all other calls go on."""
    return work() if size <= SHORT else await asyncio.to_thread(work)


def _limit(field: str, limit: int, actual: int, unit: str = "tokens") -> None:
    if actual > limit:
        raise OverLimit(f"{unit} in {field}", field=field, limit=limit, actual=actual, reason="TEXT_TOO_LONG")
