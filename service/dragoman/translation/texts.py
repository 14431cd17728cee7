"""Texts as callers send them: of any served language, plain or with markup; each goes the way that suits it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from dragoman.errors import InvalidRequest
from dragoman.markup.document import Document
from dragoman.text.detection import DetectedLanguage, LanguageDetector
from dragoman.text.spans import Span
from dragoman.translation.marked_up import READERS, stream_document, translate_documents
from dragoman.translation.offload import offload
from dragoman.translation.text_assembler import Part
from dragoman.translation.translator import Translator
from dragoman.types import Flag, FlagKind, Markup, Options, Translation

_RAISED_HERE = {FlagKind.SOURCE_IS_TARGET_LANGUAGE, FlagKind.WRONG_SOURCE_LANGUAGE, FlagKind.MARKUP_MISMATCH}
_MIN_WORDS = 5  # of fewer, a given language is believed
_SURE = 0.9  # that a text is in another language than was said


async def detect_all(
    detector: LanguageDetector, texts: Sequence[str], markup: Markup
) -> list[list[DetectedLanguage]]:
    """Return the likeliest languages of each text, tags left out; what is not well formed is looked at as text."""

    def detect(text: str) -> list[DetectedLanguage]:
        parsed = text if markup is Markup.NONE else _parse(text, markup)
        return detector.candidates(_words_of(parsed) if isinstance(parsed, Document) else text)

    return await offload(lambda: [detect(text) for text in texts], sum(map(len, texts)))


@dataclass(frozen=True)
class Source:
    """The source language of a text.

    Attributes:
        confidence: None if it was given.
        flags: Doubts about it.
    """

    language: str
    confidence: float | None
    flags: list[Flag]


class TextTranslator:
    """Translates texts of any language that its model serves."""

    def __init__(
        self, translator: Translator, detector: LanguageDetector, pairs: Sequence[Sequence[str]]
    ) -> None:
        self._translator = translator
        self._detector = detector
        self._pairs = pairs

    async def translate(
        self, texts: Sequence[str], options: Options, places: Sequence[int]
    ) -> list[Translation | InvalidRequest]:
        """Translate some texts together, in their order; an error is that of one text alone.

        Args:
            places: Where they stand in the request, for errors.

        Raises:
            As `Translator.translate` does.
        """
        parsed = await offload(partial(self._parse_all, texts, options), sum(map(len, texts)))
        outcomes: dict[int, Translation | InvalidRequest] = {}
        sources: dict[int, Source] = {}
        groups: dict[str, list[int]] = defaultdict(list)
        for index, document in enumerate(parsed):
            if isinstance(document, InvalidRequest):
                outcomes[index] = document
                continue
            source = sources[index] = self._source(document, options)
            if source.language in ("", options.target):
                outcomes[index] = _attributed(Translation(texts[index], []), source)
            else:
                groups[source.language].append(index)
        translated = await self._translate_groups(groups, parsed, options, places)
        for indices, translations in zip(groups.values(), translated, strict=True):
            for index, translation in zip(indices, translations, strict=True):
                outcomes[index] = _attributed(translation, sources[index])
        for outcome in outcomes.values():
            if isinstance(outcome, Translation):
                self._count(outcome.flags)
        return [outcomes[index] for index in range(len(texts))]

    async def stream(self, text: str, options: Options) -> tuple[Source, AsyncGenerator[Part, None]]:
        """Return the language of a text, and its translation sentence by sentence.

        Raises:
            InvalidRequest: Its markup is not well formed.
        """
        [document] = await offload(partial(self._parse_all, [text], options), len(text))
        if isinstance(document, InvalidRequest):
            raise document
        source = self._source(document, options)
        known = replace(options, source=source.language)
        if source.language in ("", options.target):
            return source, self._flagged(_unchanged(text), source.flags)
        if isinstance(document, Document):
            return source, self._flagged(stream_document(self._translator, document, known), source.flags)
        return source, self._flagged(self._translator.stream(text, known), source.flags)

    async def _flagged(
        self, parts: AsyncGenerator[Part, None], flags: list[Flag]
    ) -> AsyncGenerator[Part, None]:
        """Yield parts, the first with the flags of the whole text."""
        async with aclosing(parts):
            async for part in parts:
                flagged = replace(part, flags=[*flags, *part.flags]) if flags else part
                self._count(flagged.flags)
                flags = []
                yield flagged

    def _count(self, flags: Iterable[Flag]) -> None:
        """Count the flags that are raised here; the translator has counted the others."""
        self._translator.count_flags(flag for flag in flags if flag.kind in _RAISED_HERE)

    async def _translate_groups(
        self,
        groups: dict[str, list[int]],
        parsed: Sequence[str | Document | InvalidRequest],
        options: Options,
        places: Sequence[int],
    ) -> list[list[Translation]]:
        """Translate the texts of each language; if those of one cannot be queued, none need go on."""
        try:
            async with asyncio.TaskGroup() as running:
                tasks = [
                    running.create_task(
                        self._translate_group(
                            [parsed[index] for index in indices],
                            replace(options, source=language),
                            [places[index] for index in indices],
                        )
                    )
                    for language, indices in groups.items()
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _translate_group(
        self, group: Sequence[str | Document | InvalidRequest], options: Options, places: Sequence[int]
    ) -> list[Translation]:
        documents = [document for document in group if isinstance(document, Document)]
        if documents:
            return await translate_documents(self._translator, documents, options, places)
        texts = [text for text in group if isinstance(text, str)]
        return await self._translator.translate(texts, options, places)

    @staticmethod
    def _parse_all(texts: Sequence[str], options: Options) -> list[str | Document | InvalidRequest]:
        if options.markup is Markup.NONE:
            return list(texts)
        return [_parse(text, options.markup) for text in texts]

    def _source(self, document: str | Document, options: Options) -> Source:
        """Return the language of a text: as given, or as it looks."""
        text = document if isinstance(document, str) else _words_of(document)
        whole = Span(0, len(document if isinstance(document, str) else document.source))
        if options.source:
            doubted = self._doubted(text, options.source)
            flags = [Flag(FlagKind.WRONG_SOURCE_LANGUAGE, whole, None, doubted)] if doubted else []
            return Source(options.source, None, flags)
        served = {source for source, target in self._pairs if target == options.target} | {options.target}
        chosen = self._detector.choose(text, served)
        if chosen is not None and chosen.code == options.target:
            flag = Flag(FlagKind.SOURCE_IS_TARGET_LANGUAGE, whole, whole, chosen.confidence)
            return Source(chosen.code, chosen.confidence, [flag])
        if chosen is not None:
            return Source(chosen.code, chosen.confidence, [])
        return self._likeliest(text, whole, served - {options.target})

    def _likeliest(self, text: str, whole: Span, served: set[str]) -> Source:
        """Return the likeliest of the languages for a text that is probably in none of them."""
        found = [language for language in self._detector.all(text) if language.code in served]
        if not found:
            return Source("", None, [])  # there is nothing to read in it
        best = max(found, key=_confidence)
        flag = Flag(FlagKind.WRONG_SOURCE_LANGUAGE, whole, None, 1 - best.confidence)
        return Source(best.code, best.confidence, [flag])

    def _doubted(self, text: str, given: str) -> float:
        """Return how sure it is that a text is in another language than given; 0 where it is not."""
        if len(text.split(maxsplit=_MIN_WORDS)) < _MIN_WORDS:
            return 0.0
        found = self._detector.candidates(text)
        best = max(found, key=_confidence, default=None)
        return best.confidence if best and best.code != given and best.confidence >= _SURE else 0.0


def _attributed(translation: Translation, source: Source) -> Translation:
    """Return a translation with its source language, and the doubts about that first."""
    return replace(
        translation,
        source=source.language,
        confidence=source.confidence,
        flags=[*source.flags, *translation.flags],
    )


def _words_of(document: Document) -> str:
    return "\n".join(segment.text for segment in document.segments)


def _confidence(language: DetectedLanguage) -> float:
    return language.confidence


def _parse(text: str, markup: Markup) -> Document | InvalidRequest:
    try:
        return READERS[markup](text)
    except InvalidRequest as error:
        return error


async def _unchanged(text: str) -> AsyncGenerator[Part, None]:
    yield Part(None, text, [], is_last=True)
