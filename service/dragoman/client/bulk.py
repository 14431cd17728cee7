"""Bulk translation: many lines through one stream after another, in order, none lost and none twice.

A reader takes in lines while there is room for more in flight. When a connection breaks, the next attempt sends the
unfinished lines again. A translation is handed out whole, after those of all earlier lines.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dragoman.client.errors import ServerError
from dragoman.client.sync import TextStream
from dragoman.types import Translation

MAX_LINES = 256  # under way; a server holds as many of one stream
MAX_CODE_POINTS = 200_000  # of these lines together, unless one alone is longer
MAX_BYTES = 4_000_000  # of one line: what is sent in a message, which holds 4 MiB unless the server was told otherwise
MAX_ATTEMPTS = 8  # in a row without a single line done: half a minute
MAX_TRIES = 3  # of one line that the server could not do in time
MAX_WAITS = 20  # of one line for the quota, each as long as the server said: others may use the same key
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 10.0
_CAREFUL = 10  # waits without another refusal, after which all lines may be under way again
_STALL_SECONDS = 300.0  # without a reply, after which the connection is taken for dead
_TICK_SECONDS = 0.5

# Calls that another attempt may do better: what was lost on the way, refused for the moment, or cut off.
PASSING = {
    "UNAVAILABLE",
    "RESOURCE_EXHAUSTED",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "UNKNOWN",
    "ABORTED",
}
PASSING_OF_A_TEXT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}

Texts = Iterable[tuple[str, str]]


@dataclass(eq=False)
class Line:
    """A line in flight, and its outcome once it is known.

    Attributes:
        number: From 1.
        sent: The attempt in which it was sent last.
        tries: How often it failed.
        not_before: When it may be sent again.
    """

    number: int
    text: str
    outcome: Translation | ServerError | None = None
    sent: int = 0
    tries: int = 0
    not_before: float = 0.0


class Bulk:
    """One run over some lines; iterate it once."""

    def __init__(
        self,
        open_stream: Callable[[Texts], TextStream],
        lines: Iterable[str],
        *,
        first: int = 1,
        tell: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare a run.

        Args:
            open_stream: `Client.stream`, but for the texts.
            first: Number of the first line.
            tell: Hears of every attempt that broke off.
            pause: Waits between two attempts.
        """
        self._open = open_stream
        self._lines = lines
        self._first = first
        self._tell = tell
        self._pause = pause
        self._changed = threading.Condition()
        self._under_way: deque[Line] = deque()
        self._is_read = False
        self._is_over = False
        self._is_paused = False
        self._failure: BaseException | None = None  # of the reader
        self._attempt = self._fruitless = 0
        self._has_begun = False
        self._last_reply = time.monotonic()
        # Of a quota that is used up: when there is more, and until when one line at a time asks for it.
        self._quota_at = self._careful_until = 0.0

    def __iter__(self) -> Iterator[Line]:
        """Yield each line with its outcome, in order.

        Raises:
            ServerError: The server refuses, or does not come back.
        """
        threading.Thread(target=self._read, name="bulk-reader", daemon=True).start()
        try:
            while self._has_line():  # a stream without any is an error
                yield from self._done()
                if self._under_way:
                    yield from self._try()
            if self._failure is not None:
                raise self._failure
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _try(self) -> Iterator[Line]:
        """Open a stream and consume its replies until it ends or breaks off."""
        self._attempt += 1
        self._is_paused = False
        self._last_reply = time.monotonic()
        stream = self._open(self._texts(self._attempt))
        over = threading.Event()
        threading.Thread(target=self._watch, args=(stream, over), name="bulk-watch", daemon=True).start()
        try:
            for id_, outcome in stream:
                self._settle(int(id_), outcome)
                yield from self._done()
            if not (self._is_done() or self._is_paused):
                raise ServerError("UNAVAILABLE", "the stream ended before all lines were done")
        except ServerError as error:
            self._recover(error)
        finally:
            over.set()
            stream.cancel()

    def _recover(self, error: ServerError) -> None:
        """Wait before the next attempt, longer each time and as long as the server asks for.

        Raises:
            ServerError: There is no point in another.
        """
        self._fruitless += 1
        has_server = self._has_begun or error.reason  # a mistyped address is better said at once
        if error.code not in PASSING or not has_server or self._fruitless >= MAX_ATTEMPTS:
            raise error
        seconds = max(_pause_seconds(self._fruitless), error.retry_seconds)
        self._tell(f"{error}; going on in {seconds:.1f} s")
        self._pause(seconds)

    def _read(self) -> None:
        """Read lines while there is room for more in flight."""
        try:
            for number, text in enumerate(self._lines, start=self._first):
                with self._changed:
                    while not (self._is_over or self._has_room(len(text))):
                        self._changed.wait()
                    if self._is_over:
                        return
                    self._under_way.append(Line(number, text, _refusal(text)))
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - whoever iterates is told, after the lines before
            self._failure = error
        finally:
            with self._changed:
                self._is_read = True
                self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        total = size + sum(len(line.text) for line in self._under_way)
        return not self._under_way or (len(self._under_way) < MAX_LINES and total <= MAX_CODE_POINTS)

    def _texts(self, attempt: int) -> Iterator[tuple[str, str]]:
        """Yield the lines to send, until this attempt ends or no more can come."""
        while True:
            with self._changed:
                while (line := self._unsent(attempt)) is None:
                    if self._is_over or attempt != self._attempt or self._is_done():
                        return
                    if self._is_held_up():
                        self._is_paused = True
                        return
                    self._changed.wait(_TICK_SECONDS)
                line.sent = attempt
            yield str(line.number), line.text

    def _unsent(self, attempt: int) -> Line | None:
        if attempt != self._attempt:
            return None
        now = time.monotonic()
        undone = [line for line in self._under_way if line.outcome is None]
        if now < self._quota_at or (
            now < self._careful_until and any(line.sent == attempt for line in undone)
        ):
            return None
        return next((line for line in undone if line.sent < attempt and line.not_before <= now), None)

    def _settle(self, number: int, outcome: Translation | ServerError) -> None:
        """Record the outcome of a line, or schedule another attempt if one may succeed."""
        with self._changed:
            self._has_begun = True
            self._fruitless = 0
            self._last_reply = time.monotonic()
            line = next(line for line in self._under_way if line.number == number)
            if isinstance(outcome, ServerError) and outcome.code in PASSING_OF_A_TEXT:
                line.tries += 1
                if outcome.reason == "QUOTA_EXHAUSTED":
                    self._save_quota(outcome)
                    if line.tries < MAX_WAITS:
                        line.sent = 0
                        return
                elif line.tries < MAX_TRIES:
                    seconds = max(_pause_seconds(2 + line.tries), outcome.retry_seconds)
                    line.sent, line.not_before = 0, self._last_reply + seconds
                    return
            line.outcome = outcome
            self._changed.notify_all()

    def _save_quota(self, refusal: ServerError) -> None:
        """Wait until there is more, then let one line at a time ask: a whole window would be refused again but for one."""
        seconds = max(_FIRST_PAUSE_SECONDS, refusal.retry_seconds)
        if self._last_reply >= self._careful_until:
            self._tell(f"{refusal}; going on in {seconds:.1f} s")
        self._quota_at = self._last_reply + seconds
        self._careful_until = max(self._careful_until, self._quota_at + _CAREFUL * seconds)

    def _done(self) -> Iterator[Line]:
        """Yield the lines at the head that are done."""
        while self._under_way and self._under_way[0].outcome is not None:
            line = self._under_way[0]
            yield line
            with self._changed:
                self._under_way.popleft()
                self._changed.notify_all()

    def _has_line(self) -> bool:
        """Wait for the next line, or for the end of all."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way or self._is_read)
        return bool(self._under_way)

    def _is_done(self) -> bool:
        return self._is_read and all(line.outcome is not None for line in self._under_way)

    def _is_held_up(self) -> bool:
        """Tell whether the first line was never sent, and the server has nothing to do until it is told of."""
        is_idle = all(line.outcome is not None for line in self._under_way)
        return is_idle and bool(self._under_way) and not self._under_way[0].sent

    def _watch(self, stream: TextStream, over: threading.Event) -> None:
        """Cancel a stream whose server has stopped answering although lines are in flight."""
        while not over.wait(_TICK_SECONDS):
            is_waiting = any(line.sent and line.outcome is None for line in self._under_way.copy())
            if not is_waiting:
                self._last_reply = time.monotonic()
            elif time.monotonic() - self._last_reply > _STALL_SECONDS:
                stream.cancel()


def _refusal(text: str) -> ServerError | None:
    """Say of a line that no message can hold what the server would say: to send it would end the stream for all."""
    size = 4 * len(text)  # at most, in UTF-8
    if size > MAX_BYTES:
        size = len(text.encode())
    if size <= MAX_BYTES:
        return None
    message = f"bytes in one line: {size:,}, the limit is {MAX_BYTES:,}"
    return ServerError(
        "INVALID_ARGUMENT", message, "TEXT_TOO_LONG", {"limit": str(MAX_BYTES), "actual": str(size)}
    )


def _pause_seconds(attempt: int) -> float:
    """Return how long to wait after so many failures; never the same for two callers."""
    seconds: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return seconds * random.uniform(0.8, 1.2)
