"""A client for Python programs: plain types in, plain types out.

with Client("localhost:50051") as client:
    [translation] = client.translate(["Good morning."], source="en", target="fr", alignment=True)
    print(translation.text)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


class TextStream:
    """One call of StreamTranslate: texts by their ids, each as soon as it is whole."""

    def __init__(self, call: Any, aligned: bool) -> None:
        self._call, self._aligned = call, aligned

    def __iter__(self) -> Iterator[tuple[str, Translation | ServerError]]:
        """Yield each text's translation, or why there is none.

        Raises:
            ServerError: The call broke off; texts that were not yielded are not done.
        """
        replies = from_proto.StreamReplies(self._aligned)
        try:
            for reply in self._call:
                yield from replies.add(reply)
        except grpc.RpcError as error:
            raise errors.of_call(error) from None

    def cancel(self) -> None:
        """End the call, from any thread."""
        self._call.cancel()


class Client:
    """A connection to the servers of one address. Threads may share it; close it, or use it in a `with`."""

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
            grpc.secure_channel(address, secure, OPTIONS)
            if secure
            else grpc.insecure_channel(address, OPTIONS)
        )
        self._stub = TranslationServiceStub(self._channel)
        self._timeout = timeout

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def translate(
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
        return from_proto.translations(self._call(self._stub.Translate, request), alignment)

    def stream(
        self, texts: Iterable[tuple[str, str]], *, source: str, target: str, alignment: bool = False,
        search: Search = GREEDY,
    ) -> TextStream:  # fmt: skip
        """Translate any number of texts in one call without a deadline, as bulk work.

        Args:
            texts: Ids and texts. Taken from another thread, as fast as the server reads them; an id may be
                used again once its text is done.
        """
        sent = requests.StreamRequests(source=source, target=target, alignment=alignment, search=search)
        messages = (sent.request(id_, text) for id_, text in texts)
        return TextStream(self._stub.StreamTranslate(messages, metadata=self._metadata), alignment)

    def align(
        self, pairs: Sequence[tuple[str, str]], *, source: str, target: str, one_direction: bool = False
    ) -> list[TranslatedSentence]:
        """Align pairs of given texts.

        Args:
            one_direction: At half the work, with more errors: by what the model attends to from source to target alone.

        Raises:
            ServerError: The call failed, or one of the pairs did.
        """
        request = requests.alignment(pairs, source, target, one_direction)
        return from_proto.alignments(self._call(self._stub.Align, request))

    def models(self) -> dict[str, Any]:
        """Return what the server serves, as in the contract's ListModelsResponse."""
        reply = self._call(self._stub.ListModels, pb.ListModelsRequest())
        served: dict[str, Any] = MessageToDict(reply, preserving_proto_field_name=True)
        return served

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.of_call(error) from None
