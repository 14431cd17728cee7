"""Hostile requests: valid protobuf with fields that nobody should send, and bytes that are not protobuf at all."""

import math
import struct
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from dragoman.v1 import translation_pb2 as pb

NASTY = (
    "\u202e", "\u2066x\u2069", "\u200b", "\u200d", "\ufeff", "\x00", "\x1b[31m", "\x07", "\x7f", "\u0085", "\u2028",
    "e\u0301\u0327", "a" + "\u0300" * 50, "\U0001f3f3\ufe0f\u200d\U0001f308", "\ufdfa", "\U0010ffff", "\ufffe",
    "\ue000", "<2fr>", "</s>", "<unk>", "▁", "<0x00>", "{{7*7}}", "%s%n", "../../etc/passwd", "\r\n\r\n", "A. ",
    "!", "...", "0123456789", "<b>", "&lt;", "'; DROP TABLE", "ſt", "İ", "ß", "𝔞", "中文。", "\t", " ", "Hello. ",
)  # fmt: skip
INTEGERS = (0, 1, -1, 2, 7, 8, 9, 99, 255, 256, 2**15, 2**31 - 1, -(2**31))
FLOATS = (0.0, -0.0, 1.0, -1.0, 5.0, 5.1, math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45)
LANGUAGES = ("en", "fr", "es", "en-US", "es_419", "de", "xx", "", "e", "en\n", "EN", "\u202een", "en" * 500)
METHODS: dict[str, type[Message]] = {
    "Translate": pb.TranslateRequest,
    "Align": pb.AlignRequest,
    "StreamTranslate": pb.StreamTranslateRequest,
    "DetectLanguage": pb.DetectLanguageRequest,
    "ListModels": pb.ListModelsRequest,
}

TEXTS = st.one_of(
    st.text(max_size=40),  # of all of Unicode
    st.lists(st.sampled_from(NASTY), max_size=12).map("".join),
    st.builds(
        lambda piece, times: piece * times, st.sampled_from(NASTY), st.sampled_from([2, 70, 900, 2500])
    ),
)


def _value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Return values of one field that are allowed on the wire and not meant by anybody."""
    kinds = FieldDescriptor
    if field.cpp_type == kinds.CPPTYPE_MESSAGE:
        return hostile(field.message_type, depth + 1)
    if field.cpp_type == kinds.CPPTYPE_STRING:
        return st.sampled_from(LANGUAGES) if field.name.endswith("language_code") else TEXTS
    if field.cpp_type in (kinds.CPPTYPE_FLOAT, kinds.CPPTYPE_DOUBLE):
        return st.sampled_from(FLOATS)
    if field.cpp_type == kinds.CPPTYPE_BOOL:
        return st.booleans()
    return st.sampled_from(INTEGERS)  # enumerations, too


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


@st.composite
def hostile(draw: st.DrawFn, descriptor: Any, depth: int = 0) -> Message:
    """Return a message of a kind of which any field may have any value."""
    message = GetMessageClass(descriptor)()
    fields = draw(st.lists(st.sampled_from(list(descriptor.fields)), max_size=4)) if descriptor.fields else []
    for field in {field.name: field for field in fields if depth < 3 or field.message_type is None}.values():
        value = _value(field, depth)
        if field.is_repeated:
            value = st.one_of(
                st.lists(value, max_size=3),
                st.tuples(value, st.sampled_from([17, 300])).map(lambda many: [many[0]] * many[1]),
            )
        _set(message, field, draw(value))
    return message


@st.composite
def plausible(draw: st.DrawFn, method: str) -> Any:
    """Return a hostile request whose languages are mostly right, so that it gets beyond the first check."""
    message: Any = draw(hostile(METHODS[method].DESCRIPTOR))
    inner = message
    if method == "StreamTranslate":
        inner = message.options
        message.content = message.content or draw(TEXTS)
    if method in ("Translate", "Align", "StreamTranslate") and draw(st.integers(0, 9)):
        inner.source_language_code, inner.target_language_code = "en", draw(st.sampled_from(["fr", "es"]))
        for field in draw(
            st.sets(st.sampled_from(["model", "mime_type", "glossary", "do_not_translate", "output"]))
        ):
            if field in inner.DESCRIPTOR.fields_by_name:
                inner.ClearField(field)
    if method == "Translate" and not message.contents:
        message.contents.append(draw(TEXTS))
    return message


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    number &= 2**64 - 1
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


UNKNOWN_FIELDS = st.one_of(
    st.just(b""),
    st.builds(
        lambda n, v: varint(n << 3) + varint(v), st.sampled_from([99, 18_999, 2**29 - 1]), st.integers()
    ),
    st.builds(
        lambda n, v: varint(n << 3 | 2) + varint(len(v)) + v, st.integers(1000, 1100), st.binary(max_size=50)
    ),
    st.builds(lambda v: varint(2000 << 3 | 1) + struct.pack("<d", v), st.sampled_from(FLOATS)),
    st.builds(
        lambda d: varint(500 << 3 | 3) * d + varint(500 << 3 | 4) * d, st.integers(1, 60)
    ),  # nested groups
)


@st.composite
def valid(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Return a method and the bytes of its messages, all of which any parser of protobuf takes."""
    method = draw(
        st.sampled_from(["Translate"] * 5 + ["Align"] * 2 + ["StreamTranslate"] * 2 + list(METHODS))
    )
    count = draw(st.integers(0, 3)) if method == "StreamTranslate" else 1
    messages = [draw(plausible(method)) for _ in range(count)]
    for later in messages[1:]:
        if draw(st.booleans()):
            later.ClearField("options")
    return method, [message.SerializeToString() + draw(UNKNOWN_FIELDS) for message in messages]


def _flip(payload: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(payload or b"\0")
    changed[place % len(changed)] ^= 1 << bit
    return bytes(changed)


BROKEN = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([
        b"\xff" * 11, b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0b" * 5000,
        b"\x0b" * 101 + b"\x0c" * 101, b"\x0c", b"\x00\x00", b"\x0e\x00", b"\x0a\x02\xc3\x28", b"\x0a\x03\xed\xa0\x80",
        b"\x0a\x04\xf4\x90\x80\x80", b"\x0a\x01\xff", b"\x12\x01\xff", b"\x3a\x02\x08", b"\x08\x80" * 500,
    ]),
)  # fmt: skip


@st.composite
def malformed(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Return a method and bytes that were a message once, or never: cut, turned, doubled, made up."""
    method, messages = draw(valid())
    made_up = [draw(BROKEN)]
    if not messages or draw(st.booleans()):
        return method, made_up
    payload = messages[0]
    cut = payload[: draw(st.integers(0, max(0, len(payload) - 1)))]
    turned = _flip(payload, draw(st.integers(0, 10_000)), draw(st.integers(0, 7)))
    return method, [draw(st.sampled_from([cut, turned, payload + made_up[0], made_up[0] + payload]))]


def _many(piece: bytes, total: int = 4 * 2**20 - 200) -> bytes:
    """Return as many of a field as fit into a message."""
    languages = pb.TranslateRequest(source_language_code="en", target_language_code="fr").SerializeToString()
    return languages + piece * (total // len(piece))


# method, message, code; a field of two bytes that becomes an object of many is worse than a long text
ENORMOUS: list[tuple[str, Callable[[], bytes], str]] = [
    ("Translate", lambda: _many(b"\x0a\x00"), "INVALID_ARGUMENT"),  # empty texts
    ("Translate", lambda: _many(b"\x0a\x03Hi."), "INVALID_ARGUMENT"),
    ("Translate", lambda: _many(b"\x0a" + varint(4_000_000) + b"x" * 4_000_000), "INVALID_ARGUMENT"),
    ("Translate", lambda: _many(b"\x0a" + varint(3_900_000) + "€".encode() * 1_300_000), "INVALID_ARGUMENT"),
    ("Translate", lambda: _many(b"\x42\x00"), "INVALID_ARGUMENT"),  # empty terms
    ("Translate", lambda: _many(b"\x32\x00"), "INVALID_ARGUMENT"),  # one option, again and again
    ("Translate", lambda: _many(b"\xf8\x3e\x01"), "INVALID_ARGUMENT"),  # unknown fields
    ("Align", lambda: _many(b"\x0a\x00"), "INVALID_ARGUMENT"),  # empty pairs
    (
        "Align",
        lambda: _many(b"\x0a" + varint(3_000_000) + b"\x1a\x00" * 1_500_000),
        "INVALID_ARGUMENT",
    ),  # empty words
    ("Translate", lambda: _many(b"\x0a\x03Hi.", 6 * 2**20), "RESOURCE_EXHAUSTED"),
]
