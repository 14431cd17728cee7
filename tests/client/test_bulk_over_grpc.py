"""`dragoman translate --file` through a stream: every line once, in order, whatever happens to the server."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragoman.bench.load import built_in_texts
from tests.cli.test_main import (
    COMMAND,
    ENGLISH_TO_FRENCH,
    PATIENCE,
    ROOT,
    complaint,
    dragoman,
    environment,
)
from tests.drills.replica import Replica, replica

pytestmark = pytest.mark.timeout(300)


def some_lines(count: int) -> list[str]:
    """Return lines of all lengths, some of them blank."""
    texts = [text.content for text in built_in_texts() if text.source == "en"]
    return [
        f"{number}: {text}" if number % 7 else ""
        for number, text in zip(range(count), itertools.cycle(texts))
    ]


def translating(server: Replica, file: Path, *more: str) -> list[str]:
    """Return the arguments of the command."""
    return ["translate", *ENGLISH_TO_FRENCH, "--server", server.address, "--file", str(file), *more]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """Return a running server."""
    with replica(tmp_path_factory.mktemp("bulk")) as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of lines; the last one has no end."""
    path = tmp_path / "big.txt"
    path.write_text("\n".join(some_lines(60)), "utf-8")
    return path


def test_says_what_the_process_says(server: Replica, file: Path, tmp_path: Path) -> None:
    """
    A stream gives the lines that translating here gives, blank ones too, to standard output or into a file.
    """
    here = dragoman("translate", *ENGLISH_TO_FRENCH, "--file", str(file)).stdout
    output = tmp_path / "output"

    there = dragoman(*translating(server, file)).stdout
    nothing = dragoman(*translating(server, file, "--output", str(output))).stdout

    assert here == there == output.read_text("utf-8")
    assert "" == nothing
    assert [not line for line in some_lines(60)] == [not line for line in there.splitlines()]


@pytest.mark.parametrize("more", [["--beam", "2", "--alternatives", "1"], ["--align"]], ids=["beam", "align"])
def test_options(server: Replica, tmp_path: Path, more: list[str]) -> None:
    """
    Beams, alternatives and alignments come through a stream as they are made here.
    """
    file = tmp_path / "lines"
    file.write_text("The cat sleeps. It is old.\n\nYes.\n")

    there = dragoman(*translating(server, file, *more)).stdout

    assert dragoman("translate", *ENGLISH_TO_FRENCH, "--file", str(file), *more).stdout == there


def test_standard_input(server: Replica) -> None:
    """
    What is piped in is streamed as well.
    """
    done = dragoman("translate", *ENGLISH_TO_FRENCH, "--server", server.address, typed="Yes.\n\nNo.\n")

    assert ["", 4] == [done.stdout.split("\n")[1], len(done.stdout.split("\n"))]


def test_a_bad_line(server: Replica, tmp_path: Path) -> None:
    """
    A line that cannot be translated is named and left blank, the others go on, and the exit code says so.
    """
    file = tmp_path / "lines"
    file.write_text("Yes.\n" + "x" * 20_001 + "\nNo.\n")

    done = dragoman(*translating(server, file), code=1)

    first, second, third = done.stdout.splitlines()
    assert first
    assert "" == second
    assert third
    named, summary = (line for line in done.stderr.splitlines() if "note:" not in line)
    assert named.startswith("dragoman: line 2: INVALID_ARGUMENT: code points in content: 20,001")
    assert "dragoman: 1 of the lines could not be translated and were left blank" == summary


def test_resume(server: Replica, file: Path, tmp_path: Path) -> None:
    """
    --resume goes on behind the last whole line; half a line is done again, and what is there is not touched.
    """
    whole = dragoman(*translating(server, file)).stdout
    output = tmp_path / "output"
    lines = whole.splitlines(keepends=True)
    output.write_text("kept\n" + "".join(lines[1:20]) + lines[20][:3], "utf-8")

    dragoman(*translating(server, file, "--output", str(output), "--resume"))
    dragoman(*translating(server, file, "--output", str(output), "--resume"))  # nothing is left to do

    assert "kept\n" + "".join(lines[1:]) == output.read_text("utf-8")


def test_resume_remembers_what_failed(server: Replica, tmp_path: Path) -> None:
    """
    Lines that were left blank are a failure again when the job is resumed, also where nothing is left to do.
    """
    file, output = tmp_path / "lines", tmp_path / "output"
    file.write_text("Yes.\n\n" + "x" * 20_001 + "\nNo.\n")
    command = translating(server, file, "--output", str(output))
    dragoman(*command, code=1)

    done = dragoman(*command, "--resume", code=1)

    assert "1 of the lines could not be translated and were left blank" in done.stderr
    assert 4 == len(output.read_text("utf-8").splitlines())


def test_resume_behind_a_byte_order_mark(server: Replica, file: Path, tmp_path: Path) -> None:
    """
    A first line that was left blank behind a byte order mark is counted as such, also by the run that resumes.
    """
    output = tmp_path / "output"
    file.write_text("\ufeff" + "x" * 20_001 + "\nYes.\nNo.", "utf-8")
    command = translating(server, file, "--output", str(output))
    dragoman(*command, code=1)
    whole = output.read_bytes()
    output.write_bytes(whole[: whole.rindex(b"\n") - 1])

    done = dragoman(*command, "--resume", code=1)

    assert "1 of the lines could not be translated and were left blank" in done.stderr
    assert whole == output.read_bytes()
    assert whole.startswith("\ufeff\n".encode())


def test_what_resume_refuses(server: Replica, file: Path, tmp_path: Path) -> None:
    """
    What is there is neither overwritten nor taken for something else.
    """
    output, source = tmp_path / "output", file.read_bytes()
    output.write_text("precious\n" * 61)

    assert "not empty; --resume goes on behind" in complaint(
        *translating(server, file, "--output", str(output))
    )
    more = translating(server, file, "--output", str(output), "--resume")
    assert "61 lines are done already, but there are only 60" in complaint(*more)
    assert "nobody knows how far" in complaint(*more, "--align")
    assert "--resume needs --file and --output" in complaint(*translating(server, file, "--resume"))
    itself = translating(server, file, "--output", str(file), "--resume")
    assert "that is what is to be translated" in complaint(*itself)
    assert ("precious\n" * 61, source) == (output.read_text(), file.read_bytes())


def test_a_server_that_is_killed_and_comes_back(file: Path, tmp_path: Path) -> None:
    """
    A server killed in the middle, and one told to end, cost no line and repeat none.
    """
    file.write_text("\n".join(some_lines(400)), "utf-8")
    output = tmp_path / "output"
    with replica(tmp_path, "--decode-loops", "1", "--max-running-sentences", "4") as server:
        command = [*COMMAND, *translating(server, file, "--output", str(output))]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
        try:
            wait_for_lines(output, 20)
            server.kill()
            server.start()
            wait_for_lines(output, 40)
            assert 0 == server.terminate()
            server.start()
            _, said = process.communicate(timeout=2 * PATIENCE)
        finally:
            process.kill()
    assert 0 == process.returncode, said

    assert "UNAVAILABLE" in said
    assert "going on in" in said
    expected = dragoman("translate", *ENGLISH_TO_FRENCH, "--file", str(file)).stdout
    assert expected == output.read_text("utf-8")


def wait_for_lines(path: Path, count: int) -> None:
    """Wait until a file has more lines than it has now, by so many."""
    before = path.read_bytes().count(b"\n") if path.exists() else 0
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or path.read_bytes().count(b"\n") < before + count:
        assert time.monotonic() < deadline, "no more lines come"
        time.sleep(0.02)
