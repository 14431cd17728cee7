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
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dragoman.client import from_proto
from dragoman.client.credentials import NONE, Credentials
from dragoman.types import GREEDY, Search, TranslatedSentence, Translation
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub

_CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 5000),  # two minutes otherwise: a server that is back is not noticed
]


class ServerError(Exception):
    """The server refused or failed: `code` is gRPC's name for it, `reason` the contract's.

    Attributes:
        retry_seconds: When the server wants to be asked again, if it said so; else 0.
    """

    def __init__(
        self, code: str, message: str, reason: str = "", metadata: dict[str, str] | None = None,
        retry_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.reason, self.metadata = code, message, reason, metadata or {}
        self.retry_seconds = retry_seconds


class TextStream:
    """One call of StreamTranslate: texts by their ids, each as soon as it is whole."""

    def __init__(self, call: Any, aligned: bool) -> None:
        self._call, self._aligned = call, aligned

    def __iter__(self) -> Iterator[tuple[str, Translation | ServerError]]:
        """Yield each text's translation, or why there is none.

        Raises:
            ServerError: The call broke off; texts that were not yielded are not done.
        """
        parts: dict[str, list[Any]] = {}
        try:
            for reply in self._call:
                parts.setdefault(reply.id, []).append(reply)
                if reply.last:
                    replies = parts.pop(reply.id)
                    failed = reply.HasField("error")
                    done = _text_error(reply.error) if failed else from_proto.streamed(replies, self._aligned)
                    yield reply.id, done
        except grpc.RpcError as error:
            raise _server_error(error) from None

    def cancel(self) -> None:
        """End the call, from any thread."""
        self._call.cancel()


class Client:
    """A connection to one server. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(self, address: str, *, timeout: float = 60.0, credentials: Credentials = NONE) -> None:
        """Prepare a connection to `host:port`; the first call opens it.

        Args:
            timeout: Deadline of each call, in seconds.
            credentials: API key, TLS, client certificate.

        Raises:
            OSError: A file of the credentials cannot be read.
        """
        secure, self._metadata = credentials.channel(), credentials.metadata()
        self._channel = (
            grpc.secure_channel(address, secure, _CHANNEL)
            if secure
            else grpc.insecure_channel(address, _CHANNEL)
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
        search: Search = GREEDY, prefix: str = "",
    ) -> list[Translation]:  # fmt: skip
        """Translate some texts; the reply keeps their order.

        Args:
            alignment: Whether words and links are wanted.
            search: Beam size, alternatives, length penalty.
            prefix: What each translation must begin with; each text is then one sentence.

        Raises:
            ServerError: The call failed, or one of the texts did.
        """
        request = pb.TranslateRequest(contents=texts, **_options(source, target, alignment, search, prefix))
        reply = self._call(self._stub.Translate, request)
        for done in reply.translations:
            _raise(done)
        return [from_proto.translation(done, alignment) for done in reply.translations]

    def stream(
        self, texts: Iterable[tuple[str, str]], *, source: str, target: str, alignment: bool = False,
        search: Search = GREEDY,
    ) -> TextStream:  # fmt: skip
        """Translate any number of texts in one call without a deadline, as bulk work.

        Args:
            texts: Ids and texts. Taken from another thread, as fast as the server reads them; an id may be
                used again once its text is done.
        """
        options = pb.StreamTranslateOptions(
            priority=pb.PRIORITY_BULK, **_options(source, target, alignment, search)
        )

        def requests() -> Iterator[Any]:
            for number, (id_, text) in enumerate(texts):
                request = pb.StreamTranslateRequest(id=id_, content=text)
                if number == 0:
                    request.options.CopyFrom(options)
                yield request

        return TextStream(self._stub.StreamTranslate(requests(), metadata=self._metadata), alignment)

    def align(
        self, pairs: Sequence[tuple[str, str]], *, source: str, target: str, one_direction: bool = False
    ) -> list[TranslatedSentence]:
        """Align pairs of given texts.

        Args:
            one_direction: At half the work, with more errors: by what the model attends to from source to target alone.

        Raises:
            ServerError: The call failed, or one of the pairs did.
        """
        request = pb.AlignRequest(
            pairs=[pb.SentencePair(source_text=first, target_text=second) for first, second in pairs],
            source_language_code=source,
            target_language_code=target,
            output=pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT),
            one_direction=one_direction,
        )
        reply = self._call(self._stub.Align, request)
        for done in reply.alignments:
            _raise(done)
        return [from_proto.sentence(done, True) for done in reply.alignments]

    def models(self) -> dict[str, Any]:
        """Return what the server serves, as in the contract's ListModelsResponse."""
        reply = self._call(self._stub.ListModels, pb.ListModelsRequest())
        found: dict[str, Any] = MessageToDict(reply, preserving_proto_field_name=True)
        return found

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _server_error(error) from None


def _options(source: str, target: str, alignment: bool, search: Search, prefix: str = "") -> dict[str, Any]:
    """Return the fields that `TranslateRequest` and `StreamTranslateOptions` share."""
    mode = pb.ALIGNMENT_MODE_SOFT if alignment else pb.ALIGNMENT_MODE_UNSPECIFIED
    decoding = pb.DecodingOptions(
        beam_size=search.beam_size, num_alternatives=search.num_alternatives,
        length_penalty=search.length_penalty, target_prefix=prefix,
    )  # fmt: skip
    return {
        "source_language_code": source, "target_language_code": target, "decoding": decoding,
        "output": pb.OutputOptions(alignment=mode),
    }  # fmt: skip


def _server_error(error: Any) -> ServerError:
    status = rpc_status.from_call(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    pushback = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms", "0")
    seconds = max(retry.retry_delay.ToMilliseconds(), int(pushback)) / 1000
    return ServerError(error.code().name, error.details() or "", info.reason, dict(info.metadata), seconds)


def _text_error(error: Any) -> ServerError:
    code = next((code.name for code in grpc.StatusCode if code.value[0] == error.code), "UNKNOWN")
    seconds = float(error.metadata.get("retry_seconds", 0))
    return ServerError(code, error.message, error.reason, dict(error.metadata), seconds)


def _raise(item: Any) -> None:
    if item.HasField("error"):
        raise _text_error(item.error)
