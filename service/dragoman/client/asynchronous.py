"""The client for programs that run an asyncio loop: the same calls, awaited.

async with AsyncClient("localhost:50051") as client:
    [translation] = await client.translate(["Good morning."], source="en", target="fr")
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from dragoman.client import errors, from_proto, requests
from dragoman.client.connection import OPTIONS
from dragoman.client.credentials import NONE, Credentials
from dragoman.client.errors import ServerError
from dragoman.types import GREEDY, Search, TranslatedSentence, Translation
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub

Texts = Iterable[tuple[str, str]] | AsyncIterable[tuple[str, str]]


class AsyncTextStream:
    """One call of StreamTranslate: texts by their ids, each as soon as it is whole."""

    def __init__(self, call: Any, aligned: bool) -> None:
        self._call, self._aligned = call, aligned

    async def __aiter__(self) -> AsyncIterator[tuple[str, Translation | ServerError]]:
        """Yield each text's translation, or why there is none.

        Raises:
            ServerError: The call broke off; texts that were not yielded are not done.
        """
        replies = from_proto.StreamReplies(self._aligned)
        try:
            async for reply in self._call:
                for outcome in replies.add(reply):
                    yield outcome
        except grpc.RpcError as error:
            raise errors.of_call(error) from None

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()


class AsyncClient:
    """A connection to the servers of one address, for one event loop; close it, or use it in an `async with`."""

    def __init__(self, address: str, *, timeout: float = 60.0, credentials: Credentials = NONE) -> None:
        """Prepare a connection to `host:port`; the first call opens it.

        Calls take turns over all addresses of the name that serve.

        Args:
            timeout: Deadline of each call, in seconds.
            credentials: API key, TLS, client certificate.

        Raises:
            OSError: A file of the credentials cannot be read.
        """
        secure, self._metadata = credentials.channel(), credentials.metadata()
        self._channel = (
            grpc.aio.secure_channel(address, secure, options=OPTIONS)
            if secure
            else grpc.aio.insecure_channel(address, options=OPTIONS)
        )
        self._stub: Any = TranslationServiceStub(self._channel)
        self._timeout = timeout

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that run end with CANCELLED."""
        await self._channel.close(None)

    async def translate(
        self, texts: Sequence[str], *, source: str, target: str, alignment: bool = False,
        search: Search = GREEDY, prefix: str = "", protection: bool | None = None,
    ) -> list[Translation]:  # fmt: skip
        """Translate some texts; the reply keeps their order.

        Args:
            alignment: Whether words and links are wanted.
            search: Beam size, alternatives, length penalty.
            prefix: What each translation must begin with; each text is then one sentence.
            protection: Whether addresses, code, placeholders and the like stay as they are; the server's default if not given.

        Raises:
            ServerError: The call failed, or one of the texts did.
        """
        request = requests.translation(
            texts,
            source=source,
            target=target,
            alignment=alignment,
            search=search,
            prefix=prefix,
            protection=protection,
        )
        return from_proto.translations(await self._call(self._stub.Translate, request), alignment)

    def stream(
        self, texts: Texts, *, source: str, target: str, alignment: bool = False, search: Search = GREEDY
    ) -> AsyncTextStream:
        """Translate any number of texts in one call without a deadline, as bulk work.

        Args:
            texts: Ids and texts, taken as fast as the server reads them; an id may be used again once its
                text is done.
        """
        sent = requests.StreamRequests(source=source, target=target, alignment=alignment, search=search)
        call = self._stub.StreamTranslate(_messages(sent, texts), metadata=self._metadata)
        return AsyncTextStream(call, alignment)

    async def align(
        self, pairs: Sequence[tuple[str, str]], *, source: str, target: str, one_direction: bool = False
    ) -> list[TranslatedSentence]:
        """Align pairs of given texts.

        Args:
            one_direction: Whether to read the model from source to target only, at half the work.

        Raises:
            ServerError: The call failed, or one of the pairs did.
        """
        request = requests.alignment(pairs, source, target, one_direction)
        return from_proto.alignments(await self._call(self._stub.Align, request))

    async def models(self) -> dict[str, Any]:
        """Return what the server serves, as in the contract's ListModelsResponse."""
        reply = await self._call(self._stub.ListModels, pb.ListModelsRequest())
        served: dict[str, Any] = MessageToDict(reply, preserving_proto_field_name=True)
        return served

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.of_call(error) from None


async def _messages(sent: requests.StreamRequests, texts: Texts) -> AsyncIterator[pb.StreamTranslateRequest]:
    if isinstance(texts, AsyncIterable):
        async for id_, text in texts:
            yield sent.request(id_, text)
    else:
        for id_, text in texts:
            yield sent.request(id_, text)
