"""Many lines through streams that break: in order, none lost, none twice, and not too much at once."""

import itertools
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.client import bulk
from dragoman.client.bulk import Bulk, Texts
from dragoman.client.errors import ServerError
from dragoman.types import Translation

LOST = ServerError("UNAVAILABLE", "the connection is gone")


class FakeStream:
    """Answers texts in any order; breaks off after some, or goes on to the end.

    Attributes:
        taken: Ids in the order in which they came.
    """

    def __init__(self, texts: Texts, answers: int | None, error: ServerError, seed: int) -> None:
        self._texts, self._answers, self._error = texts, answers, error
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._waiting: list[tuple[str, str]] = []
        self._has_ended = False
        self.taken: list[str] = []

    def _take(self) -> None:
        for id_, text in self._texts:
            with self._changed:
                self.taken.append(id_)
                self._waiting.append((id_, text))
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        threading.Thread(target=self._take, daemon=True).start()
        for count in itertools.count():
            if count == self._answers:
                raise self._error
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._has_ended, timeout=5)
                if not self.taken:
                    raise ServerError("INVALID_ARGUMENT", "the stream has no message")
                if not self._waiting:
                    return
                id_, text = self._waiting.pop(self._random.randrange(len(self._waiting)))
            yield id_, self.answer(text)

    def answer(self, text: str) -> Translation | ServerError:
        """Return the text in capitals; one that begins with ! cannot be translated."""
        return (
            ServerError("INVALID_ARGUMENT", "bad text")
            if text.startswith("!")
            else Translation(text.upper(), [])
        )

    def cancel(self) -> None:
        """Do nothing: it is over when it is no longer asked."""


class FakeServer:
    """Opens streams that break off after so many answers each; the last ones go on to the end."""

    def __init__(self, *answers: int, error: ServerError = LOST) -> None:
        self._answers, self._error = iter(answers), error
        self.streams: list[FakeStream] = []
        self.pauses: list[float] = []

    def __call__(self, texts: Texts) -> Any:
        """Open one stream."""
        self.streams.append(FakeStream(texts, next(self._answers, None), self._error, len(self.streams)))
        return self.streams[-1]

    def run(self, lines: Any, **options: Any) -> list[tuple[int, str]]:
        """Return number and outcome of each line."""
        made = Bulk(self, lines, pause=self.pauses.append, **options)
        return [(line.number, getattr(line.outcome, "text", str(line.outcome))) for line in made]


@settings(max_examples=60)
@given(count=st.integers(0, 40), breaks=st.lists(st.integers(1, 9), max_size=6))
def test_nothing_is_lost_or_repeated(count: int, breaks: list[int]) -> None:
    """
    Wherever connections break, every line comes once, in order.
    """
    lines = [f"line {number}" for number in range(count)]

    found = FakeServer(*breaks).run(lines)

    assert [(number, line.upper()) for number, line in enumerate(lines, start=1)] == found


def test_only_what_was_not_done_is_sent_again() -> None:
    """
    After a break, lines that were answered are not sent again, also when one before them was not.
    """
    server = FakeServer(7)

    server.run([str(number) for number in range(1, 21)])

    first, second = server.streams
    assert 20 - 7 == len(set(second.taken))
    assert {str(number) for number in range(1, 21)} == {*first.taken, *second.taken}


def test_lines_are_read_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No more lines are under way than may be, however fast they could be read.
    """
    monkeypatch.setattr(bulk, "MAX_LINES", 5)
    read, most = [], 0

    def lines() -> Iterator[str]:
        for number in range(200):
            read.append(number)
            yield "x"

    for done, _ in enumerate(Bulk(FakeServer(), lines()), start=1):
        most = max(most, len(read) - done)

    assert most <= 5 + 1  # and one in the reader's hand


def test_long_lines_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Long lines are bounded together; one longer than that goes alone.
    """
    monkeypatch.setattr(bulk, "MAX_CODE_POINTS", 10)

    assert [3, 30, 4, 4, 4] == [
        len(text) for _, text in FakeServer().run(["a" * n for n in (3, 30, 4, 4, 4)])
    ]


def test_an_error_of_one_line() -> None:
    """
    A line that cannot be translated brings its error; the others go on.
    """
    found = FakeServer().run(["a", "!", "b"])

    assert [(1, "A"), (2, "INVALID_ARGUMENT: bad text"), (3, "B")] == found


def test_a_line_that_was_late_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line that the server had no time for is sent again a few times, then brings its error.
    """
    monkeypatch.setattr(bulk, "_FIRST_PAUSE_SECONDS", 0.001)
    late = ServerError("DEADLINE_EXCEEDED", "not finished")
    monkeypatch.setattr(FakeStream, "answer", lambda _, text: late)
    server = FakeServer()

    assert [(1, "DEADLINE_EXCEEDED: not finished")] == server.run(["a"])
    assert ["1"] * bulk.MAX_TRIES == server.streams[0].taken


USED_UP = ServerError("RESOURCE_EXHAUSTED", "used up", "QUOTA_EXHAUSTED", retry_seconds=0.02)


def test_a_quota_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line over the quota is sent again when there will be more, more often than one that failed, and this is told once.
    """
    monkeypatch.setattr(bulk, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(bulk, "_TICK_SECONDS", 0.001)
    monkeypatch.setattr(bulk, "_CAREFUL", 10_000)  # however slow the machine
    times = 2 * bulk.MAX_TRIES
    answers = [USED_UP] * times + [Translation("A", [])]
    monkeypatch.setattr(FakeStream, "answer", lambda _, text: answers.pop(0))
    told: list[str] = []
    began = time.monotonic()

    assert [(1, "A")] == FakeServer().run(["a"], tell=told.append)
    assert time.monotonic() - began >= times * 0.02
    assert ["RESOURCE_EXHAUSTED: used up; going on in 0.0 s"] == told


def test_a_quota_is_asked_for_by_one_line_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While a quota is used up the first line asks alone; the others wait, and are not refused again and again.
    """
    monkeypatch.setattr(bulk, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(bulk, "_TICK_SECONDS", 0.001)
    monkeypatch.setattr(bulk, "_CAREFUL", 10_000)
    left = 8

    def answer(_: FakeStream, text: str) -> Translation | ServerError:
        nonlocal left
        left -= 1
        return USED_UP if left >= 0 else Translation(text.upper(), [])

    monkeypatch.setattr(FakeStream, "answer", answer)
    server = FakeServer()

    assert [(1, "A"), (2, "B"), (3, "C")] == server.run(["a", "b", "c"])

    asked = server.streams[0].taken
    assert 3 + 8 == len(asked)
    burst = next(
        index for index, id_ in enumerate(asked) if index and id_ == "1"
    )  # lines sent before the first refusal
    assert ["1"] * (len(asked) - burst - 2) == asked[burst:-2]


def test_a_quota_that_others_use_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line that never gets its part of the quota brings its error in the end.
    """
    monkeypatch.setattr(bulk, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(bulk, "_TICK_SECONDS", 0.001)
    refused = ServerError("RESOURCE_EXHAUSTED", "used up", "QUOTA_EXHAUSTED", retry_seconds=0.001)
    monkeypatch.setattr(FakeStream, "answer", lambda _, text: refused)
    server = FakeServer()

    assert [(1, "RESOURCE_EXHAUSTED: used up")] == server.run(["a"])
    assert ["1"] * bulk.MAX_WAITS == server.streams[0].taken


def test_gives_up_in_the_end() -> None:
    """
    A server that does not come back ends the run, after pauses that grow; what was done before was handed out.
    """
    server = FakeServer(2, *[0] * 100)
    found: list[int] = []

    with pytest.raises(ServerError, match="the connection is gone"):
        found.extend(line.number for line in Bulk(server, ["a", "b", "c"], pause=server.pauses.append))

    assert bulk.MAX_ATTEMPTS == len(server.streams)
    assert sorted(found) == found
    assert all(later > 1.2 * earlier for earlier, later in itertools.pairwise(server.pauses[:5]))
    assert max(server.pauses) <= 12


def test_progress_is_patience() -> None:
    """
    Connections that break again and again do not end a run that comes on.
    """
    lines = [str(number) for number in range(40)]

    assert lines == [text for _, text in FakeServer(*[1] * 39).run(lines)]


def test_waits_as_long_as_the_server_asks() -> None:
    """
    A refusal that says when to come back is obeyed, also the first.
    """
    full = ServerError("RESOURCE_EXHAUSTED", "full", reason="QUEUE_FULL", retry_seconds=33.0)
    server = FakeServer(0, error=full)
    told: list[str] = []

    assert [(1, "A")] == server.run(["a"], tell=told.append)
    assert [33.0] == server.pauses
    assert ["RESOURCE_EXHAUSTED: full; going on in 33.0 s"] == told


@pytest.mark.parametrize(
    "error", [ServerError("UNAVAILABLE", "nobody listens"), ServerError("NOT_FOUND", "no such language", "X")]
)
def test_what_can_never_be(error: ServerError) -> None:
    """
    An address where nobody ever listened, or a request that is wrong, fails at once.
    """
    server = FakeServer(0, error=error)

    with pytest.raises(ServerError):
        server.run(["a"])

    assert [] == server.pauses


def test_no_lines() -> None:
    """
    Without a line no stream is opened, however long it takes to find out.
    """

    def lines() -> Iterator[str]:
        time.sleep(0.05)
        yield from ()

    server = FakeServer()

    assert [] == server.run(lines())
    assert [] == server.streams


def test_a_broken_input() -> None:
    """
    When the lines cannot be read any more, those before are done and then it is said.
    """

    def lines() -> Iterator[str]:
        yield "a"
        raise UnicodeError("not text")

    found: list[int] = []
    with pytest.raises(UnicodeError, match="not text"):
        found.extend(line.number for line in Bulk(FakeServer(), lines()))

    assert [1] == found


def test_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A connection on which nothing comes any more is given up.
    """
    monkeypatch.setattr(bulk, "_STALL_SECONDS", 0.05)
    monkeypatch.setattr(bulk, "_TICK_SECONDS", 0.01)
    is_cancelled = threading.Event()

    class Silent(FakeStream):
        def __iter__(self) -> Iterator[tuple[str, Any]]:
            threading.Thread(target=self._take, daemon=True).start()
            assert is_cancelled.wait(5)
            raise ServerError("CANCELLED", "given up", "STALLED")
            yield

        def cancel(self) -> None:
            is_cancelled.set()

    streams = iter([Silent, FakeStream])
    run = Bulk(lambda texts: next(streams)(texts, None, LOST, 1), ["a"], pause=lambda _: None)  # type: ignore[arg-type,return-value]

    assert [1] == [line.number for line in run]


@pytest.mark.parametrize(
    "lines", [["a", "LONG", "b"], ["LONG"], ["LONG", "a"], ["a", "LONG"], ["a", "LONG", "LONG"]]
)
def test_a_line_that_no_message_holds(lines: list[str]) -> None:
    """
    A line that would end the stream for all is never sent, and is told of in its place.
    """
    long = "é" * (bulk.MAX_BYTES // 2 + 1)
    server = FakeServer()

    made = server.run([long if line == "LONG" else line for line in lines])

    said = f"INVALID_ARGUMENT: bytes in one line: {bulk.MAX_BYTES + 2:,}, the limit is {bulk.MAX_BYTES:,}"
    assert [said if line == "LONG" else line.upper() for line in lines] == [outcome for _, outcome in made]
    sent = [id_ for stream in server.streams for id_ in stream.taken]
    assert [str(number) for number, line in enumerate(lines, 1) if line != "LONG"] == sent
