"""What a stranger sends to make a server hold memory, as bytes on connections that respect HTTP/2's flow control."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field

from grpc_health.v1 import health_pb2

from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.fuzz import frames

_WINDOW_BYTES = 65_535  # of a connection and of each stream, before anybody says otherwise
_FRAME_BYTES = 16_384
LARGE = 4 * 2**20 - 100  # just below the limit of a message
_NAME = health_pb2.HealthCheckRequest(service="x" * LARGE).SerializeToString()
_INVISIBLE = pb.TranslateRequest(
    contents=["\u200b" * 19_000] * 70, source_language_code="en", target_language_code="fr"
).SerializeToString()


@dataclass
class Call:
    """One call of an attack: what is sent of it, and whether it then ends.

    Attributes:
        sent: The first bytes of the body; the rest, up to `size`, is zeros.
    """

    path: str
    sent: bytes
    size: int
    is_compressed: bool = False
    ends: bool = True


def compressed(path: str, message: bytes) -> Call:
    """Return a call whose message is a hundred times as large as what is sent."""
    packed = gzip.compress(message)
    body = b"\1" + struct.pack(">I", len(packed)) + packed
    return Call(path, body, len(body), is_compressed=True)


def plain(path: str, message: bytes) -> Call:
    """Return an ordinary call."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    return Call(path, body, len(body))


ATTACKS = {
    "compressed checks of health": compressed("/grpc.health.v1.Health/Check", _NAME),
    "compressed watches of health": compressed("/grpc.health.v1.Health/Watch", _NAME),
    "long names of services": plain("/grpc.health.v1.Health/Watch", _NAME),
    "compressed reflection": compressed(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x1a\xfc\xff\xff\1" + b"x" * LARGE
    ),
    "compressed texts": compressed(f"/{SERVICE}/Translate", _INVISIBLE),
    "requests without their last byte": Call(
        f"/{SERVICE}/Translate", b"\0" + struct.pack(">I", LARGE), LARGE + 4, ends=False
    ),
}


@dataclass
class Attacker:
    """One connection with many calls at once, whose replies it reads as far as HTTP/2 itself wants."""

    port: int
    calls: list[Call]
    _unread: bytes = b""
    _connection_window: int = _WINDOW_BYTES
    _stream_window: int = _WINDOW_BYTES
    _windows: dict[int, int] = field(default_factory=dict)
    _offsets: dict[int, int] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        """Send as much as the server allows, for so long or until it closes the connection."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(frames.HELLO + b"".join(map(self._opened, range(len(self.calls)))))
            connection.settimeout(0.002)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                with suppress(TimeoutError):
                    received = connection.recv(2**16)
                    if not received:
                        return
                    self._unread += received
                connection.settimeout(10)
                connection.sendall(self._answers() + self._bodies())
                connection.settimeout(0.002)

    def _opened(self, index: int) -> bytes:
        call, stream = self.calls[index], 2 * index + 1
        self._windows[stream], self._offsets[stream] = 0, 0
        headers = [(name, value) for name, value in frames.call_headers() if name != b":path"]
        headers.insert(0, (b":path", call.path.encode()))
        if call.is_compressed:
            headers.append((b"grpc-encoding", b"gzip"))
        return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, frames.block(headers))

    def _answers(self) -> bytes:
        """Take note of what has come, and return what HTTP/2 wants in return."""
        answers = b""
        while len(self._unread) >= 9 + (size := int.from_bytes(self._unread[:3], "big")):
            kind, flags = self._unread[3], self._unread[4]
            stream = int.from_bytes(self._unread[5:9], "big")
            payload, self._unread = self._unread[9 : 9 + size], self._unread[9 + size :]
            if kind == frames.SETTINGS and not flags:
                self._heed(payload)
                answers += frames.frame(frames.SETTINGS, 1)
            elif kind == frames.PING and not flags:
                answers += frames.frame(frames.PING, 1, 0, payload)
            elif kind == frames.WINDOW_UPDATE and stream:
                self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(payload, "big")
            elif kind == frames.WINDOW_UPDATE:
                self._connection_window += int.from_bytes(payload, "big")
            elif kind == frames.RST_STREAM:
                self._windows.pop(stream, None)
        return answers

    def _heed(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == 4:  # SETTINGS_INITIAL_WINDOW_SIZE
                self._stream_window = value

    def _bodies(self) -> bytes:
        """Return a frame of each call whose window is open."""
        sent = b""
        for stream, opened in list(self._windows.items()):
            call, offset = self.calls[stream // 2], self._offsets[stream]
            room = min(
                self._stream_window + opened - offset,
                self._connection_window,
                _FRAME_BYTES,
                call.size - offset,
            )
            if room <= 0:
                continue
            piece = call.sent[offset : offset + room]
            piece += bytes(room - len(piece))
            is_last = call.ends and offset + room == call.size
            sent += frames.frame(frames.DATA, frames.END_STREAM if is_last else 0, stream, piece)
            self._offsets[stream] += room
            self._connection_window -= room
        return sent
