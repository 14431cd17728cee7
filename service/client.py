"""A client for Python programs: plain types in, plain types out.

with Client("localhost:50051") as client:
    [translation] = client.translate(["Good morning."], source="en", target="fr", alignment=True)
    print(translation.text)
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.alignment import AlignedWords, Link, membership, word_weights
from service.pb.dragoman.v1 import translation_pb2 as pb
from service.pb.dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from service.security.credentials import NONE, Credentials
from service.text.spans import Span
from service.translation import (
    GREEDY,
    Alternative,
    Finish,
    Flag,
    FlagKind,
    Search,
    Times,
    Token,
    TranslatedSentence,
    Translation,
)

_FINISH = {
    pb.FINISH_REASON_STOP: Finish.STOP,
    pb.FINISH_REASON_LENGTH: Finish.LENGTH,
    pb.FINISH_REASON_REPETITION: Finish.REPETITION,
    pb.FINISH_REASON_UNSPECIFIED: Finish.FORCED,
}
_FLAGS = {
    pb.FLAG_KIND_TARGET_CUT: FlagKind.TARGET_CUT,
    pb.FLAG_KIND_SENTENCE_SPLIT: FlagKind.SENTENCE_SPLIT,
    pb.FLAG_KIND_REPETITION: FlagKind.REPETITION,
}


class ServerError(Exception):
    """The server refused or failed: `code` is gRPC's name for it, `reason` the contract's."""

    def __init__(
        self, code: str, message: str, reason: str = "", metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.reason, self.metadata = code, message, reason, metadata or {}


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
        options = [("grpc.max_receive_message_length", -1)]
        secure, self._metadata = credentials.channel(), credentials.metadata()
        self._channel = (
            grpc.secure_channel(address, secure, options)
            if secure
            else grpc.insecure_channel(address, options)
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
        mode = pb.ALIGNMENT_MODE_SOFT if alignment else pb.ALIGNMENT_MODE_UNSPECIFIED
        request = pb.TranslateRequest(
            contents=texts,
            source_language_code=source,
            target_language_code=target,
            output=pb.OutputOptions(alignment=mode),
            decoding=pb.DecodingOptions(
                beam_size=search.beam_size, num_alternatives=search.num_alternatives,
                length_penalty=search.length_penalty, target_prefix=prefix,
            ),
        )  # fmt: skip
        reply = self._call(self._stub.Translate, request)
        for translation in reply.translations:
            _raise(translation)
        return [
            Translation(
                done.translated_text,
                [_sentence(sentence, alignment) for sentence in done.sentences],
                [_flag(flag) for flag in done.flags],
            )
            for done in reply.translations
        ]

    def align(
        self, pairs: Sequence[tuple[str, str]], *, source: str, target: str
    ) -> list[TranslatedSentence]:
        """Align pairs of given texts.

        Raises:
            ServerError: The call failed, or one of the pairs did.
        """
        request = pb.AlignRequest(
            pairs=[pb.SentencePair(source_text=first, target_text=second) for first, second in pairs],
            source_language_code=source,
            target_language_code=target,
            output=pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT),
        )
        reply = self._call(self._stub.Align, request)
        for sentence in reply.alignments:
            _raise(sentence)
        return [_sentence(sentence, True) for sentence in reply.alignments]

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


def _server_error(error: Any) -> ServerError:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            break
    return ServerError(error.code().name, error.details() or "", info.reason, dict(info.metadata))


def _raise(item: Any) -> None:
    if item.HasField("error"):
        error = item.error
        code = next((code.name for code in grpc.StatusCode if code.value[0] == error.code), "UNKNOWN")
        raise ServerError(code, error.message, error.reason, dict(error.metadata))


def _sentence(message: Any, aligned: bool) -> TranslatedSentence:
    attention = np.array(message.attention.weights, np.float32)
    attention = attention.reshape(message.attention.rows, message.attention.columns)
    source, target = _tokens(message.source_tokens), _tokens(message.target_tokens)
    return TranslatedSentence(
        source_span=_span(message.source_span),
        target_span=_span(message.target_span),
        finish=_FINISH.get(message.finish_reason, Finish.LENGTH),  # a newer reason: it was stopped
        score=message.score,
        words=_words(message, attention, source, target) if aligned else None,
        source_tokens=source,
        target_tokens=target,
        num_source_tokens=len(source),
        num_target_tokens=len(target),
        attention=attention,
        times=Times(),
        alternatives=[Alternative(other.text, other.score, None) for other in message.alternatives],
    )


def _words(message: Any, attention: Any, source: list[Token], target: list[Token]) -> AlignedWords:
    source_words = [_span(word.span) for word in message.source_words]
    target_words = [_span(word.span) for word in message.target_words]
    source_share = membership([token.span for token in source], source_words)
    source_share[:1] = source_share[-1:] = 0.0  # tag and end: no word's
    target_share = membership([token.span for token in target], target_words)
    weights = word_weights(attention, source_share, target_share)
    links = [Link(link.source_word, link.target_word, link.weight) for link in message.links]
    return AlignedWords(source_words, target_words, weights, links)


def _tokens(messages: Any) -> list[Token]:
    return [
        Token(
            token.piece,
            _span(token.span),
            token.log_probability if token.HasField("log_probability") else None,
        )
        for token in messages
    ]


def _flag(message: Any) -> Flag:
    kind = _FLAGS.get(message.kind, FlagKind.OTHER)
    return Flag(kind, _span(message.source_span), _span(message.target_span), message.value)


def _span(message: Any) -> Span:
    return Span(message.start, message.end)
