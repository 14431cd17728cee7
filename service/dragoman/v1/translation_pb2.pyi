import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AlignmentMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALIGNMENT_MODE_UNSPECIFIED: _ClassVar[AlignmentMode]
    ALIGNMENT_MODE_HARD: _ClassVar[AlignmentMode]
    ALIGNMENT_MODE_SOFT: _ClassVar[AlignmentMode]

class OffsetUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OFFSET_UNIT_UNSPECIFIED: _ClassVar[OffsetUnit]
    OFFSET_UNIT_UTF8_BYTE: _ClassVar[OffsetUnit]
    OFFSET_UNIT_UTF16_CODE_UNIT: _ClassVar[OffsetUnit]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_REPETITION: _ClassVar[FinishReason]

class FlagKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLAG_KIND_UNSPECIFIED: _ClassVar[FlagKind]
    FLAG_KIND_REPETITION: _ClassVar[FlagKind]
    FLAG_KIND_UNTRANSLATED_COPY: _ClassVar[FlagKind]
    FLAG_KIND_NUMBER_MISMATCH: _ClassVar[FlagKind]
    FLAG_KIND_URL_MISMATCH: _ClassVar[FlagKind]
    FLAG_KIND_PLACEHOLDER_MISMATCH: _ClassVar[FlagKind]
    FLAG_KIND_UNCOVERED_SOURCE: _ClassVar[FlagKind]
    FLAG_KIND_LENGTH_OUTLIER: _ClassVar[FlagKind]
    FLAG_KIND_SOURCE_IS_TARGET_LANGUAGE: _ClassVar[FlagKind]
    FLAG_KIND_TARGET_CUT: _ClassVar[FlagKind]
    FLAG_KIND_SENTENCE_SPLIT: _ClassVar[FlagKind]
    FLAG_KIND_TERM_MISSED: _ClassVar[FlagKind]
    FLAG_KIND_MARKUP_MISMATCH: _ClassVar[FlagKind]
    FLAG_KIND_WRONG_SOURCE_LANGUAGE: _ClassVar[FlagKind]
ALIGNMENT_MODE_UNSPECIFIED: AlignmentMode
ALIGNMENT_MODE_HARD: AlignmentMode
ALIGNMENT_MODE_SOFT: AlignmentMode
OFFSET_UNIT_UNSPECIFIED: OffsetUnit
OFFSET_UNIT_UTF8_BYTE: OffsetUnit
OFFSET_UNIT_UTF16_CODE_UNIT: OffsetUnit
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BULK: Priority
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_REPETITION: FinishReason
FLAG_KIND_UNSPECIFIED: FlagKind
FLAG_KIND_REPETITION: FlagKind
FLAG_KIND_UNTRANSLATED_COPY: FlagKind
FLAG_KIND_NUMBER_MISMATCH: FlagKind
FLAG_KIND_URL_MISMATCH: FlagKind
FLAG_KIND_PLACEHOLDER_MISMATCH: FlagKind
FLAG_KIND_UNCOVERED_SOURCE: FlagKind
FLAG_KIND_LENGTH_OUTLIER: FlagKind
FLAG_KIND_SOURCE_IS_TARGET_LANGUAGE: FlagKind
FLAG_KIND_TARGET_CUT: FlagKind
FLAG_KIND_SENTENCE_SPLIT: FlagKind
FLAG_KIND_TERM_MISSED: FlagKind
FLAG_KIND_MARKUP_MISMATCH: FlagKind
FLAG_KIND_WRONG_SOURCE_LANGUAGE: FlagKind

class TranslateRequest(_message.Message):
    __slots__ = ("contents", "source_language_code", "target_language_code", "mime_type", "model", "decoding", "output", "glossary", "do_not_translate", "priority")
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    DO_NOT_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    contents: _containers.RepeatedScalarFieldContainer[str]
    source_language_code: str
    target_language_code: str
    mime_type: str
    model: str
    decoding: DecodingOptions
    output: OutputOptions
    glossary: _containers.RepeatedCompositeFieldContainer[GlossaryEntry]
    do_not_translate: _containers.RepeatedScalarFieldContainer[str]
    priority: Priority
    def __init__(self, contents: _Optional[_Iterable[str]] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., mime_type: _Optional[str] = ..., model: _Optional[str] = ..., decoding: _Optional[_Union[DecodingOptions, _Mapping]] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., glossary: _Optional[_Iterable[_Union[GlossaryEntry, _Mapping]]] = ..., do_not_translate: _Optional[_Iterable[str]] = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class TranslateResponse(_message.Message):
    __slots__ = ("translations", "metadata")
    TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    translations: _containers.RepeatedCompositeFieldContainer[Translation]
    metadata: ResponseMetadata
    def __init__(self, translations: _Optional[_Iterable[_Union[Translation, _Mapping]]] = ..., metadata: _Optional[_Union[ResponseMetadata, _Mapping]] = ...) -> None: ...

class StreamTranslateRequest(_message.Message):
    __slots__ = ("id", "content", "options")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    content: str
    options: StreamTranslateOptions
    def __init__(self, id: _Optional[str] = ..., content: _Optional[str] = ..., options: _Optional[_Union[StreamTranslateOptions, _Mapping]] = ...) -> None: ...

class StreamTranslateOptions(_message.Message):
    __slots__ = ("source_language_code", "target_language_code", "mime_type", "model", "decoding", "output", "glossary", "do_not_translate", "priority")
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    DO_NOT_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    mime_type: str
    model: str
    decoding: DecodingOptions
    output: OutputOptions
    glossary: _containers.RepeatedCompositeFieldContainer[GlossaryEntry]
    do_not_translate: _containers.RepeatedScalarFieldContainer[str]
    priority: Priority
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., mime_type: _Optional[str] = ..., model: _Optional[str] = ..., decoding: _Optional[_Union[DecodingOptions, _Mapping]] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., glossary: _Optional[_Iterable[_Union[GlossaryEntry, _Mapping]]] = ..., do_not_translate: _Optional[_Iterable[str]] = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class StreamTranslateResponse(_message.Message):
    __slots__ = ("id", "sentence", "translated_text", "last", "error", "source_language_code", "source_language_confidence", "model", "flags", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    sentence: Sentence
    translated_text: str
    last: bool
    error: TextError
    source_language_code: str
    source_language_confidence: float
    model: str
    flags: _containers.RepeatedCompositeFieldContainer[Flag]
    metadata: ResponseMetadata
    def __init__(self, id: _Optional[str] = ..., sentence: _Optional[_Union[Sentence, _Mapping]] = ..., translated_text: _Optional[str] = ..., last: _Optional[bool] = ..., error: _Optional[_Union[TextError, _Mapping]] = ..., source_language_code: _Optional[str] = ..., source_language_confidence: _Optional[float] = ..., model: _Optional[str] = ..., flags: _Optional[_Iterable[_Union[Flag, _Mapping]]] = ..., metadata: _Optional[_Union[ResponseMetadata, _Mapping]] = ...) -> None: ...

class DecodingOptions(_message.Message):
    __slots__ = ("beam_size", "num_alternatives", "length_penalty", "max_target_tokens", "target_prefix", "protection")
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    NUM_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    MAX_TARGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TARGET_PREFIX_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    beam_size: int
    num_alternatives: int
    length_penalty: float
    max_target_tokens: int
    target_prefix: str
    protection: bool
    def __init__(self, beam_size: _Optional[int] = ..., num_alternatives: _Optional[int] = ..., length_penalty: _Optional[float] = ..., max_target_tokens: _Optional[int] = ..., target_prefix: _Optional[str] = ..., protection: _Optional[bool] = ...) -> None: ...

class OutputOptions(_message.Message):
    __slots__ = ("alignment", "offset_unit", "word_confidence", "tokens")
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_UNIT_FIELD_NUMBER: _ClassVar[int]
    WORD_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    alignment: AlignmentMode
    offset_unit: OffsetUnit
    word_confidence: bool
    tokens: bool
    def __init__(self, alignment: _Optional[_Union[AlignmentMode, str]] = ..., offset_unit: _Optional[_Union[OffsetUnit, str]] = ..., word_confidence: _Optional[bool] = ..., tokens: _Optional[bool] = ...) -> None: ...

class GlossaryEntry(_message.Message):
    __slots__ = ("source_term", "target_term", "case_sensitive")
    SOURCE_TERM_FIELD_NUMBER: _ClassVar[int]
    TARGET_TERM_FIELD_NUMBER: _ClassVar[int]
    CASE_SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    source_term: str
    target_term: str
    case_sensitive: bool
    def __init__(self, source_term: _Optional[str] = ..., target_term: _Optional[str] = ..., case_sensitive: _Optional[bool] = ...) -> None: ...

class Translation(_message.Message):
    __slots__ = ("translated_text", "source_language_code", "model", "sentences", "flags", "error", "source_language_confidence")
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SENTENCES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    translated_text: str
    source_language_code: str
    model: str
    sentences: _containers.RepeatedCompositeFieldContainer[Sentence]
    flags: _containers.RepeatedCompositeFieldContainer[Flag]
    error: TextError
    source_language_confidence: float
    def __init__(self, translated_text: _Optional[str] = ..., source_language_code: _Optional[str] = ..., model: _Optional[str] = ..., sentences: _Optional[_Iterable[_Union[Sentence, _Mapping]]] = ..., flags: _Optional[_Iterable[_Union[Flag, _Mapping]]] = ..., error: _Optional[_Union[TextError, _Mapping]] = ..., source_language_confidence: _Optional[float] = ...) -> None: ...

class Sentence(_message.Message):
    __slots__ = ("source_span", "target_span", "score", "finish_reason", "source_words", "target_words", "links", "source_tokens", "target_tokens", "attention", "alternatives", "error")
    SOURCE_SPAN_FIELD_NUMBER: _ClassVar[int]
    TARGET_SPAN_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_WORDS_FIELD_NUMBER: _ClassVar[int]
    TARGET_WORDS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TARGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    source_span: Span
    target_span: Span
    score: float
    finish_reason: FinishReason
    source_words: _containers.RepeatedCompositeFieldContainer[Word]
    target_words: _containers.RepeatedCompositeFieldContainer[Word]
    links: _containers.RepeatedCompositeFieldContainer[AlignmentLink]
    source_tokens: _containers.RepeatedCompositeFieldContainer[Token]
    target_tokens: _containers.RepeatedCompositeFieldContainer[Token]
    attention: AttentionMatrix
    alternatives: _containers.RepeatedCompositeFieldContainer[Alternative]
    error: TextError
    def __init__(self, source_span: _Optional[_Union[Span, _Mapping]] = ..., target_span: _Optional[_Union[Span, _Mapping]] = ..., score: _Optional[float] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., source_words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., target_words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[AlignmentLink, _Mapping]]] = ..., source_tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ..., target_tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ..., attention: _Optional[_Union[AttentionMatrix, _Mapping]] = ..., alternatives: _Optional[_Iterable[_Union[Alternative, _Mapping]]] = ..., error: _Optional[_Union[TextError, _Mapping]] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("span", "confidence")
    SPAN_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    span: Span
    confidence: float
    def __init__(self, span: _Optional[_Union[Span, _Mapping]] = ..., confidence: _Optional[float] = ...) -> None: ...

class AlignmentLink(_message.Message):
    __slots__ = ("source_word", "target_word", "weight")
    SOURCE_WORD_FIELD_NUMBER: _ClassVar[int]
    TARGET_WORD_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    source_word: int
    target_word: int
    weight: float
    def __init__(self, source_word: _Optional[int] = ..., target_word: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("piece", "span", "log_probability")
    PIECE_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    piece: str
    span: Span
    log_probability: float
    def __init__(self, piece: _Optional[str] = ..., span: _Optional[_Union[Span, _Mapping]] = ..., log_probability: _Optional[float] = ...) -> None: ...

class AttentionMatrix(_message.Message):
    __slots__ = ("rows", "columns", "weights")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: int
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[int] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Alternative(_message.Message):
    __slots__ = ("text", "score", "words", "links")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    words: _containers.RepeatedCompositeFieldContainer[Word]
    links: _containers.RepeatedCompositeFieldContainer[AlignmentLink]
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[AlignmentLink, _Mapping]]] = ...) -> None: ...

class Flag(_message.Message):
    __slots__ = ("kind", "source_span", "target_span", "value")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SPAN_FIELD_NUMBER: _ClassVar[int]
    TARGET_SPAN_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    kind: FlagKind
    source_span: Span
    target_span: Span
    value: float
    def __init__(self, kind: _Optional[_Union[FlagKind, str]] = ..., source_span: _Optional[_Union[Span, _Mapping]] = ..., target_span: _Optional[_Union[Span, _Mapping]] = ..., value: _Optional[float] = ...) -> None: ...

class TextError(_message.Message):
    __slots__ = ("code", "message", "reason", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    reason: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ResponseMetadata(_message.Message):
    __slots__ = ("queue_seconds", "encode_seconds", "decode_seconds", "source_tokens", "target_tokens", "model_version", "request_id")
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DECODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TARGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    queue_seconds: float
    encode_seconds: float
    decode_seconds: float
    source_tokens: int
    target_tokens: int
    model_version: str
    request_id: str
    def __init__(self, queue_seconds: _Optional[float] = ..., encode_seconds: _Optional[float] = ..., decode_seconds: _Optional[float] = ..., source_tokens: _Optional[int] = ..., target_tokens: _Optional[int] = ..., model_version: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class AlignRequest(_message.Message):
    __slots__ = ("pairs", "source_language_code", "target_language_code", "output", "model", "priority", "one_direction")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ONE_DIRECTION_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[SentencePair]
    source_language_code: str
    target_language_code: str
    output: OutputOptions
    model: str
    priority: Priority
    one_direction: bool
    def __init__(self, pairs: _Optional[_Iterable[_Union[SentencePair, _Mapping]]] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., model: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., one_direction: _Optional[bool] = ...) -> None: ...

class SentencePair(_message.Message):
    __slots__ = ("source_text", "target_text", "source_words", "target_words")
    SOURCE_TEXT_FIELD_NUMBER: _ClassVar[int]
    TARGET_TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_WORDS_FIELD_NUMBER: _ClassVar[int]
    TARGET_WORDS_FIELD_NUMBER: _ClassVar[int]
    source_text: str
    target_text: str
    source_words: _containers.RepeatedScalarFieldContainer[str]
    target_words: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source_text: _Optional[str] = ..., target_text: _Optional[str] = ..., source_words: _Optional[_Iterable[str]] = ..., target_words: _Optional[_Iterable[str]] = ...) -> None: ...

class AlignResponse(_message.Message):
    __slots__ = ("alignments", "metadata")
    ALIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    alignments: _containers.RepeatedCompositeFieldContainer[Sentence]
    metadata: ResponseMetadata
    def __init__(self, alignments: _Optional[_Iterable[_Union[Sentence, _Mapping]]] = ..., metadata: _Optional[_Union[ResponseMetadata, _Mapping]] = ...) -> None: ...

class DetectLanguageRequest(_message.Message):
    __slots__ = ("contents", "mime_type")
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    contents: _containers.RepeatedScalarFieldContainer[str]
    mime_type: str
    def __init__(self, contents: _Optional[_Iterable[str]] = ..., mime_type: _Optional[str] = ...) -> None: ...

class DetectLanguageResponse(_message.Message):
    __slots__ = ("detections", "metadata")
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    detections: _containers.RepeatedCompositeFieldContainer[LanguageDetection]
    metadata: ResponseMetadata
    def __init__(self, detections: _Optional[_Iterable[_Union[LanguageDetection, _Mapping]]] = ..., metadata: _Optional[_Union[ResponseMetadata, _Mapping]] = ...) -> None: ...

class LanguageDetection(_message.Message):
    __slots__ = ("languages", "error")
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedCompositeFieldContainer[DetectedLanguage]
    error: TextError
    def __init__(self, languages: _Optional[_Iterable[_Union[DetectedLanguage, _Mapping]]] = ..., error: _Optional[_Union[TextError, _Mapping]] = ...) -> None: ...

class DetectedLanguage(_message.Message):
    __slots__ = ("language_code", "confidence")
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    language_code: str
    confidence: float
    def __init__(self, language_code: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "limits", "runtime")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    limits: Limits
    runtime: Runtime
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., runtime: _Optional[_Union[Runtime, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "is_default", "checksum", "language_pairs", "max_source_tokens", "max_target_tokens", "vocabulary_size", "num_parameters", "precision", "alignment_head", "load_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_PAIRS_FIELD_NUMBER: _ClassVar[int]
    MAX_SOURCE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_TARGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    NUM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_HEAD_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    is_default: bool
    checksum: str
    language_pairs: _containers.RepeatedCompositeFieldContainer[LanguagePair]
    max_source_tokens: int
    max_target_tokens: int
    vocabulary_size: int
    num_parameters: int
    precision: str
    alignment_head: AlignmentHead
    load_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., is_default: _Optional[bool] = ..., checksum: _Optional[str] = ..., language_pairs: _Optional[_Iterable[_Union[LanguagePair, _Mapping]]] = ..., max_source_tokens: _Optional[int] = ..., max_target_tokens: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., num_parameters: _Optional[int] = ..., precision: _Optional[str] = ..., alignment_head: _Optional[_Union[AlignmentHead, _Mapping]] = ..., load_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LanguagePair(_message.Message):
    __slots__ = ("source_language_code", "target_language_code")
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ...) -> None: ...

class AlignmentHead(_message.Message):
    __slots__ = ("layer", "head", "guided")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    GUIDED_FIELD_NUMBER: _ClassVar[int]
    layer: int
    head: int
    guided: bool
    def __init__(self, layer: _Optional[int] = ..., head: _Optional[int] = ..., guided: _Optional[bool] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_texts_per_call", "max_code_points_per_text", "max_code_points_per_call", "max_message_bytes", "default_beam_size", "max_beam_size", "default_deadline_seconds", "max_queued_sentences", "max_running_sentences", "max_glossary_entries", "max_term_code_points")
    MAX_TEXTS_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    MAX_CODE_POINTS_PER_TEXT_FIELD_NUMBER: _ClassVar[int]
    MAX_CODE_POINTS_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUED_SENTENCES_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_SENTENCES_FIELD_NUMBER: _ClassVar[int]
    MAX_GLOSSARY_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_TERM_CODE_POINTS_FIELD_NUMBER: _ClassVar[int]
    max_texts_per_call: int
    max_code_points_per_text: int
    max_code_points_per_call: int
    max_message_bytes: int
    default_beam_size: int
    max_beam_size: int
    default_deadline_seconds: float
    max_queued_sentences: int
    max_running_sentences: int
    max_glossary_entries: int
    max_term_code_points: int
    def __init__(self, max_texts_per_call: _Optional[int] = ..., max_code_points_per_text: _Optional[int] = ..., max_code_points_per_call: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., default_beam_size: _Optional[int] = ..., max_beam_size: _Optional[int] = ..., default_deadline_seconds: _Optional[float] = ..., max_queued_sentences: _Optional[int] = ..., max_running_sentences: _Optional[int] = ..., max_glossary_entries: _Optional[int] = ..., max_term_code_points: _Optional[int] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("server_version", "engine_version", "kernel_set", "num_threads", "cpu_limit_cores", "detectable_language_codes")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    KERNEL_SET_FIELD_NUMBER: _ClassVar[int]
    NUM_THREADS_FIELD_NUMBER: _ClassVar[int]
    CPU_LIMIT_CORES_FIELD_NUMBER: _ClassVar[int]
    DETECTABLE_LANGUAGE_CODES_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    engine_version: str
    kernel_set: str
    num_threads: int
    cpu_limit_cores: float
    detectable_language_codes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, server_version: _Optional[str] = ..., engine_version: _Optional[str] = ..., kernel_set: _Optional[str] = ..., num_threads: _Optional[int] = ..., cpu_limit_cores: _Optional[float] = ..., detectable_language_codes: _Optional[_Iterable[str]] = ...) -> None: ...
