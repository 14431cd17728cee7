"""Callers that never rest: what answered them, and whether all of them were answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.rpc.contract import request

SENTENCE = "The agreement on the European Economic Area was signed in August 1992."


class Callers:
    """Some callers of `Translate`, and one whose stream goes on and on.

    Attributes:
        answers: For each model, by `name@version`: what it said, and the score it gave. One of each, if all is well.
        newest: Which model answered last.
        failures: What should not have happened.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub: Any = TranslationServiceStub(channel)
        self.answers: dict[str, set[tuple[str, float]]] = {}
        self.newest = ""
        self.calls = 0
        self.failures: list[str] = []
        self.is_over = False

    def _note(self, model: str, text: str, sentence: Any) -> None:
        self.answers.setdefault(model, set()).add((text, sentence.score))
        self.newest = model
        self.calls += 1

    async def translate(self) -> None:
        """Call until it is over."""
        while not self.is_over:
            reply = await self.stub.Translate(request(SENTENCE), timeout=30)
            [done] = reply.translations
            if done.model != reply.metadata.model_version:
                self.failures.append(f"{done.model} is not {reply.metadata.model_version}")
            self._note(done.model, done.translated_text, done.sentences[0])
            await asyncio.sleep(0.01)

    async def stream(self) -> None:
        """Send text after text in streams of twenty, and check that one model answers all of a stream."""
        while not self.is_over:
            call = self.stub.StreamTranslate(self._texts(), timeout=60)
            models = set()
            async for reply in call:
                if reply.HasField("error"):
                    self.failures.append(reply.error.message)
                    continue
                models.add(reply.model)
                self._note(reply.model, reply.translated_text, reply.sentence)
            if len(models) != 1:
                self.failures.append(f"a stream was answered by {models}")

    async def _texts(self) -> AsyncIterator[pb.StreamTranslateRequest]:
        for index in range(20):
            message = pb.StreamTranslateRequest(id=str(index), content=SENTENCE)
            if not index:
                message.options.source_language_code, message.options.target_language_code = "en", "fr"
            yield message
            await asyncio.sleep(0.02)


@asynccontextmanager
async def busy(port: int, callers: int = 3) -> AsyncIterator[Callers]:
    """Keep a server busy for a while, and check at the end that nothing failed."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        load = Callers(channel)
        tasks = [asyncio.create_task(load.translate()) for _ in range(callers)]
        tasks.append(asyncio.create_task(load.stream()))
        try:
            yield load
        finally:
            load.is_over = True
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [None] * len(tasks) == outcomes
    assert [] == load.failures
    assert all(len(said) == 1 for said in load.answers.values()), load.answers
