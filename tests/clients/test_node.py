"""A client in JavaScript, made of protos/ alone: the contract as another language meets it."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.javascript import node
from tests.servers import Running, running

pytestmark = pytest.mark.timeout(400)  # npm may have to fetch first
CLIENT = Path(__file__).parent / "node/client.js"
INVALID_ARGUMENT = 3


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Return what the client saw of a real server."""
    program = node()

    async def ask() -> tuple[str, str]:
        async with running() as server:
            return server.registry.bundle.full_name, await asyncio.to_thread(run, program, server)

    name, said = asyncio.run(ask())
    return {"name": name, **json.loads(said)}


def run(program: str, server: Running) -> str:
    """Run the client to its end."""
    done = subprocess.run(
        [program, CLIENT, server.address], capture_output=True, text=True, check=False, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_translate(told: dict[str, Any]) -> None:
    """
    Texts come back in their order, under the caller's id; the spans cut JavaScript's own strings.
    """
    translated = told["translated"]
    reply = translated["reply"]

    source, blank = reply["translations"]
    assert "" == blank["translatedText"]
    assert ["Straße 🎉 is a word.", "The red house is old."] == [source for source, _ in told["sentences"]]
    assert source["translatedText"] == " ".join(target for _, target in told["sentences"])
    assert any(sentence["links"] for sentence in source["sentences"])
    assert {"FINISH_REASON_STOP"} == {sentence["finishReason"] for sentence in source["sentences"]}
    assert ["node-42"] * 2 == [reply["metadata"]["requestId"], translated["requestId"]]


def test_align(told: dict[str, Any]) -> None:
    """
    A given pair is linked, word by word.
    """
    [aligned] = told["aligned"]["reply"]["alignments"]

    assert [[0, 3], [4, 7], [8, 13]] == [
        [word["span"]["start"], word["span"]["end"]] for word in aligned["sourceWords"][:3]
    ]
    assert aligned["links"]


def test_stream(told: dict[str, Any]) -> None:
    """
    Every text of a stream comes to its end, sentence by sentence.
    """
    replies = told["streamed"]

    assert {"0", "1"} == {reply["id"] for reply in replies if reply["last"]}
    assert 3 == sum(reply["sentence"] is not None for reply in replies)


def test_models(told: dict[str, Any]) -> None:
    """
    What is served is listed.
    """
    [model] = told["models"]["reply"]["models"]

    assert told["name"] == f"{model['name']}@{model['version']}"
    assert {"sourceLanguageCode": "en", "targetLanguageCode": "fr"} in model["languagePairs"]


def test_refusals(told: dict[str, Any]) -> None:
    """
    An error has its code, its details and a request id; a field that is not served says so.
    """
    refused, unserved = told["refused"], told["unserved"]

    assert (INVALID_ARGUMENT, True) == (refused["error"]["code"], refused["error"]["hasDetails"])
    assert "target_language_code: 'xx' is not a language code" == refused["error"]["details"]
    assert 32 == len(refused["requestId"])
    assert INVALID_ARGUMENT == unserved["error"]["code"]
    assert "not served by this version" in unserved["error"]["details"]


def test_detection(told: dict[str, Any]) -> None:
    """
    The likeliest language of a text comes first.
    """
    [detection] = told["detected"]["reply"]["detections"]

    assert "en" == detection["languages"][0]["languageCode"]
