"""The translator: the path of a text from splitting to the finished translation.

    split -> normalise -> tokenize -> (pool: encode, decode) -> detokenize -> words, links, flags -> reassemble

White space between sentences is never touched. Every offset points into the text that the caller sent or receives.
Nothing here knows gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice

from dragoman.batching import stages
from dragoman.batching.decode_pool import DecodePool
from dragoman.batching.decode_request import DecodeRequest, DecodeResult
from dragoman.batching.results import results_of
from dragoman.bundle import Bundle
from dragoman.observability import tracing
from dragoman.observability.metrics import Metrics
from dragoman.text.preprocessing import PreparedSentence, Preprocessor, batches
from dragoman.text.spans import Span
from dragoman.text.tokenizer import Decoded, Tokenizer
from dragoman.translation import given_pair, target_prefix
from dragoman.translation.admission import EarlyAdmission
from dragoman.translation.decode_requests import DecodeRequests, hold_attention
from dragoman.translation.offload import offload
from dragoman.translation.postprocessing import Postprocessor
from dragoman.translation.streamed_decoding import MAX_AT_ONCE, StreamedDecoding
from dragoman.translation.text_assembler import Part, TextAssembler
from dragoman.translation.usage import Usage
from dragoman.types import Flag, Options, TranslatedSentence, Translation


class Translator:
    """Translates and aligns texts with the decode pool of one model."""

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer,
        pool: DecodePool,
        metrics: Metrics,
        *,
        max_sentence_tokens: int,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._limits = given_pair.Limits(max_sentence_tokens, bundle.manifest.max_target_tokens)
        self._preprocessor = Preprocessor(tokenizer, max_sentence_tokens)
        self._requests = DecodeRequests(bundle, tokenizer)
        self._admission = EarlyAdmission(pool, self._requests, max_sentence_tokens)
        self._streamed = StreamedDecoding(pool)
        self._postprocessor = Postprocessor(tokenizer, bundle.manifest.alignment)
        self._usage = Usage(metrics)

    def count_flags(self, flags: Iterable[Flag]) -> None:
        """Count quality flags that are raised outside: of whole texts, of markup."""
        self._usage.count_flags(flags)

    def check(self, texts: Sequence[str], options: Options) -> None:
        """Refuse texts at once that would hardly be done in time; raises as `EarlyAdmission.check` does."""
        self._admission.check(texts, options)

    async def translate(
        self, texts: Sequence[str], options: Options, places: Sequence[int] | None = None
    ) -> list[Translation]:
        """Translate some texts together, in their order.

        Args:
            places: Where they stand in the request, for errors; by default one after the other.

        Raises:
            InvalidRequest: There is a target prefix, and a text is not one sentence.
            OverLimit: They have more sentences than the queue ever holds.
            QueueFull, MemoryFull: There is no room for them now.
        """
        self.check(texts, options)
        prepared = await self._split(texts, options)
        self._admission.learn(texts, sum(len(one.tokens) for sentences in prepared for one in sentences))
        prefix = self._prefix(prepared, options, places)
        requests = [self._requests.make(one, options, prefix) for sentences in prepared for one in sentences]
        hold_attention(requests, options)
        results = iter(await self._decode(requests))
        translations: list[Translation] = []
        for text, sentences in zip(texts, prepared, strict=True):
            if translations:
                await asyncio.sleep(0)  # other calls go on: assembling a large one takes a second
            assembler = TextAssembler(self._postprocessor, text, sentences, options, prefix)
            own_results = islice(results, len(sentences))
            translations.append(await self._assemble(assembler, own_results, options))
        return translations

    async def stream(self, text: str, options: Options) -> AsyncGenerator[Part, None]:
        """Translate one text of any length, and yield its sentences in order, each once it is done.

        A full queue is waited for; it is no error.

        Raises:
            InvalidRequest: There is a target prefix, and the text is not one sentence.
            DeadlineTooShort, DeadlinePassed: The rest would not be done, or was not done, in time.
        """
        [sentences] = await self._split([text], options)
        prefix = self._prefix([sentences], options)
        self._usage.count_text(text, options)
        if not sentences:
            yield Part(None, text, [], is_last=True)
            return
        requests = [self._requests.make(sentence, options, prefix) for sentence in sentences]
        hold_attention(requests, options, MAX_AT_ONCE)
        assembler = TextAssembler(self._postprocessor, text, sentences, options, prefix, keeps_details=False)
        results = self._streamed.results(requests)
        del requests  # the stream lets each go once it is done
        async with aclosing(results):
            async for result in results:
                part = await offload(partial(assembler.add, result), assembler.size_of_next)
                self._count(part, options)
                yield part

    async def align(
        self, source: str, target: str, options: Options,
        source_words: list[Span] | None = None, target_words: list[Span] | None = None,
        *, field: str = "pair",
    ) -> TranslatedSentence:  # fmt: skip
        """Align and score a given pair by forcing the target through the decoder.

        If both directions count and the target can be a source, the source is forced through as well.

        Args:
            source_words: The words to align, if they are not those that `split_words` finds. Likewise `target_words`.
            field: Path of the pair in the request, for errors.

        Raises:
            OverLimit: A side has more tokens than the model takes, or more than twice as many words.
        """
        read = partial(given_pair.read, self._preprocessor, (source, target), (source_words, target_words))
        pair = await offload(read, len(source) + len(target))
        if pair.is_blank:
            return pair.unlinked()
        pair.check(self._limits, field)
        requests = [self._requests.make_forced(pair.source, pair.target, options)]
        if options.both_directions and pair.fits_reversed(self._limits):
            requests.append(self._requests.make_forced(pair.target, pair.source, options.reversed))
        hold_attention(requests, options)
        result, *reverse = await self._decode(requests)
        decoded = Decoded(target, pair.target.token_spans)
        sentence = self._postprocessor.describe(pair.source, result, options, decoded, pair.words, at=0)
        if reverse:
            decoded = Decoded(source, pair.source.token_spans)
            sentence = self._postprocessor.with_reverse(sentence, pair.target, reverse[0], decoded)
        self._usage.count_sentence(sentence, options)
        return sentence

    async def _split(self, texts: Sequence[str], options: Options) -> list[list[PreparedSentence]]:
        """Split texts into sentences and tokens; an abandoned call stops between two batches of texts."""
        began = time.monotonic()
        prepared: list[list[PreparedSentence]] = []
        for batch in batches(texts):
            split = partial(
                self._preprocessor.split_all,
                batch,
                options.source,
                with_spans=options.wants_token_spans,
                protect=options.protect and not options.prefix,
            )
            prepared += await offload(split, sum(map(len, batch)))
        ended = time.monotonic()
        self._metrics.stage_seconds.labels("split").observe(ended - began)
        tracing.stage("split", began, ended, texts=len(texts), sentences=sum(map(len, prepared)))
        return prepared

    def _prefix(
        self,
        prepared: list[list[PreparedSentence]],
        options: Options,
        places: Sequence[int] | None = None,
    ) -> PreparedSentence | None:
        return target_prefix.prepare(
            self._preprocessor, options, prepared, places, self._limits.max_target_tokens
        )

    async def _decode(self, requests: list[DecodeRequest]) -> list[DecodeResult]:
        """Submit sentences and wait for all their results."""
        self._pool.submit(requests)
        try:
            return await results_of(requests)
        finally:
            if tracing.is_wanted():
                stages.trace(map(stages.stage_times, requests))

    async def _assemble(
        self, assembler: TextAssembler, results: Iterable[DecodeResult], options: Options
    ) -> Translation:
        """Put the translated sentences of one text in their places, and count them."""
        parts = await offload(lambda: [assembler.add(result) for result in results], len(assembler.text))
        for part in parts:
            self._count(part, options)
        self._usage.count_text(assembler.text, options)
        flags = [flag for part in parts for flag in part.flags]
        text = "".join(part.text for part in parts) if parts else assembler.text
        return Translation(text, assembler.done, flags)

    def _count(self, part: Part, options: Options) -> None:
        if part.sentence is not None:
            self._usage.count_sentence(part.sentence, options)
        self._usage.count_flags(part.flags)
