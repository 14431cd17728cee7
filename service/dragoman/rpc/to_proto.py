"""Plain types to protobuf: every field of a reply, with offsets in the unit that the caller asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from itertools import accumulate, islice
from typing import cast

from dragoman import __version__
from dragoman.alignment.links import AlignedWords
from dragoman.errors import DragomanError
from dragoman.registry.model_registry import LoadedModel, ModelRegistry
from dragoman.rpc.handlers import Call
from dragoman.rpc.requests import Detect, Output
from dragoman.rpc.status import number_of
from dragoman.text.detection import DetectedLanguage
from dragoman.text.spans import Span
from dragoman.translation.text_assembler import Part
from dragoman.types import (
    Alternative,
    Finish,
    Flag,
    FlagKind,
    Token,
    TranslatedSentence,
    Translation,
)
from dragoman.v1 import translation_pb2 as pb

FINISH = {
    Finish.STOP: pb.FINISH_REASON_STOP,
    Finish.LENGTH: pb.FINISH_REASON_LENGTH,
    Finish.REPETITION: pb.FINISH_REASON_REPETITION,
    Finish.FORCED: pb.FINISH_REASON_UNSPECIFIED,
}
FLAGS: dict[FlagKind, pb.FlagKind] = {
    kind: cast("pb.FlagKind", pb.FlagKind.Value(f"FLAG_KIND_{kind.name}"))
    for kind in FlagKind
    if kind is not FlagKind.OTHER
}
Offsets = Callable[[Span], pb.Span]


class GrowingOffsets:
    """Converts spans of a text that is still being appended to."""

    def __init__(self, unit: int, text: str = "") -> None:
        """Begin with a text.

        Args:
            unit: The `pb.OffsetUnit` of the caller.
        """
        self._unit = unit
        self._places = [0]  # of each code point, in the caller's unit
        self.add(text)

    def add(self, text: str) -> None:
        """Append to the text."""
        if self._unit == pb.OFFSET_UNIT_UNSPECIFIED:
            return
        if self._unit == pb.OFFSET_UNIT_UTF8_BYTE:
            sizes = (len(character.encode()) for character in text)
        else:
            sizes = (1 + (ord(character) > 0xFFFF) for character in text)
        self._places += islice(accumulate(sizes, initial=self._places[-1]), 1, None)

    def __call__(self, span: Span) -> pb.Span:
        """Return a span of the text so far."""
        if self._unit == pb.OFFSET_UNIT_UNSPECIFIED:
            return pb.Span(start=span.start, end=span.end)
        return pb.Span(start=self._places[span.start], end=self._places[span.end])


def offsets(text: str, unit: int) -> Offsets:
    """Return the function that converts spans of a text to the caller's unit."""
    return GrowingOffsets(unit, text)


def pack_translation(source: str, translation: Translation, model: str, output: Output) -> pb.Translation:
    """Return the message of one text."""
    to_source = offsets(source, output.offset_unit)
    to_target = offsets(translation.text, output.offset_unit)
    return pb.Translation(
        translated_text=translation.text,
        source_language_code=translation.source,
        source_language_confidence=translation.confidence,
        model=model,
        sentences=[
            pack_sentence(sentence, output, to_source, to_target) for sentence in translation.sentences
        ],
        flags=pack_flags(translation.flags, to_source, to_target),
    )


def pack_detections(
    valid: Detect, found: Sequence[Sequence[DetectedLanguage]], call: Call
) -> pb.DetectLanguageResponse:
    """Return the reply to a call of DetectLanguage, bad texts with their errors."""
    reply = pb.DetectLanguageResponse(metadata=pb.ResponseMetadata(request_id=call.request_id))
    remaining = iter(found)
    for place in range(len(valid.texts)):
        if place in valid.errors:
            reply.detections.add(error=pack_error(valid.errors[place]))
            continue
        languages = reply.detections.add().languages
        for language in next(remaining):
            languages.add(language_code=language.code, confidence=language.confidence)
    return reply


def pack_part(
    part: Part, output: Output, to_source: Offsets, to_target: Offsets
) -> pb.StreamTranslateResponse:
    """Return the message of one sentence of a stream."""
    reply = pb.StreamTranslateResponse(translated_text=part.text, last=part.is_last)
    if part.sentence is not None:
        reply.sentence.CopyFrom(pack_sentence(part.sentence, output, to_source, to_target))
    reply.flags.extend(pack_flags(part.flags, to_source, to_target))
    return reply


def pack_sentence(
    sentence: TranslatedSentence, output: Output, to_source: Offsets, to_target: Offsets
) -> pb.Sentence:
    """Return the message of one sentence, with the details that were asked for."""
    message = pb.Sentence(
        source_span=to_source(sentence.source_span),
        target_span=to_target(sentence.target_span),
        score=sentence.score,
        finish_reason=FINISH[sentence.finish],
    )
    if sentence.words is not None:
        message.source_words.extend(pb.Word(span=to_source(span)) for span in sentence.words.source)
        message.target_words.extend(pb.Word(span=to_target(span)) for span in sentence.words.target)
        message.links.extend(_pack_links(sentence.words))
    message.alternatives.extend(
        _pack_alternative(other, offsets(other.text, output.offset_unit)) for other in sentence.alternatives
    )
    if output.tokens or output.is_soft:
        message.source_tokens.extend(_pack_tokens(sentence.source_tokens, to_source))
        message.target_tokens.extend(_pack_tokens(sentence.target_tokens, to_target))
    if output.is_soft:
        message.attention.rows, message.attention.columns = sentence.attention.shape
        message.attention.weights.extend(sentence.attention.ravel().tolist())
    return message


def _pack_tokens(tokens: Iterable[Token], offsets: Offsets) -> Iterable[pb.Token]:
    for token in tokens:
        yield pb.Token(piece=token.piece, span=offsets(token.span), log_probability=token.log_probability)


def _pack_alternative(other: Alternative, to_target: Offsets) -> pb.Alternative:
    message = pb.Alternative(text=other.text, score=other.score)
    if other.words is not None:
        message.words.extend(pb.Word(span=to_target(span)) for span in other.words.target)
        message.links.extend(_pack_links(other.words))
    return message


def _pack_links(words: AlignedWords) -> list[pb.AlignmentLink]:
    return [pb.AlignmentLink(source_word=s, target_word=t, weight=weight) for s, t, weight in words.links]


def pack_flags(flags: Iterable[Flag], to_source: Offsets, to_target: Offsets) -> list[pb.Flag]:
    """Return the messages of quality flags."""
    return [
        pb.Flag(
            kind=FLAGS[flag.kind],
            source_span=None if flag.source_span is None else to_source(flag.source_span),
            target_span=None if flag.target_span is None else to_target(flag.target_span),
            value=flag.value,
        )
        for flag in flags
    ]


def pack_error(error: DragomanError) -> pb.TextError:
    """Return the message of a text that failed alone."""
    return pb.TextError(
        code=number_of(error), message=error.message, reason=error.reason, metadata=error.metadata
    )


def pack_cost(sentences: Sequence[TranslatedSentence], model: str, call: Call) -> pb.ResponseMetadata:
    """Return what some sentences cost, and note it in the facts of the call."""
    times = [sentence.times for sentence in sentences]
    cost = pb.ResponseMetadata(
        queue_seconds=max((time.queue for time in times), default=0.0),
        encode_seconds=max((time.encode for time in times), default=0.0),
        decode_seconds=max((time.decode for time in times), default=0.0),
        source_tokens=sum(sentence.num_source_tokens for sentence in sentences),
        target_tokens=sum(sentence.num_returned_tokens for sentence in sentences),
        model_version=model,
        request_id=call.request_id,
    )
    call.add(sentences=len(sentences), source_tokens=cost.source_tokens, target_tokens=cost.target_tokens)
    return cost


def pack_models(registry: ModelRegistry) -> pb.ListModelsResponse:
    """Return which models serve, their limits, and what they run on."""
    models = [_pack_model(model, registry) for model in registry.models]
    runtime = pb.Runtime(
        server_version=__version__,
        engine_version=f"onnxruntime {_installed('onnxruntime')}",
        kernel_set=registry.kernel_set,
        num_threads=registry.num_workers * registry.threads,
        cpu_limit_cores=registry.cores,
    )
    return pb.ListModelsResponse(models=models, limits=_limits(registry), runtime=runtime)


def _pack_model(model: LoadedModel, registry: ModelRegistry) -> pb.Model:
    manifest = model.bundle.manifest
    packed = pb.Model(
        name=manifest.name,
        version=manifest.version,
        is_default=model is registry.default,
        checksum=model.bundle.checksum,
        language_pairs=[
            pb.LanguagePair(source_language_code=source, target_language_code=target)
            for source, target in manifest.pairs
        ],
        max_source_tokens=registry.settings.max_sentence_tokens,
        max_target_tokens=manifest.max_target_tokens,
        vocabulary_size=manifest.shape["vocabulary"],
        num_parameters=manifest.num_parameters,
        precision={"fp32": "float32"}.get(manifest.precision, manifest.precision),
        alignment_head=pb.AlignmentHead(
            layer=manifest.alignment.layer, head=manifest.alignment.head, guided=manifest.alignment.is_guided
        ),
    )
    packed.load_time.FromMilliseconds(round(1000 * model.loaded_at))
    return packed


def _limits(registry: ModelRegistry) -> pb.Limits:
    settings = registry.settings
    return pb.Limits(
        max_texts_per_call=settings.max_texts,
        max_code_points_per_text=settings.max_code_points,
        max_code_points_per_call=settings.max_call_code_points,
        max_message_bytes=settings.max_message_bytes,
        default_beam_size=1,
        max_beam_size=settings.max_beam_size,
        default_deadline_seconds=settings.default_deadline_seconds,
        max_queued_sentences=settings.max_queued_sentences,
        max_running_sentences=registry.num_workers * settings.max_running_sentences,
    )


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # run from a checkout, or built under another name
        return "unknown"
