"""StreamTranslate: many texts in work at once, each sentence sent as soon as it is done.

A reader takes texts as long as not too many are unfinished; beyond that, HTTP/2's flow control slows the caller down.
Each text is a task. Replies are written one at a time, so a caller that reads them slowly keeps its texts unfinished.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import grpc

from dragoman.config import Settings
from dragoman.errors import DeadlinePassed, DragomanError, InvalidRequest, Unavailable
from dragoman.rpc import status, to_proto
from dragoman.rpc.handlers import Call
from dragoman.rpc.reply_writer import Send
from dragoman.rpc.requests import StreamOptions, StreamText
from dragoman.rpc.validation import Validator
from dragoman.security.guard import Charge
from dragoman.translation.text_assembler import Part
from dragoman.translation.texts import TextTranslator
from dragoman.types import TranslatedSentence
from dragoman.v1 import translation_pb2 as pb


class TextStream:
    """One call of StreamTranslate."""

    def __init__(
        self,
        texts: TextTranslator,
        model: str,
        validator: Validator,
        settings: Settings,
        call: Call,
        send: Send,
    ) -> None:
        self._texts = texts
        self._model = model
        self._validator = validator
        self._settings = settings
        self._call = call
        self._send = send
        self._writing = asyncio.Lock()
        self._ids: set[str] = set()  # of texts whose last reply is not on its way yet
        self._unfinished: dict[int, int] = {}  # number of a text -> its code points
        self._numbers = itertools.count()
        self._finished = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._end: Unavailable | None = None  # why no more texts are taken

    async def run(self, requests: AsyncIterator[pb.StreamTranslateRequest]) -> None:
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

    async def _read(
        self, requests: AsyncIterator[pb.StreamTranslateRequest], tasks: asyncio.TaskGroup
    ) -> None:
        options: StreamOptions | None = None
        async for request in requests:
            self._call.caller.confirm()
            options = self._validator.stream_options(request, options)
            text = self._validator.stream_text(request)
            del request  # the text is all that is needed of it
            number = await self._register(text)
            tasks.create_task(self._answer(text, options, number))
            del text  # while the next one is waited for
        if options is None:
            raise InvalidRequest("the stream has no message", field="options", reason="EMPTY_REQUEST")

    async def _register(self, text: StreamText) -> int:
        """Wait until not too much is unfinished, then take a text, and return its number.

        Raises:
            InvalidRequest: An unfinished text has the same id.
        """
        if text.id in self._ids:
            message = "id: a text of the same id is still unfinished"
            raise InvalidRequest(message, field="id", reason="DUPLICATE_ID")
        size = len(text.content)
        async with self._finished:
            await self._finished.wait_for(lambda: self._has_room(size))
            number = next(self._numbers)
            self._unfinished[number] = size
            self._ids.add(text.id)
        self._call.add(texts=1, code_points=size)
        return number

    def _has_room(self, size: int) -> bool:
        if not self._unfinished:
            return True
        total = sum(self._unfinished.values()) + size
        return (
            len(self._unfinished) < self._settings.max_texts and total <= self._settings.max_call_code_points
        )

    async def _answer(self, text: StreamText, options: StreamOptions, number: int) -> None:
        """Translate one text; an error of it alone is told in its last reply."""
        try:
            await self._translate_charged(text, options)
        except Unavailable as error:
            # This holds for every text to come, too. Those in work are finished; a new stream finds another server.
            self._end = error
            if self._reading is not None:
                self._reading.cancel()
        except DragomanError as error:
            if status.code_of(error) is grpc.StatusCode.INTERNAL:
                raise  # a fault of ours: it ends the whole stream
            await self._write(
                pb.StreamTranslateResponse(
                    id=text.id,
                    last=True,
                    error=to_proto.pack_error(error),
                    source_language_code=options.options.source,
                    model=self._model,
                )
            )
        finally:
            async with self._finished:
                del self._unfinished[number]
                self._finished.notify_all()

    async def _translate_charged(self, text: StreamText, options: StreamOptions) -> None:
        """Translate one text at the expense of the caller's quota and of the memory that calls may hold."""
        if text.error is not None:
            raise text.error
        caller = self._call.caller
        charged = caller.charged(len(text.content))
        with self._call.memory.holding(text.num_bytes, caller.id) as hold, charged as charge:
            held = replace(options, options=replace(options.options, hold=hold))
            await self._translate(text, held, charge)

    async def _translate(self, text: StreamText, options: StreamOptions, charge: Charge) -> None:
        """Translate one text, and send its sentences one by one."""
        deadline = self._call.deadline
        if deadline == math.inf:
            deadline = time.monotonic() + self._settings.default_deadline_seconds
        to_source = to_proto.offsets(text.content, options.output.offset_unit)
        to_target = to_proto.GrowingOffsets(options.output.offset_unit)
        costs: list[TranslatedSentence] = []
        source, stream = await self._texts.stream(text.content, replace(options.options, deadline=deadline))
        async with aclosing(stream) as parts:
            while (part := await _next_part(parts, deadline)) is not None:
                to_target.add(part.text)
                reply = to_proto.pack_part(part, options.output, to_source, to_target)
                reply.id = text.id
                reply.source_language_code = source.language
                if source.confidence is not None:
                    reply.source_language_confidence = source.confidence
                reply.model = self._model
                if part.sentence is not None:
                    costs.append(part.sentence.without_details())
                if part.is_last:
                    reply.metadata.CopyFrom(to_proto.pack_cost(costs, self._model, self._call))
                await self._write(reply)
                charge.is_due = True

    async def _write(self, reply: pb.StreamTranslateResponse) -> None:
        async with self._writing:
            if reply.last:
                self._ids.discard(reply.id)  # before it is sent: whoever has it may use the id again
            await self._send(reply)


async def _next_part(parts: AsyncGenerator[Part, None], deadline: float) -> Part | None:
    """Return the next sentence, or None after the last.

    The deadline of a text bounds this wait only, never the writing: gRPC takes a write that was given up for one still
    in progress, and refuses every other.

    Raises:
        DeadlinePassed: The sentence was not done in time.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await anext(parts, None)
    except TimeoutError:
        raise DeadlinePassed("not finished before the deadline of the text") from None
