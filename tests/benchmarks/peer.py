"""The peer's server: our contract, our text processing, CTranslate2 as the engine.

    python -m tests.benchmarks.peer --model DIRECTORY --mode dynamic --port 0

`--mode per-request` hands the sentences of each call to the engine as they come, as a simple server does;
`--mode dynamic` puts a batcher in front (`batcher.py`). It does less than ours besides: no spans, no scores, no
attention, no metrics and no checks, so that what is measured is not our edge. `--kernels` and `--compute-type` are
explained in `theirs.py`; the defaults are the fastest of `sweep.py`. `results/offline.json` shows what was tried.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import grpc

from dragoman import bundle
from dragoman.config import DEFAULT_BUNDLE
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, PreparedSentence, Preprocessor, target_token_limit
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import (
    TranslationServiceServicer,
    add_TranslationServiceServicer_to_server,
)
from tests.benchmarks.batcher import DynamicBatcher, Limits
from tests.benchmarks.corpus import MAX_SOURCE_TOKENS, Sentence
from tests.benchmarks.theirs import COMPUTE_TYPES, KERNELS, Settings, Theirs

MODES = ("per-request", "dynamic")
MAX_CALLS_AT_ONCE = 256  # threads that wait for the engine, one for each call in `per-request`
DRAIN_SECONDS = 10


class Engine(Protocol):
    """What stands between the calls and CTranslate2."""

    async def translate(self, sentences: list[Sentence]) -> list[list[int]]:
        """Return the pieces of each translation, without the end."""


class PerRequest:
    """Each call is a batch; the library lines up those that it has no worker for."""

    def __init__(self, engine: Theirs, beam: int) -> None:
        self._run = partial(engine.run, beam=beam)
        self._threads = ThreadPoolExecutor(MAX_CALLS_AT_ONCE)

    async def translate(self, sentences: list[Sentence]) -> list[list[int]]:
        """Translate the sentences of a call."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, sentences)


class Dynamic:
    """All calls share batches."""

    def __init__(self, engine: Theirs, beam: int, limits: Limits) -> None:
        self._batcher = DynamicBatcher(partial(engine.run, beam=beam), limits, engine.settings.workers)

    async def translate(self, sentences: list[Sentence]) -> list[list[int]]:
        """Translate the sentences of a call."""
        futures = self._batcher.submit(sentences)
        return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))


class Service(TranslationServiceServicer):
    """Translate, and nothing else of the contract."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._engine, self._tokenizer = engine, tokenizer
        self._preprocessor = Preprocessor(tokenizer, MAX_SOURCE_TOKENS)

    async def Translate(self, request: Any, context: Any) -> pb.TranslateResponse:  # noqa: N802 - gRPC's name
        """Translate the texts of a call together."""
        language = request.source_language_code
        split = [self._preprocessor.split(text, language, with_spans=False) for text in request.contents]
        tag = self._tokenizer.tag_id(request.target_language_code)
        given = [
            Sentence([tag, *one.tokens, EOS_ID], target_token_limit(len(one.tokens) + NUM_SPECIAL_TOKENS))
            for sentences in split
            for one in sentences
        ]
        written = await self._engine.translate(given) if given else []
        reply = pb.TranslateResponse()
        done = iter(written)
        for text, sentences in zip(request.contents, split, strict=True):
            reply.translations.add(
                translated_text=self._joined(text, sentences, [next(done) for _ in sentences]),
                source_language_code=language,
            )
        reply.metadata.source_tokens = sum(len(sentence.ids) for sentence in given)
        reply.metadata.target_tokens = sum(
            len(ids) + (len(ids) < sentence.limit) for sentence, ids in zip(given, written, strict=True)
        )
        return reply

    def _joined(self, text: str, sentences: Sequence[PreparedSentence], written: Sequence[list[int]]) -> str:
        """Put the translations where the sentences stood."""
        parts: list[str] = []
        end = 0
        for sentence, ids in zip(sentences, written, strict=True):
            parts += [text[end : sentence.span.start], self._tokenizer.decode_text(ids)]
            end = sentence.span.end
        return "".join([*parts, text[end:]])


async def serve(service: Service, port: int) -> None:
    """Serve until SIGTERM or SIGINT; the port is printed once calls are answered."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_TranslationServiceServicer_to_server(service, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(bound, flush=True)
    await stop.wait()
    await server.stop(DRAIN_SECONDS)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Serve CTranslate2 behind our contract.")
    parser.add_argument("--model", type=Path, required=True, help="written by models.convert.ctranslate2")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="whose tokenizer is used")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--mode", choices=MODES, default="dynamic")
    parser.add_argument("--max-batch", type=int, default=32, help="sentences in a batch")
    parser.add_argument("--max-batch-tokens", type=int, default=4096, help="padding included")
    parser.add_argument(
        "--wait-ms", type=float, default=0.0, help="how long an idle engine waits for company"
    )
    parser.add_argument("--compute-type", choices=COMPUTE_TYPES, default=Settings().compute_type)
    parser.add_argument("--kernels", choices=sorted(KERNELS), default="default")
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--workers", type=int, default=1, help="batches at once")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--cpu", type=int, nargs="+", help="run on these cores only")
    return parser.parse_args()


def main() -> None:
    """Bind, load, serve."""
    given = arguments()
    if given.cpu:
        os.sched_setaffinity(0, given.cpu)  # before the library and gRPC start their threads
    os.environ.update(KERNELS[given.kernels])
    settings = Settings(
        given.compute_type, given.kernels, given.workers, given.threads, max_batch_size=given.max_batch
    )
    tokenizer = given.bundle / bundle.TOKENIZER
    theirs = Theirs(given.model, tokenizer, settings)
    limits = Limits(given.max_batch, given.max_batch_tokens, given.wait_ms / 1000)
    engine: Engine = Dynamic(theirs, given.beam, limits)
    if given.mode == "per-request":
        engine = PerRequest(theirs, given.beam)
    asyncio.run(serve(Service(engine, Tokenizer.from_file(tokenizer)), given.port))


if __name__ == "__main__":
    main()
