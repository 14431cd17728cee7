"""StreamTranslate: many texts at once, each sentence sent as soon as it is done.

A reader takes texts while not too much is unfinished, and so lets HTTP/2 slow the caller down; each text is
a task of its own; replies are written one at a time, and a slow reader of replies holds its texts unfinished.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import grpc

from dragoman.config import Settings
from dragoman.errors import DeadlinePassed, DragomanError, InvalidRequest, Unavailable
from dragoman.rpc import status, to_proto
from dragoman.rpc.handlers import Call
from dragoman.rpc.reply_writer import Send
from dragoman.rpc.validation import Validator
from dragoman.security.guard import Charge
from dragoman.translation.text_assembler import Part
from dragoman.translation.translator import Translator
from dragoman.types import Options, TranslatedSentence
from dragoman.v1 import translation_pb2 as pb

MAX_ID = 256  # code points


@dataclass(frozen=True)
class _Known:
    """What the first message of a stream said."""

    options: Options
    output: Any


def pack_cost(sentences: list[TranslatedSentence], model: str, call: Call) -> pb.ResponseMetadata:
    """Say what some sentences cost, to the caller and to whoever reads the log."""
    cost = to_proto.pack_metadata(sentences, model, call.request_id)
    figures = {"source_tokens": cost.source_tokens, "target_tokens": cost.target_tokens}
    call.add(sentences=len(sentences), **figures)
    return cost


class TextStream:
    """One call of StreamTranslate."""

    def __init__(
        self,
        translator: Translator,
        validator: Validator,
        settings: Settings,
        model: str,
        call: Call,
        send: Send,
    ) -> None:
        self._translator, self._validator, self._settings = translator, validator, settings
        self._model, self._call, self._send = model, call, send
        self._writing = asyncio.Lock()
        self._ids: set[str] = set()  # of texts whose last reply is not on its way
        self._unfinished: dict[int, int] = {}  # number of the text -> code points
        self._numbers = itertools.count()
        self._finished = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._end: Unavailable | None = None  # why no more texts are taken

    async def run(self, requests: AsyncIterator[Any]) -> None:
        """Answer every text, whatever becomes of the others.

        Raises:
            InvalidRequest, NotServed: The options are wrong or misplaced, or an id is: the stream ends.
            Unauthenticated, NotAllowed: The key was revoked meanwhile, or has expired.
            Unavailable: The server is shutting down, or the version of the model is retired.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reading = tasks.create_task(self._read(requests, tasks))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        if self._end is not None:
            raise self._end

    async def _read(self, requests: AsyncIterator[Any], tasks: asyncio.TaskGroup) -> None:
        options = None
        async for request in requests:
            self._call.caller.confirm()
            options = self._options(request, options)
            number = await self._room(request)
            tasks.create_task(self._answer(request, options, number))
            del request  # while the next is waited for
        if options is None:
            raise InvalidRequest("the stream has no message", field="options", reason="EMPTY_REQUEST")

    def _options(self, request: Any, known: _Known | None) -> _Known:
        """Return the options of the stream, which its first message brings."""
        if known is not None:
            if request.HasField("options"):
                raise InvalidRequest("options: only the first message of a stream has them", field="options")
            return known
        if not request.HasField("options"):
            raise InvalidRequest("options: the first message of a stream must have them", field="options")
        try:
            checked = self._validator.options(request.options)
        except InvalidRequest as error:
            error.field = f"options.{error.field}"
            raise
        options = replace(checked, caller=self._call.caller.id)
        self._call.facts.update(pair=options.pair, model=self._model)
        output = pb.OutputOptions()
        output.CopyFrom(request.options.output)  # a part keeps the whole message
        return _Known(options, output)

    async def _room(self, request: Any) -> int:
        """Take note of a text, as soon as not too much is unfinished; return its number.

        Raises:
            InvalidRequest: Its id is too long, or that of an unfinished text.
        """
        if len(request.id) > MAX_ID:
            message = f"code points in id: {len(request.id):,}, the limit is {MAX_ID}"
            raise InvalidRequest(message, field="id", limit=MAX_ID, actual=len(request.id))
        if request.id in self._ids:
            message = "id: a text of the same id is still unfinished"
            raise InvalidRequest(message, field="id", reason="DUPLICATE_ID")
        async with self._finished:
            await self._finished.wait_for(lambda: not self._is_full(len(request.content)))
            number = next(self._numbers)
            self._unfinished[number] = len(request.content)
            self._ids.add(request.id)
        self._call.add(texts=1, code_points=len(request.content))
        return number

    def _is_full(self, more: int) -> bool:
        most = self._settings.max_call_code_points
        return bool(self._unfinished) and (
            len(self._unfinished) >= self._settings.max_texts or sum(self._unfinished.values()) + more > most
        )

    async def _answer(self, request: Any, known: _Known, number: int) -> None:
        """Translate one text; what is wrong with it alone is said in its last reply."""
        try:
            self._validator.text("content", request.content)
            charged = self._call.caller.charged(len(request.content))
            with (
                self._call.memory.holding(request.ByteSize(), self._call.caller.id) as hold,
                charged as charge,
            ):
                options = replace(known.options, hold=hold)
                await self._translate(request, _Known(options, known.output), charge)
        except Unavailable as error:
            # True of every text to come, too; what is under way is finished, then another stream may find another server.
            self._end = error
            if self._reading is not None:
                self._reading.cancel()
        except DragomanError as error:
            if status.code_of(error) is grpc.StatusCode.INTERNAL:
                raise  # ours, and unexpected: the whole stream is told
            await self._write(
                pb.StreamTranslateResponse(
                    id=request.id,
                    last=True,
                    error=to_proto.pack_error(error),
                    source_language_code=known.options.source,
                    model=self._model,
                )
            )
        finally:
            async with self._finished:
                del self._unfinished[number]
                self._finished.notify_all()

    async def _translate(self, request: Any, known: _Known, charge: Charge) -> None:
        seconds = self._settings.default_deadline_seconds
        deadline = self._call.deadline
        if deadline == math.inf:
            deadline = time.monotonic() + seconds
        options = replace(known.options, deadline=deadline)
        to_source = to_proto.offsets(request.content, known.output.offset_unit)
        to_target = to_proto.GrowingOffsets(known.output.offset_unit)
        sentences: list[TranslatedSentence] = []
        async with aclosing(self._translator.stream(request.content, options)) as parts:
            while (part := await _next(parts, deadline)) is not None:
                reply = pb.StreamTranslateResponse(
                    id=request.id, translated_text=part.text, last=part.is_last,
                    source_language_code=options.source, model=self._model,
                )  # fmt: skip
                to_target.add(part.text)
                if part.sentence is not None:
                    sentences.append(part.sentence.without_details())
                    packed = to_proto.pack_sentence(part.sentence, known.output, to_source, to_target)
                    reply.sentence.CopyFrom(packed)
                reply.flags.extend(to_proto.pack_flags(part.flags, to_source, to_target))
                if part.is_last:
                    reply.metadata.CopyFrom(pack_cost(sentences, self._model, self._call))
                await self._write(reply)
                charge.is_due = True

    async def _write(self, reply: pb.StreamTranslateResponse) -> None:
        async with self._writing:
            if reply.last:  # before it is sent: who has it may use the id again
                self._ids.discard(reply.id)
            await self._send(reply)


async def _next(parts: AsyncGenerator[Part, None], deadline: float) -> Part | None:
    """Return the next sentence, or None after the last.

    Only this may take too long for the text's deadline, never the writing: a write that is given up is still under
    way for gRPC, which then refuses every other.

    Raises:
        DeadlinePassed: It was not done in time.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await anext(parts, None)
    except TimeoutError:
        raise DeadlinePassed("not finished before the deadline of the text") from None
