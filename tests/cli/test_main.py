"""The command line as its users meet it: in processes of their own."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.bundle import Bundle
from dragoman.cli.main import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "dragoman"]
ENGLISH_TO_FRENCH = ["--from", "en", "--to", "fr"]
PATIENCE = 60.0  # seconds; a bound, not an expectation


def environment(**more: str) -> dict[str, str]:
    """Return the environment without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    return kept | {"DRAGOMAN_THREADS": "1"} | more


def dragoman(
    *arguments: str, typed: str | bytes | None = None, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a process of its own, and check its exit code.

    Args:
        typed: What it reads from standard input.
        variables: Environment variables besides the present ones.
    """
    if typed is None and not variables:
        return in_process(*arguments, code=code)
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=typed.encode() if isinstance(typed, str) else typed,
        capture_output=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=environment(**variables),
        check=False,
    )
    text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert code == text.returncode, text.stderr
    assert "Traceback" not in text.stderr
    return text


def in_process(*arguments: str, code: int) -> subprocess.CompletedProcess[str]:
    """Run a command here, which spares a second of loading libraries; what it raises, Python would say."""
    found = 0
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            main(arguments)
        except SystemExit as end:
            found = end.code if isinstance(end.code, int) else 1
            print(end.code if isinstance(end.code, str) else "", end="", file=err)
    assert code == found, err.getvalue()
    return subprocess.CompletedProcess(arguments, found, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands without the settings of whoever runs the tests."""
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("DRAGOMAN_THREADS", "1")


def complaint(*arguments: str, typed: str | bytes | None = None, **variables: str) -> str:
    """Run a command that fails, and return the one line it says."""
    done = dragoman(*arguments, typed=typed, code=1, **variables)
    assert "" == done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("dragoman: ")
    return line


@dataclass
class Serving:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    port: int
    metrics_port: int
    log: IO[str]

    @property
    def address(self) -> str:
        """Return what `--server` takes."""
        return f"127.0.0.1:{self.port}"


def start(*arguments: str) -> Serving:
    """Start a server on free ports and wait until it says where it listens."""
    log = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by `stop`; a pipe nobody reads fills up
    process = subprocess.Popen(
        [*COMMAND, "serve", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", *arguments],
        stderr=log, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    deadline, found = time.monotonic() + PATIENCE, None
    while found is None:
        log.seek(0)
        found = re.search(r"on 127\.0\.0\.1 port (\d+), metrics on port (\d+).*\n", said := log.read())
        if found is None and (process.poll() is not None or time.monotonic() > deadline):
            process.kill()
            process.wait()
            raise AssertionError(said)
        time.sleep(0.02)
    return Serving(process, int(found[1]), int(found[2]), log)


def stop(serving: Serving, number: signal.Signals = signal.SIGTERM) -> str:
    """Ask a server to stop; return what it said."""
    serving.process.send_signal(number)
    return ended(serving)


def ended(serving: Serving) -> str:
    """Wait for a server to end as it should, and return what it said after its first line."""
    serving.process.wait(PATIENCE)
    with serving.log as log:
        log.seek(0)
        _, _, said = log.read().partition("\n")
    assert 0 == serving.process.returncode, said
    return said


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """Return a running server."""
    started = start()
    yield started
    stop(started)


class TestServe:
    def test_drains_on_sigterm(self) -> None:
        """
        SIGTERM turns health to NOT_SERVING, then the process exits 0, watched or not.
        """
        started = start()
        with grpc.insecure_channel(started.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            statuses = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=PATIENCE)
            assert health_pb2.HealthCheckResponse.SERVING == next(statuses).status

            started.process.send_signal(signal.SIGTERM)

            assert health_pb2.HealthCheckResponse.NOT_SERVING == next(statuses).status
        said = ended(started)
        assert "draining" in said
        assert "Traceback" not in said

    def test_interrupt(self) -> None:
        """
        Ctrl-C stops the server as gently.
        """
        assert "draining" in stop(start(), signal.SIGINT)

    def test_taken_port(self, serving: Serving) -> None:
        """
        A taken port is one line that names the address.
        """
        line = complaint("serve", "--host", "127.0.0.1", "--port", str(serving.port), "--metrics-port", "-1")

        assert f"dragoman: cannot listen on 127.0.0.1:{serving.port}: Address already in use" == line

    def test_taken_metrics_port(self, serving: Serving) -> None:
        """
        So is a taken port of the metrics.
        """
        taken = str(serving.metrics_port)

        line = complaint("serve", "--host", "127.0.0.1", "--port", "0", "--metrics-port", taken)

        assert f"dragoman: cannot serve metrics on 127.0.0.1:{taken}: Address already in use" == line

    def test_not_our_address(self) -> None:
        """
        An address of another machine is refused.
        """
        assert "cannot listen on 192.0.2.1:0" in complaint(
            "serve", "--host", "192.0.2.1", "--metrics-port", "-1", "--port", "0"
        )

    def test_broken_bundle(self, default_bundle: Bundle, tmp_path: Path) -> None:
        """
        A bundle with one wrong byte is one line; so is one that onnxruntime cannot read.
        """
        broken = Path(shutil.copytree(default_bundle.folder, tmp_path / "bundle"))
        (broken / "decoder.onnx").write_bytes(b"no graph")

        assert "decoder.onnx is truncated or altered" in complaint("serve", "--bundle", str(broken))
        assert "decoder.onnx is truncated or altered" in complaint("check", str(broken))

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--port", "http"], "--port='http': not a whole number"),
            (["--max-texts", "0"], "--max-texts='0': must be between 1 and 2147483647"),
            (["--max-sentence-tokens", "1000"], "max_sentence_tokens=1000: the model has 512"),
            (["--bundle", "/nonexistent"], "No such file or directory"),
        ],
        ids=["type", "bound", "model", "path"],
    )
    def test_bad_setting(self, arguments: list[str], said: str) -> None:
        """
        A setting that does not fit is one line, before anything listens.
        """
        assert said in complaint("serve", *arguments)

    def test_unknown_variable(self) -> None:
        """
        A misspelt variable of the environment is refused, not ignored.
        """
        assert "DRAGOMAN_PROT: no such setting" in complaint("serve", DRAGOMAN_PROT="1")

    def test_unknown_flag(self) -> None:
        """
        An unknown flag is a usage error, and so is an abbreviated one.
        """
        for flag in ("--prot", "--metrics"):
            assert f"unrecognized arguments: {flag}" in dragoman("serve", flag, "1", code=2).stderr


class TestTranslate:
    def test_arguments(self) -> None:
        """
        Each argument gives a line, in order; a blank one stays blank.
        """
        done = dragoman("translate", *ENGLISH_TO_FRENCH, "Good morning.", "  ", "Yes.")

        first, blank, last, rest = done.stdout.split("\n")
        assert first
        assert last
        assert ("  ", "") == (blank, rest)
        assert "" == "".join(line for line in done.stderr.splitlines() if "note:" not in line)

    def test_standard_input(self) -> None:
        """
        Each line of standard input gives a line, carriage returns and empty lines included.
        """
        done = dragoman("translate", *ENGLISH_TO_FRENCH, typed="One.\r\n\n  Two.\nno end")

        lines = done.stdout.split("\n")
        assert 5 == len(lines)
        assert lines[0].endswith("\r")
        assert "" == lines[1]
        assert lines[2].startswith("  ")

    def test_file(self, tmp_path: Path) -> None:
        """
        A file gives the same lines as standard input, and no progress bar where nobody sees it.
        """
        text = "Good morning.\nThe cat sat on the mat.\n" * 40
        (tmp_path / "text").write_text(text)

        done = dragoman("translate", *ENGLISH_TO_FRENCH, "--file", str(tmp_path / "text"))

        assert dragoman("translate", *ENGLISH_TO_FRENCH, typed=text).stdout == done.stdout
        assert 80 == done.stdout.count("\n")

    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("end", ["", "\n"])
    @pytest.mark.parametrize("is_served", [False, True])
    def test_file_keeps_its_borders(
        self, serving: Serving, tmp_path: Path, mark: str, end: str, is_served: bool
    ) -> None:
        """
        A byte order mark at the beginning of a file stays there, and its last line gets no end that it did not have.
        """
        source, output = tmp_path / "text", tmp_path / "output"
        source.write_bytes(f"{mark}Yes.\r\n\nNo.{end}".encode())
        server = ["--server", serving.address] if is_served else []
        command = ["translate", *ENGLISH_TO_FRENCH, *server, "--file", str(source)]

        dragoman(*command, "--output", str(output))

        found = output.read_bytes().decode()
        first, blank, last = found.removesuffix("\n").split("\n")
        assert (mark, end) == (found[: len(mark)], found[len(found.removesuffix("\n")) :])
        assert first[len(mark)].isalpha()
        assert first.endswith("\r")
        assert "" == blank
        assert last
        whole = output.read_bytes()
        dragoman(*command, "--output", str(output), "--resume")
        assert whole == output.read_bytes()

    def test_server_and_process_agree(self, serving: Serving, tmp_path: Path) -> None:
        """
        Text, grid and picture are the same whether a server translates or this process.
        """
        outputs = []
        for where in ([], ["--server", serving.address]):
            figure = tmp_path / f"{len(where)}.svg"
            text = "The cat sat on the mat. It slept."
            done = dragoman("translate", *ENGLISH_TO_FRENCH, *where, "--align", "--svg", str(figure), text)
            outputs.append(
                (done.stdout, figure.read_text(), figure.with_stem(f"{figure.stem}-2").read_text())
            )

        assert outputs[0] == outputs[1]

    def test_align(self) -> None:
        """
        `--align` draws a grid under each translation, also of lines that are read.
        """
        for done in (
            dragoman("translate", *ENGLISH_TO_FRENCH, "--align", "The cat."),
            dragoman("translate", *ENGLISH_TO_FRENCH, "--align", typed="The cat.\n"),
        ):
            assert "[ ] link" in done.stdout

    def test_svg(self, tmp_path: Path) -> None:
        """
        `--svg` writes well-formed XML, one picture for each sentence.
        """
        figure = tmp_path / "figure.svg"

        dragoman("translate", *ENGLISH_TO_FRENCH, "--svg", str(figure), "", 'Cats & <dogs> "sat".\n\nTwo.')

        for path in (figure, tmp_path / "figure-2.svg"):
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert not (tmp_path / "figure-3.svg").exists()

    @pytest.mark.parametrize(
        ("arguments", "typed", "said"),
        [
            (["--from", "en", "--to", "de", "Hi."], None, "the pair en->de is not served; served: en->fr"),
            (["--from", "xx", "--to", "fr", "Hi."], None, "the pair xx->fr is not served"),
            ([*ENGLISH_TO_FRENCH, "--file", "/nonexistent"], None, "/nonexistent: No such file or directory"),
            ([*ENGLISH_TO_FRENCH, "--file", "a", "Hi."], None, "give texts or --file, not both"),
            (
                ENGLISH_TO_FRENCH,
                b"tea\n" * 30 + "a café, un caf".encode() + b"\xe9\n",
                "dragoman: standard input: line 31, column 15: byte 0xe9 is not UTF-8",
            ),
            ([*ENGLISH_TO_FRENCH, "--server", "127.0.0.1:1", "Hi."], None, "UNAVAILABLE"),
        ],
        ids=["pair", "language", "file", "both", "latin-1", "server"],
    )
    def test_refused(self, arguments: list[str], typed: bytes | None, said: str) -> None:
        """
        What cannot be done is one line.
        """
        assert said in complaint("translate", *arguments, typed=typed)

    def test_refused_by_a_server(self, serving: Serving) -> None:
        """
        A server's refusal is one line with its code.
        """
        line = complaint("translate", "--server", serving.address, "--from", "en", "--to", "de", "Hi.")

        assert line.startswith("dragoman: NOT_FOUND: target_language_code: de is not served")

    def test_broken_pipe(self) -> None:
        """
        A reader that has seen enough, `head` say, ends the command without a word.
        """
        with subprocess.Popen(
            [*COMMAND, "translate", *ENGLISH_TO_FRENCH],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=ROOT, env=environment(),
        ) as process:  # fmt: skip
            assert process.stdin
            assert process.stdout
            assert process.stderr
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # so that the answers do not fit into it
            process.stdin.write(b"Yes.\n" * 4000)
            process.stdin.close()
            process.stdout.readline()
            process.stdout.close()

            assert b"" == process.stderr.read()
            assert 141 == process.wait(PATIENCE)

    def test_interrupt(self) -> None:
        """
        Ctrl-C ends the command with 130 and without a stack trace.
        """
        with subprocess.Popen(
            [*COMMAND, "translate", *ENGLISH_TO_FRENCH],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=ROOT, env=environment(),
        ) as process:  # fmt: skip
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdin.write(b"Yes.\n" * 64)
            process.stdin.flush()
            process.stdout.readline()  # it is up and running, and waits for more

            process.send_signal(signal.SIGINT)

            assert 130 == process.wait(PATIENCE)
            assert b"Traceback" not in process.stderr.read()


class TestAlign:
    def test_draws_a_given_pair(self, serving: Serving, tmp_path: Path) -> None:
        """
        A given pair is drawn and scored, the same on a server and in this process.
        """
        figure = tmp_path / "figure.svg"
        given = ["align", *ENGLISH_TO_FRENCH, "The cat.", "Le chat.", "--svg", str(figure)]

        here = dragoman(*given)
        there = dragoman(*given, "--server", serving.address)

        assert here.stdout == there.stdout
        assert "mean log-probability of a target token: -" in here.stdout
        assert ElementTree.parse(figure).getroot().tag.endswith("svg")

    def test_refused(self) -> None:
        """
        A pair that is not served, or a side that the model cannot take, is one line.
        """
        assert "the pair en->de is not served" in complaint("align", "--from", "en", "--to", "de", "a", "b")
        assert "the limit is 160" in complaint("align", *ENGLISH_TO_FRENCH, "a " * 400, "b")

    @pytest.mark.parametrize("texts", [("", "b"), ("a", " "), ("", "")])
    def test_blank(self, texts: tuple[str, str]) -> None:
        """
        A blank side has no links, and is no error.
        """
        assert "token: 0.000" in dragoman("align", *ENGLISH_TO_FRENCH, *texts).stdout


def test_models(serving: Serving, default_bundle: Bundle) -> None:
    """
    `models` prints what a server serves, as JSON.
    """
    listed = dragoman("models", "--server", serving.address).stdout

    assert default_bundle.checksum in listed
    assert '"max_texts_per_call": 256' in listed


def test_models_without_a_server() -> None:
    """
    Nobody listening is one line.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert "UNAVAILABLE" in complaint("models", "--server", f"127.0.0.1:{port}")


def test_check(default_bundle: Bundle) -> None:
    """
    `check` says what a bundle is, and whether it gives the answers that are known of it.
    """
    said = dragoman("check", str(default_bundle.folder)).stdout

    assert said.startswith(f"{default_bundle.full_name}: ")
    assert said.endswith("complete and unaltered; known answers: 8\n")


def test_demo() -> None:
    """
    `demo` starts a server, translates one sentence into two languages over gRPC, draws it and stops.
    """
    began = time.monotonic()

    said = dragoman("demo").stdout

    assert 2 == said.count("\nen  The agreement on the European Economic Area")
    assert 2 == said.count("[ ] link")
    assert time.monotonic() - began < PATIENCE


def test_usage() -> None:
    """
    Without a command, the commands are listed.
    """
    assert "{serve,demo,translate,align,models,keys,bench,check,completion}" in dragoman(code=2).stderr
