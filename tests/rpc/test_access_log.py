"""What remains of a call: ids for its caller, and one line in the log without a word of what was said."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from dragoman.observability import logs
from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import align_request, pair, refused, request
from tests.servers import Running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRETS = ("Zanzibar", "hunter2", "Bearer", "127.0.0.1")


@pytest.fixture
def written() -> Iterator[StringIO]:
    """Return what the server writes to its log meanwhile, everything that there is."""
    output, logger = StringIO(), logging.getLogger("dragoman")
    handler = logging.StreamHandler(output)
    handler.setFormatter(logs.formatter(is_terminal=False))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield output
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def lines(written: StringIO) -> list[dict[str, Any]]:
    """Return the lines of the log."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


async def test_id_comes_back(server: Running) -> None:
    """
    The caller's request id comes back in the trailing metadata: after a reply, after an error, after a stream.
    """
    metadata = (("x-request-id", "ticket 42 ~"),)
    good = server.stub.Translate(request("Hello."), metadata=metadata)
    await good
    options = pb.StreamTranslateOptions(source_language_code="en", target_language_code="fr")
    messages = [pb.StreamTranslateRequest(id="0", content="Hello.", options=options)]
    stream = server.stub.StreamTranslate(iter(messages), metadata=metadata)
    async for _ in stream:
        pass
    error = (await refused(server.stub.Translate(request(), metadata=metadata)))[3]

    after: list[Any] = [await good.trailing_metadata(), await stream.trailing_metadata()]
    for trailing in (*after, error.trailing_metadata()):
        assert "ticket 42 ~" == dict(trailing)["x-request-id"]


@pytest.mark.parametrize("given", ["", "x" * 129])
async def test_unusable_id(server: Running, given: str) -> None:
    """
    An id that is missing or too long is replaced by a new one, the same in reply and metadata.
    """
    call = server.stub.Translate(request("Hello."), metadata=(("x-request-id", given),))

    reply = await call

    new = reply.metadata.request_id
    assert (32, new) == (len(new), dict(await call.trailing_metadata())["x-request-id"])


async def test_a_line_for_each_call(server: Running, written: StringIO) -> None:
    """
    A call is one line with its method, code, time, pair, counts and id.
    """
    metadata = (("x-request-id", "ticket-42"),)
    reply = await server.stub.Translate(request("Good morning.", "Yes. No."), metadata=metadata)

    [line] = lines(written)
    assert line.pop("time")
    assert 0 < line.pop("seconds") < 10
    assert {
        "level": "info", "logger": "dragoman.rpc.access_log", "message": "call", "method": f"{SERVICE}/Translate",
        "code": "OK", "pair": "en-fr", "model": server.registry.bundle.full_name, "texts": 2, "code_points": 21,
        "sentences": 3, "source_tokens": reply.metadata.source_tokens,
        "target_tokens": reply.metadata.target_tokens, "request_id": "ticket-42",
    } == line  # fmt: skip


async def test_refused_calls(server: Running, written: StringIO) -> None:
    """
    A refused call says why, in the words of the contract.
    """
    await refused(server.stub.Translate(request("Hi.", target="xx")))
    await refused(server.stub.Translate(request(*["x" * 20_001] * 2)))

    await until(lambda: 2 == len(lines(written)))
    said = [(line["level"], line["code"], line["reason"]) for line in lines(written)]
    refusal = ("info", "INVALID_ARGUMENT")
    assert [(*refusal, "INVALID_LANGUAGE_CODE"), (*refusal, "TEXT_TOO_LONG")] == said


async def test_never_a_text_or_a_key(server: Running, written: StringIO) -> None:
    """
    At the most talkative level too, the log has neither texts nor keys nor addresses.
    """
    metadata = (("authorization", "Bearer hunter2"), ("x-api-key", "hunter2"))
    stub = server.stub
    await stub.Translate(request("Zanzibar sleeps."), metadata=metadata)
    await stub.Align(align_request(pair("Zanzibar", "Zanzibar")), metadata=metadata)
    for faulty in (
        request("Zanzibar", source="Zanzibar"),
        request("Hi.", model="Zanzibar"),
        request("Hi.", mime_type="Zanzibar"),
        request("Hi. Ho.", decoding=pb.DecodingOptions(target_prefix="Zanzibar")),
    ):
        await refused(stub.Translate(faulty, metadata=metadata))

    await until(lambda: 6 == len(lines(written)))
    assert [] == [secret for secret in SECRETS if secret in written.getvalue()]
