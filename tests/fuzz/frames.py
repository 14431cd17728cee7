"""HTTP/2 by hand, so that it can be wrong: frames, header blocks, and connections that misbehave."""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from dragoman.observability.metrics import SERVICE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
_CANCEL = struct.pack(">I", 8)  # an error code
_PATIENCE_SECONDS = 10.0
Headers = list[tuple[bytes, bytes]]


def frame(
    kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None
) -> bytes:
    """Return a frame, whose length may be a lie."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream & 0xFFFFFFFF) + payload


def block(headers: Headers) -> bytes:
    """Return headers as literals without index, which HPACK always allows."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, size = len(text) - 127, b"\x7f"
    while rest > 127:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    return size + bytes([rest]) + text


def call_headers(method: str = "Translate", service: str = SERVICE) -> Headers:
    """Return the headers of a proper call."""
    return [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", f"/{service}/{method}".encode()),
        (b":authority", b"localhost"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
    ]  # fmt: skip


def call(payload: bytes, stream: int = 1, headers: Headers | None = None) -> bytes:
    """Return the frames of a call with one message."""
    message = b"\0" + struct.pack(">I", len(payload)) + payload
    written = block(call_headers() if headers is None else headers)
    return frame(HEADERS, END_HEADERS, stream, written) + frame(DATA, END_STREAM, stream, message)


def opened(stream: int, headers: Headers | None = None, *, is_reset: bool = False) -> bytes:
    """Return the frames of a call without a message: one that ends at once, or one that is taken back (CVE-2023-44487)."""
    written = block(call_headers() if headers is None else headers)
    if is_reset:
        return frame(HEADERS, END_HEADERS, stream, written) + frame(RST_STREAM, 0, stream, _CANCEL)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, written)


HELLO = PREFACE + frame(SETTINGS)
_GOOD = b"\x0a\x03Hi.\x12\x02en\x1a\x02fr"  # contents, source, target


@dataclass(frozen=True)
class Connection:
    """What a client sends, and how it ends."""

    sent: bytes
    ends: str  # close, reset, finish (its side only), stay
    name: str = ""


def _flood(kind: int, payload: bytes, stream: int = 0) -> Callable[[int], bytes]:
    return lambda times: HELLO + frame(kind, 0, stream, payload) * times


def _resets(times: int) -> bytes:
    return HELLO + b"".join(opened(2 * n + 1, is_reset=True) for n in range(times))


def _odd_headers(name: bytes, value: bytes) -> bytes:
    """Return a call one of whose headers is odd, instead of the usual one or besides."""
    usual = [(n, v) for n, v in call_headers() if n != name]
    return HELLO + call(
        _GOOD, headers=[*([(name, value)] if name[:1] == b":" else []), *usual, (name, value)][:60]
    )


def _odd_message(flag: int, length: int, payload: bytes, ends: int) -> bytes:
    message = bytes([flag]) + struct.pack(">I", length) + payload
    return HELLO + frame(HEADERS, END_HEADERS, 1, block(call_headers())) + frame(DATA, ends, 1, message)


_HEADER_NAMES = (
    b":path", b":method", b":scheme", b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding",
    b"x-request-id", b"traceparent", b"X-UPPER", b"", b"grpc-trace-bin", b"grpc-tags-bin", b"connection", b"content-length",
    b"user-agent", b"grpc-previous-rpc-attempts",
)  # fmt: skip
_HEADER_VALUES = (
    b"", b"x", b"\0", b"a\r\nb: c", b"-1S", b"99999999999999999999H", b"0n", b"1", b"gzip", b"deflate,identity,made-up",
    b"/", b"/a/b/c", b"/" + b"x" * 3000, b"GET", b"\xff\xfe", b"application/json", b"!!!not base64", b"y" * 9000,
    b"00-" + b"f" * 32 + b"-" + b"f" * 16 + b"-ff", b"\xe2\x80\xae", b"18446744073709551616",
)  # fmt: skip
_NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1, 2**31, 2**32 - 1])
_FRAMES = st.builds(
    frame,
    st.integers(0, 12), st.integers(0, 255), _NUMBERS, st.binary(max_size=40),
    st.one_of(st.none(), st.sampled_from([0, 1, 16_385, 2**24 - 1])),
)  # fmt: skip
_TIMES = st.sampled_from([1, 10, 100, 400])
SENT = {
    "garbage": st.binary(max_size=200),
    "preface": st.sampled_from([
        b"", b"\0", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
        PREFACE[:10], PREFACE, PREFACE[:-1] + b"X", b"PRI * HTTP/1.1\r\n\r\n", PREFACE * 2, b"POST / HTTP/1.0\r\n" * 500,
    ]),
    "frames": st.lists(_FRAMES, max_size=12).map(lambda frames: HELLO + b"".join(frames)),
    "calls-and-frames": st.lists(_FRAMES, max_size=5).map(lambda frames: HELLO + call(_GOOD) + b"".join(frames)),
    "oversized": st.sampled_from([
        HELLO + frame(DATA, 0, 1, b"", 2**24 - 1), HELLO + frame(HEADERS, END_HEADERS, 1, b"\0" * 20_000),
        HELLO + frame(HEADERS, END_HEADERS, 1, block(call_headers())) + frame(DATA, 0, 1, b"\0" * 2**20),
        HELLO + frame(99, 0, 0, b"x" * 100_000), HELLO + frame(SETTINGS, 0, 0, b"\0" * 6 * 2000),
    ]),
    "settings": st.lists(st.tuples(st.integers(0, 9), _NUMBERS), max_size=8).map(
        lambda pairs: PREFACE
        + frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in pairs))
        + call(_GOOD)
    ),
    "resets": _TIMES.map(_resets),
    "pings": _TIMES.map(_flood(PING, b"12345678")),
    "settings-flood": _TIMES.map(_flood(SETTINGS, b"\0\3\0\0\0\1")),
    "windows": _TIMES.map(_flood(WINDOW_UPDATE, b"\x7f\xff\xff\xff")),
    "empty-data": _TIMES.map(lambda n: HELLO + frame(HEADERS, END_HEADERS, 1, block(call_headers())) + frame(DATA, 0, 1) * n),
    "continuations": _TIMES.map(lambda n: HELLO + frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 50) * n),
    "headers": st.builds(_odd_headers, st.sampled_from(_HEADER_NAMES), st.sampled_from(_HEADER_VALUES)),
    "message": st.builds(
        _odd_message, st.sampled_from([0, 1, 2, 255]), st.sampled_from([0, 1, 15, 16, 2**22 + 1, 2**32 - 1]),
        st.sampled_from([b"", _GOOD, b"\xff" * 16]), st.sampled_from([0, END_STREAM]),
    ),
    "many-calls": st.sampled_from([2, 20, 120]).map(
        lambda n: HELLO + b"".join(call(_GOOD, 2 * number + 1) for number in range(n))
    ),
}  # fmt: skip
CONNECTIONS = st.sampled_from(sorted(SENT)).flatmap(
    lambda name: st.builds(
        Connection, SENT[name], st.sampled_from(["close", "reset", "finish", "stay"]), st.just(name)
    )
)


def connect(port: int) -> socket.socket:
    """Return a connection to the server, which may be about to listen anew."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def misbehave(port: int, connection: Connection) -> socket.socket | None:
    """Send what a connection says and end it; return the socket of one that stays."""
    opened = connect(port)
    try:
        opened.sendall(connection.sent)
        opened.settimeout(0.002)
        opened.recv(4096)
    except OSError:  # the server has every right to hang up, or to say nothing
        pass
    if connection.ends == "stay":
        return opened
    if connection.ends == "reset":
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif connection.ends == "finish":
        _finish(opened)
    opened.close()
    return None


def _finish(opened: socket.socket) -> None:
    try:
        opened.shutdown(socket.SHUT_WR)
        opened.recv(4096)
    except OSError:
        pass


def trickle(port: int, payload: bytes, *, chunk: int, pause: float) -> bool:
    """Send a proper call a few bytes at a time; tell whether it was answered to the end."""
    with connect(port) as opened:
        sent = HELLO + call(payload)
        for first in range(0, len(sent), chunk):
            opened.sendall(sent[first : first + chunk])
            time.sleep(pause)
        return _is_answered(opened)


def _is_answered(opened: socket.socket) -> bool:
    """Read frames until one ends stream 1."""
    received = b""
    while True:
        while len(received) >= 9 and len(received) >= 9 + (size := int.from_bytes(received[:3])):
            kind, flags, stream = received[3], received[4], int.from_bytes(received[5:9])
            if stream == 1 and kind == HEADERS and flags & END_STREAM:
                return True
            received = received[9 + size :]
        more = opened.recv(65_536)
        if not more:
            return False
        received += more
