"""The service: one short method for each rpc, which validates, asks the model, and packs the reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from dragoman.errors import InvalidRequest
from dragoman.registry.model_registry import LoadedModel, ModelRegistry
from dragoman.rpc import to_proto
from dragoman.rpc.handlers import Call, RpcHandlers
from dragoman.rpc.reply_writer import Send
from dragoman.rpc.requests import Align, Output, Pair, Translate
from dragoman.rpc.streaming import TextStream
from dragoman.rpc.validation import Validator, check_reply_size
from dragoman.text.detection import LanguageDetector
from dragoman.translation.texts import TextTranslator, detect_all
from dragoman.translation.translator import Translator
from dragoman.types import Options, TranslatedSentence, Translation
from dragoman.v1 import translation_pb2 as pb


@dataclass(frozen=True)
class Aligned:
    """An aligned pair: its message, and what it cost."""

    message: pb.Sentence
    cost: TranslatedSentence


class Servicer:
    """The methods of `dragoman.v1.TranslationService`; each call is answered by the model that it names."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._detector = LanguageDetector()

    def generic_handler(self, rpcs: RpcHandlers) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the service in the form in which a gRPC server takes it."""
        return rpcs.service(
            {
                "Translate": (pb.TranslateRequest, self.translate),
                "Align": (pb.AlignRequest, self.align),
                "DetectLanguage": (pb.DetectLanguageRequest, self.detect_language),
                "ListModels": (pb.ListModelsRequest, self.list_models),
            },
            {"StreamTranslate": (pb.StreamTranslateRequest, self.stream_translate)},
        )

    async def translate(self, request: pb.TranslateRequest, call: Call) -> pb.TranslateResponse:
        """Translate many texts."""
        with self._registry.using(request.model) as model:
            valid = self._validator(model, call).translate(request)
            texts = valid.good_texts
            with call.caller.charged(sum(map(len, texts))):
                outcomes = await self._texts(model).translate(texts, valid.options, valid.places)
            reply = await _pack_translations(valid, outcomes, model.full_name)
            done = [outcome for outcome in outcomes if isinstance(outcome, Translation)]
            if not done:
                raise next(outcome for outcome in outcomes if isinstance(outcome, InvalidRequest))
            sentences = [sentence for translation in done for sentence in translation.sentences]
            reply.metadata.CopyFrom(to_proto.pack_cost(sentences, model.full_name, call))
            check_reply_size(reply, self._registry.settings)
            return reply

    async def align(self, request: pb.AlignRequest, call: Call) -> pb.AlignResponse:
        """Align many given pairs; one bad pair does not fail its neighbours, unless all are bad."""
        with self._registry.using(request.model) as model:
            valid = self._validator(model, call).align(request)
            with call.caller.charged(valid.code_points):
                model.translator.check(valid.sources, valid.options)
                outcomes = await _align_pairs(model.translator, valid)
            errors = [outcome for outcome in outcomes if isinstance(outcome, InvalidRequest)]
            if len(errors) == len(outcomes):
                raise errors[0]
            reply = _pack_alignments(outcomes)
            sentences = [outcome.cost for outcome in outcomes if isinstance(outcome, Aligned)]
            reply.metadata.CopyFrom(to_proto.pack_cost(sentences, model.full_name, call))
            check_reply_size(reply, self._registry.settings)
            return reply

    async def detect_language(
        self, request: pb.DetectLanguageRequest, call: Call
    ) -> pb.DetectLanguageResponse:
        """Say what languages texts are written in."""
        with self._registry.using("") as model:
            valid = self._validator(model, call).detect(request)
            with call.caller.charged(sum(map(len, valid.good_texts))):
                found = await detect_all(self._detector, valid.good_texts, valid.markup)
        return to_proto.pack_detections(valid, found, call)

    async def stream_translate(
        self, requests: AsyncIterator[pb.StreamTranslateRequest], call: Call, send: Send
    ) -> None:
        """Translate any number of texts, sentence by sentence, with the model that serves when the first one comes."""
        first = await anext(requests, None)
        name = first.options.model if first else ""
        all_requests = _preceded([] if first is None else [first], requests)
        del first  # else it would be held for as long as the stream lasts
        with self._registry.using(name) as model:
            stream = TextStream(
                self._texts(model),
                model.full_name,
                self._validator(model, call),
                self._registry.settings,
                call,
                send,
            )
            await stream.run(all_requests)

    async def list_models(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """List the models with their limits and the kind of processor."""
        with call.caller.charged():
            return to_proto.pack_models(self._registry)

    def _texts(self, model: LoadedModel) -> TextTranslator:
        return TextTranslator(model.translator, self._detector, model.bundle.manifest.pairs)

    def _validator(self, model: LoadedModel, call: Call) -> Validator:
        return Validator(self._registry.settings, model, call)


async def _pack_translations(
    valid: Translate, outcomes: list[Translation | InvalidRequest], model: str
) -> pb.TranslateResponse:
    """Return the reply to a call of Translate, bad texts with their errors."""
    reply = pb.TranslateResponse()
    remaining = iter(outcomes)
    for place, text in enumerate(valid.texts):
        if place in valid.errors:
            error = to_proto.pack_error(valid.errors[place])
            reply.translations.add(source_language_code=valid.options.source, error=error)
            continue
        if reply.translations:
            await asyncio.sleep(0)  # other calls go on: packing a large reply takes a while
        outcome = next(remaining)
        if isinstance(outcome, InvalidRequest):
            reply.translations.add(
                source_language_code=valid.options.source, error=to_proto.pack_error(outcome)
            )
        else:
            reply.translations.append(to_proto.pack_translation(text, outcome, model, valid.output))
    return reply


async def _align_pairs(translator: Translator, valid: Align) -> list[Aligned | InvalidRequest]:
    """Align pairs side by side. An error that is not one pair's alone, such as a full queue, is raised."""
    try:
        async with asyncio.TaskGroup() as group:  # if one cannot be queued, the others need not go on
            tasks = [
                group.create_task(_align_pair(translator, pair, valid.options, valid.output))
                for pair in valid.pairs
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _align_pair(
    translator: Translator, pair: Pair | InvalidRequest, options: Options, output: Output
) -> Aligned | InvalidRequest:
    """Align one pair, or return what is wrong with it."""
    if isinstance(pair, InvalidRequest):
        return pair
    try:
        sentence = await translator.align(
            pair.source, pair.target, options, pair.source_words, pair.target_words, field=pair.field
        )
    except InvalidRequest as error:
        return error
    source, target = (to_proto.offsets(text, output.offset_unit) for text in (pair.source, pair.target))
    return Aligned(to_proto.pack_sentence(sentence, output, source, target), sentence.without_details())


def _pack_alignments(outcomes: list[Aligned | InvalidRequest]) -> pb.AlignResponse:
    """Return the reply to a call of Align, bad pairs with their errors."""
    reply = pb.AlignResponse()
    for outcome in outcomes:
        if isinstance(outcome, InvalidRequest):
            reply.alignments.add(error=to_proto.pack_error(outcome))
        else:
            reply.alignments.append(outcome.message)
    return reply


async def _preceded(
    first: list[pb.StreamTranslateRequest], rest: AsyncIterator[pb.StreamTranslateRequest]
) -> AsyncIterator[pb.StreamTranslateRequest]:
    """Yield the message that was taken already, if there was one, and then the others; keep none of them."""
    while first:
        yield first.pop()
    async for request in rest:
        yield request
        del request
