"""Requests to plain types: every check, in the words and with the details that the contract promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dragoman.bundle import Bundle
from dragoman.config import Settings
from dragoman.errors import InvalidRequest, NotServed, NotYetServed, OverLimit, quoted
from dragoman.text.languages import primary_language
from dragoman.text.spans import Span
from dragoman.types import MAX_BEAM_SIZE, Options, Search
from dragoman.v1 import translation_pb2 as pb

MAX_LENGTH_PENALTY, DEFAULT_LENGTH_PENALTY = 5, 1.0
MIME_TYPES = ("", "text/plain", "text/html")
# Names by number, asked once: protobuf makes a list each time.
_ALIGNMENT_MODES, _OFFSET_UNITS, _PRIORITIES = (
    {number: name for name, number in kind.items()} for kind in (pb.AlignmentMode, pb.OffsetUnit, pb.Priority)
)


class Validator:
    """What a request must satisfy on this server with this bundle."""

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        self._settings, self._bundle = settings, bundle
        self._pairs = {(source, target) for source, target in bundle.manifest.pairs}
        self._max_target_tokens = bundle.manifest.max_target_tokens

    def options(self, request: Any, *, aligns: bool = False) -> Options:
        """Return the options of a TranslateRequest, a stream or an AlignRequest.

        Raises:
            InvalidRequest, NotServed: As the contract says.
        """
        _check_values(request)
        _refuse_unserved(request)
        source = self._language("source_language_code", request.source_language_code)
        target = self._language("target_language_code", request.target_language_code)
        if source == target:
            raise InvalidRequest(
                f"source and target are the same language, {source}",
                field="target_language_code", reason="SAME_LANGUAGE",
            )  # fmt: skip
        if (source, target) not in self._pairs:
            served = ", ".join(f"{s}->{t}" for s, t in sorted(self._pairs))
            message = f"the pair {source}->{target} is not served; served: {served}"
            raise NotServed(message, reason="PAIR_NOT_SERVED", served=served)
        wants_words = aligns or request.output.alignment != pb.ALIGNMENT_MODE_UNSPECIFIED
        limit = 0 if aligns else self._target_limit(request.decoding.max_target_tokens)
        is_bulk = request.priority == pb.PRIORITY_BULK
        options = Options(
            source, target, limit, alignment=wants_words, tokens=request.output.tokens, is_bulk=is_bulk
        )
        if not aligns:
            return self._decoding(options, request.decoding)
        both = not request.one_direction and (target, source) in self._pairs
        return replace(options, both_directions=both)

    def _decoding(self, options: Options, decoding: Any) -> Options:
        """Add how translations are searched for."""
        size, most = decoding.beam_size or 1, self._settings.max_beam_size
        if size > most:
            field = "decoding.beam_size"
            raise InvalidRequest(
                f"{field}: {size}, the limit is {most}", field=field, limit=most, actual=size
            )
        self.text("decoding.target_prefix", decoding.target_prefix)
        penalty = decoding.length_penalty if decoding.HasField("length_penalty") else DEFAULT_LENGTH_PENALTY
        search = Search(size, decoding.num_alternatives, penalty)
        return replace(options, search=search, prefix=decoding.target_prefix)

    def count(self, field: str, number: int) -> None:
        """Check the number of texts of a call, before anything looks at each: a message holds two million.

        Raises:
            InvalidRequest: There is none.
            OverLimit: There are too many.
        """
        if not number:
            raise InvalidRequest(f"{field} is empty", field=field, reason="EMPTY_REQUEST")
        self._limit(f"items in {field}", field, self._settings.max_texts, number, "TOO_MANY_TEXTS")

    def sizes(self, field: str, texts: Sequence[str]) -> None:
        """Check the length of the texts of a call together.

        Raises:
            OverLimit: They are too long.
        """
        total = sum(map(len, texts))
        limit = self._settings.max_call_code_points
        self._limit(f"code points in {field}", field, limit, total, "REQUEST_TOO_LONG")

    def text(self, field: str, text: str) -> None:
        """Check one text.

        Raises:
            OverLimit: It is too long.
        """
        self._limit(
            f"code points in {field}", field, self._settings.max_code_points, len(text), "TEXT_TOO_LONG"
        )

    def reply(self, size: int) -> None:
        """Check the size of a reply, which few clients would take if it were larger.

        Raises:
            OverLimit: It is too large.
        """
        field, limit = "output", self._settings.max_message_bytes
        self._limit("bytes of the reply", field, limit, size, "REPLY_TOO_LARGE")

    def _limit(self, what: str, field: str, limit: int, actual: int, reason: str) -> None:
        if actual > limit:
            raise OverLimit(what, field=field, limit=limit, actual=actual, reason=reason)

    def _language(self, field: str, code: str) -> str:
        language = primary_language(code)
        if language is None:
            said = f"{quoted(code)} is not a language code" if code else "a language is required"
            message = f"{field}: {said}"
            raise InvalidRequest(message, field=field, reason="INVALID_LANGUAGE_CODE")
        if language not in self._bundle.languages:
            served = ", ".join(self._bundle.languages)
            raise NotServed(f"{field}: {language} is not served; served: {served}", served=served)
        return language

    def _target_limit(self, wanted: int) -> int:
        if not 0 <= wanted <= self._max_target_tokens:
            field = "decoding.max_target_tokens"
            message = f"{field}: {wanted}, must be between 1 and {self._max_target_tokens}"
            raise InvalidRequest(message, field=field, limit=self._max_target_tokens, actual=wanted)
        return wanted


def _check_values(request: Any) -> None:
    """Refuse values that the contract does not have.

    Raises:
        InvalidRequest: Saying which values there are.
    """
    for field, value, names in (
        ("output.alignment", request.output.alignment, _ALIGNMENT_MODES),
        ("output.offset_unit", request.output.offset_unit, _OFFSET_UNITS),
        ("priority", request.priority, _PRIORITIES),
    ):
        if value not in names:
            raise InvalidRequest(f"{field}: {value} is none of {', '.join(names.values())}", field=field)
    if isinstance(request, pb.AlignRequest):
        return
    if request.mime_type not in MIME_TYPES:
        message = f"mime_type: {quoted(request.mime_type)} is neither text/plain nor text/html"
        raise InvalidRequest(message, field="mime_type")
    decoding = request.decoding
    for field, number, high in (
        ("beam_size", decoding.beam_size, MAX_BEAM_SIZE),
        ("num_alternatives", decoding.num_alternatives, decoding.beam_size or 1),
        ("length_penalty", decoding.length_penalty, MAX_LENGTH_PENALTY),
    ):
        if not 0 <= number <= high:  # neither is not a number
            field = f"decoding.{field}"
            message = f"{field}: {number}, must be between 0 and {high}"
            raise InvalidRequest(message, field=field, limit=high, actual=number)


def _refuse_unserved(request: Any) -> None:
    """Refuse what the contract has and this version has not; nothing is ever ignored.

    Raises:
        NotYetServed: Saying what.
    """
    unserved = {
        "output.word_confidence": request.output.word_confidence,
    }
    if not isinstance(request, pb.AlignRequest):
        unserved |= {
            "mime_type": request.mime_type == "text/html",
            "glossary": request.glossary,
            "do_not_translate": request.do_not_translate,
        }
    for field, is_set in unserved.items():
        if is_set:
            raise NotYetServed(field)
    if not request.source_language_code:
        raise NotYetServed("source_language_code", "detecting the language (an empty source_language_code)")


def locate_words(field: str, text: str, words: Sequence[str]) -> list[Span] | None:
    """Find the caller's words in a text; None if the caller gave none.

    Raises:
        InvalidRequest: They do not occur in this order and without overlap.
    """
    spans: list[Span] = []
    end = 0
    for index, word in enumerate(words):
        start = text.find(word, end) if word else -1
        if start < 0:
            message = f"{field}[{index}] does not occur in the text after the words before it"  # never shown
            raise InvalidRequest(message, field=f"{field}[{index}]", reason="WORDS_NOT_IN_TEXT")
        end = start + len(word)
        spans.append(Span(start, end))
    return spans or None
