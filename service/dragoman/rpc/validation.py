"""Validation: a request of the contract becomes plain, checked types, or an error that says what is wrong.

Each request is visited once, here. What comes out needs no further check, and knows nothing of protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from google.protobuf.message import Message

from dragoman.config import Settings
from dragoman.errors import DragomanError, InvalidRequest, NotServed, NotYetServed, OverLimit, quoted
from dragoman.registry.model_registry import LoadedModel
from dragoman.rpc.handlers import Call
from dragoman.rpc.requests import Align, Detect, Output, Pair, StreamOptions, StreamText, Translate
from dragoman.text.languages import primary_language
from dragoman.text.spans import Span
from dragoman.types import MAX_BEAM_SIZE, Markup, Options, Search
from dragoman.v1 import translation_pb2 as pb

MAX_LENGTH_PENALTY = 5
DEFAULT_LENGTH_PENALTY = 1.0
MAX_ID = 256  # code points
MIME_TYPES = {"": Markup.NONE} | {kind.value: kind for kind in Markup}
# Names by number. Asked for once, because protobuf builds a list each time.
_ALIGNMENT_MODES, _OFFSET_UNITS, _PRIORITIES = (
    {number: name for name, number in kind.items()} for kind in (pb.AlignmentMode, pb.OffsetUnit, pb.Priority)
)
TranslateOptions = pb.TranslateRequest | pb.StreamTranslateOptions


def check_reply_size(reply: Message, settings: Settings) -> None:
    """Refuse to send a reply that is larger than most clients take.

    Raises:
        OverLimit: With its size.
    """
    size = reply.ByteSize()
    limit = settings.max_message_bytes
    if size > limit:
        raise OverLimit(
            "bytes of the reply", field="output", limit=limit, actual=size, reason="REPLY_TOO_LARGE"
        )


class Validator:
    """Checks the requests of one call against the contract, the limits and the model.

    What a call asks for is noted in its facts as soon as it is known: the log tells it of refused calls too.
    """

    def __init__(self, settings: Settings, model: LoadedModel, call: Call) -> None:
        self._settings = settings
        self._languages = model.bundle.languages
        self._pairs = {(source, target) for source, target in model.bundle.manifest.pairs}
        self._max_target_tokens = model.bundle.manifest.max_target_tokens
        self._model = model.full_name
        self._call = call

    def translate(self, request: pb.TranslateRequest) -> Translate:
        """Return a call of Translate; one bad text does not fail its neighbours, unless all are bad.

        Raises:
            InvalidRequest, NotServed: As the contract says.
        """
        options = replace(
            self._translate_options(request), deadline=self._call.deadline, hold=self._call.hold
        )
        texts = request.contents
        self._check_count("contents", len(texts))
        self._call.add(texts=len(texts), code_points=sum(map(len, texts)))
        self._check_total("contents", texts)
        checked = ((place, self._text_error(f"contents[{place}]", text)) for place, text in enumerate(texts))
        errors: dict[int, DragomanError] = {place: error for place, error in checked if error is not None}
        if len(errors) == len(texts):
            raise errors[0]
        return Translate(options, _output(request.output), texts, errors)

    def detect(self, request: pb.DetectLanguageRequest) -> Detect:
        """Return a call of DetectLanguage; one bad text does not fail its neighbours.

        Raises:
            InvalidRequest: As the contract says.
        """
        _check_mime_type(request.mime_type)
        texts = request.contents
        self._check_count("contents", len(texts))
        self._call.add(texts=len(texts), code_points=sum(map(len, texts)))
        self._check_total("contents", texts)
        checked = ((place, self._text_error(f"contents[{place}]", text)) for place, text in enumerate(texts))
        errors: dict[int, DragomanError] = {place: error for place, error in checked if error is not None}
        return Detect(texts, errors, MIME_TYPES[request.mime_type])

    def align(self, request: pb.AlignRequest) -> Align:
        """Return a call of Align; a bad pair does not fail its neighbours.

        Raises:
            InvalidRequest, NotServed: As the contract says.
        """
        _check_enums(request)
        _refuse_unserved(request, _unserved_output(request.output))
        source, target = self._direction(request)
        options = Options(
            source,
            target,
            alignment=True,
            tokens=request.output.tokens,
            both_directions=not request.one_direction and (target, source) in self._pairs,
            is_bulk=request.priority == pb.PRIORITY_BULK,
            caller=self._call.caller.id,
            deadline=self._call.deadline,
            hold=self._call.hold,
        )
        self._note(options)
        self._check_count("pairs", len(request.pairs))
        texts = [_texts(pair) for pair in request.pairs]
        joined = ["".join(both) for both in texts]
        code_points = sum(map(len, joined))
        self._call.add(texts=len(joined), code_points=code_points)
        self._check_total("pairs", joined)
        pairs = [self._pair(f"pairs[{place}]", pair) for place, pair in enumerate(request.pairs)]
        return Align(options, _output(request.output), [source for source, _ in texts], pairs, code_points)

    def stream_options(
        self, request: pb.StreamTranslateRequest, known: StreamOptions | None
    ) -> StreamOptions:
        """Return the options of a stream, which its first message must bring and no other may.

        Raises:
            InvalidRequest, NotServed: As the contract says.
        """
        if known is not None:
            if request.HasField("options"):
                raise InvalidRequest("options: only the first message of a stream has them", field="options")
            return known
        if not request.HasField("options"):
            raise InvalidRequest("options: the first message of a stream must have them", field="options")
        try:
            options = self._translate_options(request.options)
        except InvalidRequest as error:
            error.field = f"options.{error.field}"
            raise
        return StreamOptions(options, _output(request.options.output))

    def stream_text(self, request: pb.StreamTranslateRequest) -> StreamText:
        """Return a text of a stream.

        Raises:
            InvalidRequest: Its id is too long.
        """
        if len(request.id) > MAX_ID:
            message = f"code points in id: {len(request.id):,}, the limit is {MAX_ID}"
            raise InvalidRequest(message, field="id", limit=MAX_ID, actual=len(request.id))
        error = self._text_error("content", request.content)
        return StreamText(request.id, request.content, request.ByteSize(), error)

    def _protects(self, decoding: pb.DecodingOptions) -> bool:
        is_given = decoding.HasField("protection")
        return decoding.protection if is_given else self._settings.protection

    def _translate_options(self, request: TranslateOptions) -> Options:
        _check_enums(request)
        _check_mime_type(request.mime_type, request.decoding)
        _check_decoding(request.decoding)
        unserved = {
            **_unserved_output(request.output),
            "glossary": bool(request.glossary),
            "do_not_translate": bool(request.do_not_translate),
        }
        _refuse_unserved(request, unserved)
        source, target = self._direction(request, is_detected=not request.source_language_code)
        decoding = request.decoding
        max_target_tokens = self._target_limit(decoding.max_target_tokens)
        search = self._search(decoding)
        if error := self._text_error("decoding.target_prefix", decoding.target_prefix):
            raise error
        options = Options(
            source,
            target,
            max_target_tokens,
            alignment=request.output.alignment != pb.ALIGNMENT_MODE_UNSPECIFIED,
            tokens=request.output.tokens,
            is_bulk=request.priority == pb.PRIORITY_BULK,
            search=search,
            prefix=decoding.target_prefix,
            markup=MIME_TYPES[request.mime_type],
            caller=self._call.caller.id,
            protect=self._protects(decoding),
        )
        self._note(options)
        return options

    def _note(self, options: Options) -> None:
        self._call.facts.update(
            pair=options.pair if options.source else f"auto-{options.target}", model=self._model
        )

    def _direction(
        self, request: TranslateOptions | pb.AlignRequest, *, is_detected: bool = False
    ) -> tuple[str, str]:
        """Return source and target language; a source that is to be detected is empty."""
        target = self._language("target_language_code", request.target_language_code)
        if is_detected:
            return "", target
        source = self._language("source_language_code", request.source_language_code)
        if source == target:
            raise InvalidRequest(
                f"source and target are the same language, {source}",
                field="target_language_code", reason="SAME_LANGUAGE",
            )  # fmt: skip
        if (source, target) not in self._pairs:
            served = ", ".join(f"{s}->{t}" for s, t in sorted(self._pairs))
            message = f"the pair {source}->{target} is not served; served: {served}"
            raise NotServed(message, reason="PAIR_NOT_SERVED", served=served)
        return source, target

    def _language(self, field: str, code: str) -> str:
        language = primary_language(code)
        if language is None:
            problem = f"{quoted(code)} is not a language code" if code else "a language is required"
            raise InvalidRequest(f"{field}: {problem}", field=field, reason="INVALID_LANGUAGE_CODE")
        if language not in self._languages:
            served = ", ".join(self._languages)
            raise NotServed(f"{field}: {language} is not served; served: {served}", served=served)
        return language

    def _target_limit(self, wanted: int) -> int:
        if not 0 <= wanted <= self._max_target_tokens:
            field = "decoding.max_target_tokens"
            message = f"{field}: {wanted}, must be between 1 and {self._max_target_tokens}"
            raise InvalidRequest(message, field=field, limit=self._max_target_tokens, actual=wanted)
        return wanted

    def _search(self, decoding: pb.DecodingOptions) -> Search:
        beam_size = decoding.beam_size or 1
        limit = self._settings.max_beam_size
        if beam_size > limit:
            field = "decoding.beam_size"
            message = f"{field}: {beam_size}, the limit is {limit}"
            raise InvalidRequest(message, field=field, limit=limit, actual=beam_size)
        penalty = decoding.length_penalty if decoding.HasField("length_penalty") else DEFAULT_LENGTH_PENALTY
        return Search(beam_size, decoding.num_alternatives, penalty)

    def _check_count(self, field: str, count: int) -> None:
        """Check the number of texts before anything visits each of them: a message holds two million."""
        if not count:
            raise InvalidRequest(f"{field} is empty", field=field, reason="EMPTY_REQUEST")
        limit = self._settings.max_texts
        if count > limit:
            raise OverLimit(
                f"items in {field}", field=field, limit=limit, actual=count, reason="TOO_MANY_TEXTS"
            )

    def _check_total(self, field: str, texts: Iterable[str]) -> None:
        """Check the length of the texts of a call together."""
        total = sum(map(len, texts))
        limit = self._settings.max_call_code_points
        if total > limit:
            raise OverLimit(
                f"code points in {field}", field=field, limit=limit, actual=total, reason="REQUEST_TOO_LONG"
            )

    def _text_error(self, field: str, text: str) -> OverLimit | None:
        """Return what is wrong with one text."""
        limit = self._settings.max_code_points
        if len(text) <= limit:
            return None
        return OverLimit(
            f"code points in {field}", field=field, limit=limit, actual=len(text), reason="TEXT_TOO_LONG"
        )

    def _pair(self, field: str, pair: pb.SentencePair) -> Pair | InvalidRequest:
        """Return a pair, or what is wrong with it."""
        source, target = _texts(pair)
        for name, text in (("source_text", source), ("target_text", target)):
            if error := self._text_error(f"{field}.{name}", text):
                return error
        try:
            return Pair(
                field,
                source,
                target,
                _locate_words(f"{field}.source_words", source, pair.source_words),
                _locate_words(f"{field}.target_words", target, pair.target_words),
            )
        except InvalidRequest as error:
            return error


def _output(output: pb.OutputOptions) -> Output:
    return Output(output.alignment == pb.ALIGNMENT_MODE_SOFT, output.tokens, output.offset_unit)


def _check_enums(request: TranslateOptions | pb.AlignRequest) -> None:
    """Refuse enum values that the contract does not have.

    Raises:
        InvalidRequest: Naming the values that it has.
    """
    for field, value, names in (
        ("output.alignment", request.output.alignment, _ALIGNMENT_MODES),
        ("output.offset_unit", request.output.offset_unit, _OFFSET_UNITS),
        ("priority", request.priority, _PRIORITIES),
    ):
        if value not in names:
            raise InvalidRequest(f"{field}: {value} is none of {', '.join(names.values())}", field=field)


def _check_mime_type(mime_type: str, decoding: pb.DecodingOptions | None = None) -> None:
    if mime_type not in MIME_TYPES:
        message = f"mime_type: {quoted(mime_type)} is none of {', '.join(kind.value for kind in Markup)}"
        raise InvalidRequest(message, field="mime_type")
    if decoding is None or MIME_TYPES[mime_type] is Markup.NONE:
        return
    for name, is_set in (
        ("num_alternatives", decoding.num_alternatives),
        ("target_prefix", decoding.target_prefix),
    ):
        if is_set:
            field = f"decoding.{name}"
            raise InvalidRequest(
                f"{field}: not with mime_type {mime_type}, whose tags have no place in it", field=field
            )


def _check_decoding(decoding: pb.DecodingOptions) -> None:
    """Refuse numbers outside the ranges of the contract; a server may allow less."""
    for name, number, high in (
        ("beam_size", decoding.beam_size, MAX_BEAM_SIZE),
        ("num_alternatives", decoding.num_alternatives, decoding.beam_size or 1),
        ("length_penalty", decoding.length_penalty, MAX_LENGTH_PENALTY),
    ):
        if not 0 <= number <= high:  # also true of NaN
            field = f"decoding.{name}"
            message = f"{field}: {number}, must be between 0 and {high}"
            raise InvalidRequest(message, field=field, limit=high, actual=number)


def _unserved_output(output: pb.OutputOptions) -> dict[str, bool]:
    return {"output.word_confidence": output.word_confidence}


def _refuse_unserved(request: TranslateOptions | pb.AlignRequest, unserved: dict[str, bool]) -> None:
    """Refuse fields that the contract has and this version does not serve; nothing is ever ignored.

    Raises:
        NotYetServed: Naming the first field that is set.
    """
    for field, is_set in unserved.items():
        if is_set:
            raise NotYetServed(field)


def _texts(pair: pb.SentencePair) -> tuple[str, str]:
    """Return both texts of a pair; one that is not given is its words, joined by single spaces."""
    source = pair.source_text or " ".join(pair.source_words)
    target = pair.target_text or " ".join(pair.target_words)
    return source, target


def _locate_words(field: str, text: str, words: Sequence[str]) -> list[Span] | None:
    """Find the caller's words in a text, in order; None if the caller gave none.

    Raises:
        InvalidRequest: One does not occur after the words before it.
    """
    return list(_spans(field, text, words)) or None


def _spans(field: str, text: str, words: Sequence[str]) -> Iterator[Span]:
    end = 0
    for index, word in enumerate(words):
        start = text.find(word, end) if word else -1
        if start < 0:
            # The word itself is not shown: an error message may be logged, a text never.
            message = f"{field}[{index}] does not occur in the text after the words before it"
            raise InvalidRequest(message, field=f"{field}[{index}]", reason="WORDS_NOT_IN_TEXT")
        end = start + len(word)
        yield Span(start, end)
