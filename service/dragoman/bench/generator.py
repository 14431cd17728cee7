"""The load generator: sends the calls of a `Load` and records the outcome of each.

Second stop of a measurement: load -> *generator* -> report -> plot. The server may well share our processors, so that a
call costs little here: requests are serialised beforehand, replies only looked into for their token count, and
nothing waits in a loop of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from dragoman.bench.load import Load, Text
from dragoman.bench.report import MALFORMED, OK, UNFINISHED, Report, Sample
from dragoman.client.credentials import NONE, Credentials
from dragoman.client.errors import ServerError
from dragoman.v1 import translation_pb2 as pb

_METHOD = f"/{pb.DESCRIPTOR.services_by_name['TranslationService'].full_name}/Translate"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),  # a call that fails is counted, not tried again
    ("grpc.use_local_subchannel_pool", 1),  # each measurement has a connection of its own
]
_BUSY = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
_GRACE_SECONDS = 1.0  # for a call that is not back at its deadline; gRPC should have ended it
_PAUSE_SECONDS = 0.05  # of a caller whose call failed, lest refusals be all that is measured


def measure(address: str, load: Load, credentials: Credentials = NONE) -> Report:
    """Measure a server from a program that has no event loop.

    Raises:
        ServerError: Nobody listens there, or one of the directions is refused.
    """
    run = Run(address, load, credentials)
    asyncio.run(run.go())
    return run.report()


class Run:
    """One measurement; `report` may be asked for at any time, also after `go` was cancelled."""

    def __init__(
        self,
        address: str,
        load: Load,
        credentials: Credentials = NONE,
        on_failure: Callable[[grpc.aio.AioRpcError], None] | None = None,
    ) -> None:
        """Prepare a measurement; `on_failure` sees every call that failed, with all that came with it."""
        self.address, self.load, self._on_failure = address, load, on_failure
        self._secure, self._metadata = credentials.channel(), credentials.metadata()
        self.samples: list[Sample] = []
        self._requests = [_request(text, load) for text in load.texts]
        self._order = load.order()
        self._model = ""
        self._origin: float | None = None  # when the first call could have been due
        self._stopped: float | None = None  # when the last one could have been

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start of the load; 0 before."""
        return 0.0 if self._origin is None else time.monotonic() - self._origin

    def report(self) -> Report:
        """Say what was found so far."""
        stopped = self.elapsed if self._stopped is None else self._stopped
        return Report.of(self.address, self.load, self.samples, stopped_seconds=stopped, model=self._model)

    async def go(self) -> None:
        """Ask the server until the time is up, and wait for the last replies, at most for their deadline.

        Raises:
            ServerError: Nobody listens there, or one of the directions is refused.
        """
        async with self._channel() as channel:
            method = channel.unary_unary(_METHOD, _as_it_is, _as_it_is)
            self._translate = partial(method, metadata=self._metadata)
            await self._greet()
            self._origin = time.monotonic()
            try:
                await self._send()
            finally:
                self._stopped = min(self.elapsed, self.load.total_seconds)

    def _channel(self) -> grpc.aio.Channel:
        if self._secure:
            return grpc.aio.secure_channel(self.address, self._secure, options=_OPTIONS)
        return grpc.aio.insecure_channel(self.address, options=_OPTIONS)

    async def _greet(self) -> None:
        """Ask once in each direction, unmeasured: what no call can get past is better said before all of them."""
        firsts = {(text.source, text.target): i for i, text in reversed([*enumerate(self.load.texts)])}
        for i in sorted(firsts.values()):
            try:
                reply = await self._translate(self._requests[i], timeout=self.load.deadline_seconds)
                self._model = pb.TranslateResponse.FromString(reply).metadata.model_version
            except grpc.aio.AioRpcError as error:
                if error.code() in _BUSY:  # which is what we came to measure
                    return
                raise ServerError(error.code().name, " ".join((error.details() or "").split())) from None
            except DecodeError:
                raise ServerError(MALFORMED, "the reply is not a TranslateResponse") from None

    async def _send(self) -> None:
        bound = self.load.total_seconds + self.load.deadline_seconds + _GRACE_SECONDS
        try:
            async with asyncio.timeout(bound), asyncio.TaskGroup() as calls:
                if self.load.rate is not None:
                    for due in self.load.arrivals():
                        await asyncio.sleep(max(0.0, due - self.elapsed))
                        calls.create_task(self._call(due))
                    await asyncio.sleep(self.load.total_seconds - self.elapsed)  # the end counts too
                else:
                    for _ in range(self.load.callers or 0):
                        calls.create_task(self._caller())
        except TimeoutError:
            pass  # calls that are still out were cancelled, and are among the samples as unfinished

    async def _caller(self) -> None:
        """Send a call, and the next one when it came back."""
        while (due := self.elapsed) < self.load.total_seconds:
            if await self._call(due) != OK:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _call(self, due: float) -> str:
        """Make one call, keep its sample, and return how it ended."""
        request = self._requests[next(self._order)]
        code, target_tokens, done = UNFINISHED, 0, None
        sent = self.elapsed
        try:
            reply = await self._translate(request, timeout=self.load.deadline_seconds)
            done = self.elapsed
            target_tokens = pb.TranslateResponse.FromString(reply).metadata.target_tokens
            code = OK
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if self._on_failure is not None:
                self._on_failure(error)
        except DecodeError:
            code = MALFORMED
        finally:
            self.samples.append(Sample(due, sent, done or self.elapsed, code, target_tokens))
        return code


def _as_it_is(message: bytes) -> bytes:
    return message


def _request(text: Text, load: Load) -> bytes:
    """Serialise a request, with no more fields set than asked for: an older server may refuse the others."""
    request: Any = pb.TranslateRequest(
        contents=[text.content], source_language_code=text.source, target_language_code=text.target
    )
    if load.beam_size:
        request.decoding.beam_size = load.beam_size
    if load.alignment:
        request.output.alignment = pb.ALIGNMENT_MODE_HARD
    return bytes(request.SerializeToString())
