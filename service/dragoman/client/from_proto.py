"""Messages of the server as plain types: the client's way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dragoman.alignment.links import AlignedWords, Link, membership, word_weights
from dragoman.client.errors import ServerError, of_text, raise_for
from dragoman.text.spans import Span
from dragoman.types import (
    Alternative,
    Finish,
    Flag,
    FlagKind,
    Times,
    Token,
    TranslatedSentence,
    Translation,
)
from dragoman.v1 import translation_pb2 as pb

_FINISH = {
    pb.FINISH_REASON_STOP: Finish.STOP,
    pb.FINISH_REASON_LENGTH: Finish.LENGTH,
    pb.FINISH_REASON_REPETITION: Finish.REPETITION,
    pb.FINISH_REASON_UNSPECIFIED: Finish.FORCED,
}
_FLAGS = {
    pb.FlagKind.Value(f"FLAG_KIND_{kind.name}"): kind for kind in FlagKind if kind is not FlagKind.OTHER
}


def translations(reply: pb.TranslateResponse, aligned: bool) -> list[Translation]:
    """Return the texts of a reply.

    Raises:
        ServerError: One of them failed.
    """
    for item in reply.translations:
        raise_for(item)
    return [translation(item, aligned) for item in reply.translations]


def alignments(reply: pb.AlignResponse) -> list[TranslatedSentence]:
    """Return the pairs of a reply.

    Raises:
        ServerError: One of them failed.
    """
    for item in reply.alignments:
        raise_for(item)
    return [sentence(item, True) for item in reply.alignments]


class StreamReplies:
    """The replies of a stream, put together by the text that they belong to."""

    def __init__(self, aligned: bool) -> None:
        self._aligned = aligned
        self._parts: dict[str, list[pb.StreamTranslateResponse]] = {}

    def add(self, reply: pb.StreamTranslateResponse) -> Iterator[tuple[str, Translation | ServerError]]:
        """Take a reply, and yield its text's id and outcome if it is the last of that text."""
        self._parts.setdefault(reply.id, []).append(reply)
        if reply.last:
            replies = self._parts.pop(reply.id)
            failed = reply.HasField("error")
            yield reply.id, of_text(reply.error) if failed else streamed(replies, self._aligned)


def translation(message: Any, aligned: bool) -> Translation:
    """Return one text of a `TranslateResponse`."""
    return Translation(
        message.translated_text,
        [sentence(part, aligned) for part in message.sentences],
        [_flag(flag) for flag in message.flags],
    )


def streamed(replies: list[Any], aligned: bool) -> Translation:
    """Return what the replies of a stream to one text say together."""
    return Translation(
        "".join(reply.translated_text for reply in replies),
        [sentence(reply.sentence, aligned) for reply in replies if reply.HasField("sentence")],
        [_flag(flag) for reply in replies for flag in reply.flags],
    )


def sentence(message: Any, aligned: bool) -> TranslatedSentence:
    """Return one sentence; with words, links and their weights if these were asked for."""
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
    source = _span(message.source_span) if message.HasField("source_span") else None
    target = _span(message.target_span) if message.HasField("target_span") else None
    return Flag(kind, source, target, message.value)


def _span(message: Any) -> Span:
    return Span(message.start, message.end)
