"""The examples of the README and of docs/clients.md do what they seem to: run where that is possible, else held to the contract's names."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse

from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.clients.javascript import FOLDER, node
from tests.servers import running

ROOT = Path(__file__).parents[2]
EXAMPLES = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/clients.md"))
ADDRESS = "localhost:50051"


def example(language: str, number: int = 0) -> str:
    """Return an example in a language, by default the first."""
    codes = re.findall(rf"^```{language}\n(.*?)^```", EXAMPLES, re.MULTILINE | re.DOTALL)
    return str(codes[number])


async def output(*command: str, code: str, **environment: str) -> str:
    """Run an example against a real server, and return what it printed."""
    async with running() as server:
        assert ADDRESS in code
        done = await asyncio.to_thread(
            subprocess.run, [*command, code.replace(ADDRESS, server.address)], cwd=ROOT, timeout=60,
            env={**os.environ, **environment}, capture_output=True, text=True,
        )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    return str(done.stdout)


async def test_python() -> None:
    """
    The Python example prints a translation and its links.
    """
    printed = await output(sys.executable, "-c", code=example("python"))

    assert re.fullmatch(r".+ \[Link\(.+\)\]\n", printed)


async def test_asynchronous_python() -> None:
    """
    The asyncio example prints each text under its id, in the order in which they are done.
    """
    printed = await output(sys.executable, "-c", code=example("python", 1))

    assert {"0", "1"} == {line.split(" ", 1)[0] for line in printed.splitlines() if line.split(" ", 1)[1]}


@pytest.mark.timeout(400)  # npm may have to fetch first
async def test_javascript() -> None:
    """
    The JavaScript example prints what the Python client gets.
    """
    printed = await output(node(), "-e", code=example("js"), NODE_PATH=str(FOLDER / "node_modules"))

    assert printed.strip()
    assert (await output(sys.executable, "-c", code=example("python"))).startswith(printed.strip() + " ")


def test_go() -> None:
    """
    The names of the Go example are those that protoc makes of the contract's.
    """
    code, file = example("go"), (ROOT / "protos/dragoman/v1/translation.proto").read_text("utf-8")

    fields = set(re.findall(r"(\w+): ", code)) | set(re.findall(r"\.(Trans\w+)(?=\[|\))", code))
    known = {
        "".join(part.title() for part in field.name.split("_"))
        for message in (pb.TranslateRequest, pb.TranslateResponse, pb.Translation)
        for field in message.DESCRIPTOR.fields
    }
    assert {
        "Contents",
        "SourceLanguageCode",
        "TargetLanguageCode",
        "Translations",
        "TranslatedText",
    } == fields
    assert fields <= known
    assert {"dragomanv1"} == set(re.findall(r"(\w+)\.(?:New)?Translat(?:e|ion)\w*[({]", code)) - {"client"}
    assert 'go_package = "dragoman/v1;dragomanv1"' in file


def test_grpcurl() -> None:
    """
    The grpcurl example has a method and a request of the contract.
    """
    [command] = re.findall(r"^grpcurl .*?^```", EXAMPLES, re.MULTILINE | re.DOTALL)

    request = Parse(re.findall(r"-d '(.*?)'", command, re.DOTALL)[0], pb.TranslateRequest())
    assert ["Good morning."] == list(request.contents)
    assert f"{ADDRESS} {SERVICE}/Translate" in command
