"""One short method per rpc: unpack, translate, pack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc

from dragoman.config import Settings
from dragoman.errors import DragomanError, InvalidRequest
from dragoman.registry.model_registry import LoadedModel, ModelRegistry
from dragoman.rpc import to_proto
from dragoman.rpc.handlers import Call, RpcHandlers
from dragoman.rpc.reply_writer import Send
from dragoman.rpc.streaming import TextStream, pack_cost
from dragoman.rpc.validation import Validator, locate_words
from dragoman.types import Options, TranslatedSentence
from dragoman.v1 import translation_pb2 as pb


class Servicer:
    """The methods of `dragoman.v1.TranslationService`; each call is answered by the model it is for."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def generic_handler(self, rpcs: RpcHandlers) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the service as gRPC wants it."""
        return rpcs.service(
            {
                "Translate": (pb.TranslateRequest, self.translate),
                "Align": (pb.AlignRequest, self.align),
                "ListModels": (pb.ListModelsRequest, self.list_models),
            },
            {"StreamTranslate": (pb.StreamTranslateRequest, self.stream_translate)},
        )

    async def translate(self, request: Any, call: Call) -> pb.TranslateResponse:
        """Translate many texts."""
        with self._methods(request.model) as methods:
            return await methods.translate(request, call)

    async def align(self, request: Any, call: Call) -> pb.AlignResponse:
        """Align many given pairs."""
        with self._methods(request.model) as methods:
            return await methods.align(request, call)

    async def stream_translate(self, requests: AsyncIterator[Any], call: Call, send: Send) -> None:
        """Translate any number of texts, all by the model that serves when the first one comes."""
        first = await anext(requests, None)
        wanted = first.options.model if first else ""
        preceded = _preceded([] if first is None else [first], requests)
        del first  # or the whole stream would keep it
        with self._methods(wanted) as methods:
            await methods.stream_translate(preceded, call, send)

    async def list_models(self, request: Any, call: Call) -> pb.ListModelsResponse:
        """Say what is served, within which limits, on what."""
        with call.caller.charged():
            return to_proto.pack_models(self._registry)

    @contextmanager
    def _methods(self, wanted: str) -> Iterator[_Methods]:
        with self._registry.using(wanted) as model:
            yield _Methods(model, self._registry.settings)


class _Methods:
    """What one model answers, within the limits of the moment."""

    def __init__(self, model: LoadedModel, settings: Settings) -> None:
        self._translator, self._settings = model.translator, settings
        self._model = model.full_name
        self._validator = Validator(settings, model.bundle)

    async def translate(self, request: Any, call: Call) -> pb.TranslateResponse:
        """Translate many texts; one bad text does not fail its neighbours, unless all are bad."""
        options = replace(
            self._validator.options(request), deadline=call.deadline, caller=call.caller.id, hold=call.hold
        )
        call.facts.update(pair=options.pair, model=self._model)
        self._validator.count("contents", len(request.contents))
        call.add(texts=len(request.contents), code_points=sum(map(len, request.contents)))
        self._validator.sizes("contents", request.contents)
        errors: dict[int, DragomanError] = {}
        for index, text in enumerate(request.contents):
            try:
                self._validator.text(f"contents[{index}]", text)
            except DragomanError as error:
                errors[index] = error
        good = {index: text for index, text in enumerate(request.contents) if index not in errors}
        if not good:
            raise errors[0]
        with call.caller.charged(sum(map(len, good.values()))):
            done = iter(await self._translator.translate([*good.values()], options, [*good]))
        reply = pb.TranslateResponse()
        sentences: list[TranslatedSentence] = []
        for index, text in enumerate(request.contents):
            if index in errors:
                failed = to_proto.pack_error(errors[index])
                reply.translations.add(source_language_code=options.source, error=failed)
                continue
            if sentences:
                await asyncio.sleep(0)  # others go on
            translation = next(done)
            sentences += translation.sentences
            packed = to_proto.pack_translation(text, translation, options, self._model, request.output)
            reply.translations.append(packed)
        reply.metadata.CopyFrom(pack_cost(sentences, self._model, call))
        self._validator.reply(reply.ByteSize())
        return reply

    async def stream_translate(self, requests: AsyncIterator[Any], call: Call, send: Send) -> None:
        """Translate any number of texts, sentence by sentence."""
        stream = TextStream(self._translator, self._validator, self._settings, self._model, call, send)
        await stream.run(requests)

    async def align(self, request: Any, call: Call) -> pb.AlignResponse:
        """Align many given pairs; one bad pair does not fail its neighbours, unless all are bad."""
        options = self._validator.options(request, aligns=True)
        options = replace(options, deadline=call.deadline, caller=call.caller.id, hold=call.hold)
        call.facts.update(pair=options.pair, model=self._model)
        self._validator.count("pairs", len(request.pairs))
        texts = ["".join(_joined(pair)) for pair in request.pairs]
        code_points = sum(map(len, texts))
        call.add(texts=len(texts), code_points=code_points)
        self._validator.sizes("pairs", texts)
        with call.caller.charged(code_points):
            self._translator.check([_joined(pair)[0] for pair in request.pairs], options)
            outcomes = await self._align_all(request.pairs, options, request.output)
        errors = [outcome for outcome in outcomes if isinstance(outcome, InvalidRequest)]
        if len(errors) == len(outcomes):
            raise errors[0]
        reply = pb.AlignResponse()
        sentences: list[TranslatedSentence] = []
        for outcome in outcomes:
            if isinstance(outcome, InvalidRequest):
                reply.alignments.add(error=to_proto.pack_error(outcome))
                continue
            sentences.append(outcome[0])
            reply.alignments.append(outcome[1])
        reply.metadata.CopyFrom(pack_cost(sentences, self._model, call))
        self._validator.reply(reply.ByteSize())
        return reply

    async def _align_all(
        self, pairs: Any, options: Options, output: Any
    ) -> list[tuple[TranslatedSentence, pb.Sentence] | InvalidRequest]:
        """Align pairs side by side; what is wrong with all of them is raised as one error."""
        try:
            async with asyncio.TaskGroup() as group:  # if one cannot be queued, none need go on
                tasks = [
                    group.create_task(self._align_pair(f"pairs[{index}]", pair, options, output))
                    for index, pair in enumerate(pairs)
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _align_pair(
        self, field: str, pair: Any, options: Options, output: Any
    ) -> tuple[TranslatedSentence, pb.Sentence] | InvalidRequest:
        """Align one pair, or return what is wrong with it."""
        source, target = _joined(pair)
        try:
            self._validator.text(f"{field}.source_text", source)
            self._validator.text(f"{field}.target_text", target)
            words = (
                locate_words(f"{field}.source_words", source, pair.source_words),
                locate_words(f"{field}.target_words", target, pair.target_words),
            )
            done = await self._translator.align(source, target, options, *words, field=field)
        except InvalidRequest as error:
            return error
        places = (to_proto.offsets(text, output.offset_unit) for text in (source, target))
        return done.without_details(), to_proto.pack_sentence(done, output, *places)


def _joined(pair: Any) -> tuple[str, str]:
    """Return both texts of a pair; one that is not given is its words, joined by single spaces."""
    source = pair.source_text or " ".join(pair.source_words)
    target = pair.target_text or " ".join(pair.target_words)
    return source, target


async def _preceded(first: list[Any], rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield an item that was taken already, if there was one, and then the others; keep none of them."""
    while first:
        yield first.pop()
    async for item in rest:
        yield item
        del item
