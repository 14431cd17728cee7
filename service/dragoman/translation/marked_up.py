"""Documents with markup: their segments translated as texts, their tags carried along, every span in the document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import islice

from dragoman.markup.document import Document, Segment
from dragoman.markup.html_reader import parse_html
from dragoman.markup.projection import Projection, project
from dragoman.markup.xml_reader import parse_xml
from dragoman.text.spans import Span
from dragoman.translation.offload import offload
from dragoman.translation.text_assembler import Part
from dragoman.translation.translator import Translator
from dragoman.types import (
    NO_ATTENTION,
    Flag,
    FlagKind,
    Markup,
    Options,
    Token,
    TranslatedSentence,
    Translation,
)

READERS = {Markup.HTML: parse_html, Markup.XML: parse_xml}


async def translate_documents(
    translator: Translator, documents: Sequence[Document], options: Options, places: Sequence[int]
) -> list[Translation]:
    """Translate the segments of some documents together, and put each document together again.

    Args:
        places: Where they stand in the request, for errors.

    Raises:
        As `Translator.translate` does.
    """
    texts = [segment.text for document in documents for segment in document.segments]
    of_texts = [place for place, document in zip(places, documents, strict=True) for _ in document.segments]
    done = iter(
        await translator.translate(texts, replace(options, alignment=True), of_texts) if texts else ()
    )
    assembled: list[Translation] = []
    for document in documents:
        of_document = list(islice(done, len(document.segments)))
        work = partial(_assembled, document, of_document, options)
        assembled.append(await offload(work, len(document.source)))
    return assembled


async def stream_document(
    translator: Translator, document: Document, options: Options
) -> AsyncGenerator[Part, None]:
    """Translate a document segment by segment; a segment's first sentence brings the text of all of it.

    Raises:
        As `Translator.stream` does.
    """
    assembly = _Assembly(options)
    for part in document.parts:
        if isinstance(part, str):
            assembly.keep(part)
            continue
        stream = translator.stream(part.text, replace(options, alignment=True))
        async with aclosing(stream) as parts:
            collected = [done async for done in parts]
        sentences, flags = await offload(partial(assembly.add, part, _joined(collected)), len(part.text))
        for sentence in sentences[:-1]:
            yield Part(sentence, assembly.take(), [], is_last=False)
        yield Part(sentences[-1] if sentences else None, assembly.take(), flags, is_last=False)
    yield Part(None, assembly.take(), [], is_last=True)


def _joined(parts: list[Part]) -> Translation:
    return Translation(
        "".join(part.text for part in parts),
        [part.sentence for part in parts if part.sentence is not None],
        [flag for part in parts for flag in part.flags],
    )


def _assembled(document: Document, translations: list[Translation], options: Options) -> Translation:
    assembly, left = _Assembly(options), iter(translations)
    sentences: list[TranslatedSentence] = []
    flags: list[Flag] = []
    for part in document.parts:
        if isinstance(part, str):
            assembly.keep(part)
        else:
            of_segment, doubts = assembly.add(part, next(left))
            sentences += of_segment
            flags += doubts
    return Translation(assembly.take(), sentences, flags)


class _Assembly:
    """Puts a document together, in order."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._length = 0
        self._parts: list[str] = []

    def keep(self, text: str) -> None:
        """Append what is not translated."""
        self._parts.append(text)
        self._length += len(text)

    def take(self) -> str:
        """Return what was appended since the last time."""
        text = "".join(self._parts)
        self._parts.clear()
        return text

    def add(self, segment: Segment, translation: Translation) -> tuple[list[TranslatedSentence], list[Flag]]:
        """Append a segment; return its sentences and flags with their spans in the documents."""
        projection = _projected(segment, translation)
        moved = _Moved(segment, translation.text, projection, self._length)
        self.keep(projection.text)
        flags = [moved.flag(flag) for flag in translation.flags]
        flags += [Flag(FlagKind.MARKUP_MISMATCH, segment.place(lost), None, 0.0) for lost in projection.lost]
        return [moved.sentence(sentence, self._options) for sentence in translation.sentences], flags


def _projected(segment: Segment, translation: Translation) -> Projection:
    """Return a translation with the tags of its segment."""
    source: list[Span] = []
    target: list[Span] = []
    links: list[tuple[int, int]] = []
    for sentence in translation.sentences:
        if sentence.words is None:
            continue
        links += [
            (len(source) + link.source_word, len(target) + link.target_word) for link in sentence.words.links
        ]
        source += sentence.words.source
        target += sentence.words.target
    return project(segment.tags, segment.text, translation.text, source, target, links, segment.escape)


class _Moved:
    """Moves spans of a segment and its translation into the documents."""

    def __init__(self, segment: Segment, text: str, projection: Projection, at: int) -> None:
        self._segment, self._text, self._places, self._at = segment, text, projection.places, at

    def target(self, span: Span) -> Span:
        """Return a span of the translation in the reply's document."""
        start = self._places[span.start]
        if span.start == span.end:
            return Span(self._at + start, self._at + start)
        last = span.end - 1
        return Span(
            self._at + start, self._at + self._places[last] + len(self._segment.escape(self._text[last]))
        )

    def flag(self, flag: Flag) -> Flag:
        """Return a flag with its spans in the documents."""
        return replace(
            flag,
            source_span=flag.source_span and self._segment.place(flag.source_span),
            target_span=flag.target_span and self.target(flag.target_span),
        )

    def sentence(self, sentence: TranslatedSentence, options: Options) -> TranslatedSentence:
        """Return a sentence with its spans in the documents, with the details that were asked for."""
        words = sentence.words
        return replace(
            sentence,
            source_span=self._segment.place(sentence.source_span),
            target_span=self.target(sentence.target_span),
            words=replace(
                words,
                source=[self._segment.place(span) for span in words.source],
                target=[self.target(span) for span in words.target],
            )
            if words and options.alignment
            else None,
            source_tokens=self._tokens(sentence.source_tokens, self._segment.place, options),
            target_tokens=self._tokens(sentence.target_tokens, self.target, options),
            attention=sentence.attention if options.alignment else NO_ATTENTION,
        )

    @staticmethod
    def _tokens(tokens: list[Token], place: Callable[[Span], Span], options: Options) -> list[Token]:
        if not options.wants_token_spans:
            return []
        return [replace(token, span=place(token.span)) for token in tokens]
