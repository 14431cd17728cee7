"""What the contract promises when a call cannot be served: code, reason, field, figures, hints."""

import asyncio
import gc
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from dragoman.errors import duration
from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import align_request, detail, pair, refused, request
from tests.servers import ONE_BY_ONE, Running, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def decoding(**fields: Any) -> pb.TranslateRequest:
    """Return a request with decoding options."""
    return request("Hi.", decoding=pb.DecodingOptions(**fields))


def output(**fields: Any) -> pb.TranslateRequest:
    """Return a request with output options."""
    return request("Hi.", output=pb.OutputOptions(**fields))


# request -> code, reason, faulty field
REFUSALS = {
    "empty-list": (request(), "INVALID_ARGUMENT", "EMPTY_REQUEST", "contents"),
    "no-target": (request("Hi.", target=""), "INVALID_ARGUMENT", "INVALID_LANGUAGE_CODE", "target_language_code"),
    "no-language": (request("Hi.", source="xx"), "INVALID_ARGUMENT", "INVALID_LANGUAGE_CODE", "source_language_code"),
    "endless-language": (request("Hi.", source="x" * 100_000), "INVALID_ARGUMENT", "INVALID_LANGUAGE_CODE", "source_language_code"),
    "not-served": (request("Hi.", target="de"), "NOT_FOUND", "LANGUAGE_NOT_SERVED", ""),
    "pair": (request("Hi.", source="es"), "NOT_FOUND", "PAIR_NOT_SERVED", ""),
    "same": (request("Hi.", target="en-US"), "INVALID_ARGUMENT", "SAME_LANGUAGE", "target_language_code"),
    "model": (request("Hi.", model="other"), "NOT_FOUND", "MODEL_NOT_SERVED", ""),
    "no-model": (request("Hi.", model="@1"), "NOT_FOUND", "MODEL_NOT_SERVED", ""),
    "too-many": (request(*["Hi."] * 257), "INVALID_ARGUMENT", "TOO_MANY_TEXTS", "contents"),
    "too-long": (request("x" * 20_001), "INVALID_ARGUMENT", "TEXT_TOO_LONG", "contents[0]"),
    "all-too-long": (request(*["x" * 20_001] * 2), "INVALID_ARGUMENT", "TEXT_TOO_LONG", "contents[0]"),
    "request-too-long": (request(*["x" * 20_000] * 11), "INVALID_ARGUMENT", "REQUEST_TOO_LONG", "contents"),
    "sentences": (request("A b. " * 2_001), "INVALID_ARGUMENT", "REQUEST_TOO_LONG", "contents"),
    "beam-99": (decoding(beam_size=99), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.beam_size"),
    "beam-negative": (decoding(beam_size=-1), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.beam_size"),
    "alternatives-2": (decoding(num_alternatives=2), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.num_alternatives"),
    "penalty-9": (decoding(length_penalty=9), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.length_penalty"),
    "penalty-nan": (decoding(length_penalty=float("nan")), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.length_penalty"),
    "prefix-two-sentences": (request("Hi. Ho.", decoding=pb.DecodingOptions(target_prefix="Le")), "INVALID_ARGUMENT", "PREFIX_NEEDS_ONE_SENTENCE", "decoding.target_prefix"),
    "prefix-blank": (request(" ", decoding=pb.DecodingOptions(target_prefix="Le")), "INVALID_ARGUMENT", "PREFIX_NEEDS_ONE_SENTENCE", "decoding.target_prefix"),
    "prefix-too-long": (decoding(target_prefix="Le chat.", max_target_tokens=2), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.target_prefix"),
    "tokens": (decoding(max_target_tokens=-1), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.max_target_tokens"),
    "html-alternatives": (request("Hi.", mime_type="text/html", decoding=pb.DecodingOptions(beam_size=2, num_alternatives=1)), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.num_alternatives"),
    "html-prefix": (request("Hi.", mime_type="text/html", decoding=pb.DecodingOptions(target_prefix="Le")), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.target_prefix"),
    "xml": (request("<a>Hi.", mime_type="application/xml"), "INVALID_ARGUMENT", "MALFORMED_MARKUP", "contents"),
    "mime": (request("Hi.", mime_type="image/png"), "INVALID_ARGUMENT", "INVALID_OPTION", "mime_type"),
    "glossary": (request("Hi.", glossary=[pb.GlossaryEntry()]), "INVALID_ARGUMENT", "NOT_YET_SERVED", "glossary"),
    "keep": (request("Hi.", do_not_translate=["Hi"]), "INVALID_ARGUMENT", "NOT_YET_SERVED", "do_not_translate"),
    "priority": (request("Hi.", priority=7), "INVALID_ARGUMENT", "INVALID_OPTION", "priority"),
    "confidence": (output(word_confidence=True), "INVALID_ARGUMENT", "NOT_YET_SERVED", "output.word_confidence"),
    "alignment": (output(alignment=9), "INVALID_ARGUMENT", "INVALID_OPTION", "output.alignment"),
    "unit": (output(offset_unit=9), "INVALID_ARGUMENT", "INVALID_OPTION", "output.offset_unit"),
}  # fmt: skip


class TestErrors:
    @pytest.mark.parametrize("name", list(REFUSALS))
    async def test_translate(self, server: Running, name: str) -> None:
        """
        Each fault has the code, the reason and the field's path that the contract gives it.
        """
        asked, code, reason, field = REFUSALS[name]
        before = server.value("dragoman_rejected_total", reason=reason)

        found, info, fields, error = await refused(server.stub.Translate(asked))

        assert (code, reason, "dragoman") == (found, info.reason, info.domain)
        assert ([field] if field else []) == fields
        assert 10 < len(error.details() or "") < 200
        assert before + 1 == server.value("dragoman_rejected_total", reason=reason)

    @pytest.mark.parametrize(
        ("asked", "code", "reason"),
        [
            (align_request(), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
            (align_request(*[pair()] * 257), "INVALID_ARGUMENT", "TOO_MANY_TEXTS"),
            (align_request(pair(), model="other"), "NOT_FOUND", "MODEL_NOT_SERVED"),
            (align_request(pair(), priority=9), "INVALID_ARGUMENT", "INVALID_OPTION"),
            (align_request(pair("x" * 20_001)), "INVALID_ARGUMENT", "TEXT_TOO_LONG"),
            (align_request(*[pair("x" * 20_000)] * 11), "INVALID_ARGUMENT", "REQUEST_TOO_LONG"),
        ],
        ids=["empty", "too-many", "model", "priority", "too-long", "request-too-long"],
    )
    async def test_align(self, server: Running, asked: Any, code: str, reason: str) -> None:
        """
        So do the faults of a request to align.
        """
        found, info, _, _ = await refused(server.stub.Align(asked))

        assert (code, reason) == (found, info.reason)

    async def test_version(self, server: Running) -> None:
        """
        The model may be named, also with its version; another version is not served, and the error says which is.
        """
        registry = server.registry.bundle.full_name
        name = registry.partition("@")[0]
        for model in (name, registry):
            await server.stub.Translate(request("Hi.", model=model))

        code, info, _, _ = await refused(server.stub.Translate(request("Hi.", model=f"{name}@none")))

        assert ("NOT_FOUND", "VERSION_NOT_SERVED", registry) == (code, info.reason, info.metadata["served"])

    @pytest.mark.parametrize(
        "payload",
        [b"\xff\xff\xff", b"\x0a\x05abc", b"\x0a\x02\xc3\x28", b"\x0a\x03\xed\xa0\x80"],
        ids=["no-message", "cut", "not-utf-8", "surrogate"],
    )
    async def test_malformed(self, server: Running, payload: bytes) -> None:
        """
        Bytes that are no message, or text in it that is not UTF-8, are the caller's fault.
        """
        call = server.channel.unary_unary(f"/{SERVICE}/Translate")

        code, info, fields, _ = await refused(call(payload))

        assert ("INVALID_ARGUMENT", "MALFORMED_MESSAGE") == (code, info.reason)
        assert [] == fields

    async def test_too_large_for_the_transport(self, server: Running) -> None:
        """
        A message over the transport's size is refused by gRPC itself.
        """
        code, _, _, _ = await refused(server.stub.Translate(request("x" * (4 * 2**20))))

        assert "RESOURCE_EXHAUSTED" == code

    @pytest.mark.parametrize("method", ["Nonsense"])
    async def test_not_implemented(self, server: Running, method: str) -> None:
        """
        A method that is not served yet is UNIMPLEMENTED.
        """
        call = server.channel.unary_unary(f"/{SERVICE}/{method}")

        assert "UNIMPLEMENTED" == (await refused(call(b"")))[0]

    async def test_deadline(self, server: Running) -> None:
        """
        A call that would not be done in time ends at once, and nothing is queued for it.
        """
        texts = ["The cat sat on the mat, and slept until the morning came. " * 20] * 20

        with pytest.raises(grpc.aio.AioRpcError) as late:
            await server.stub.Translate(request(*texts), timeout=0.05)

        assert grpc.StatusCode.DEADLINE_EXCEEDED is late.value.code()
        await until_idle(server)

    async def test_deadline_of_pairs(self) -> None:
        """
        Pairs that would not be done in time are refused together, before any of them is queued.
        """
        pairs = [
            pair("The cat sat on the mat, and slept until the morning came. " * 3, "Le chat. " * 20)
        ] * 256
        async with running(decode_loops="1") as slow:
            code, info, *_ = await refused(slow.stub.Align(align_request(*pairs), timeout=0.3))

            assert ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT") == (code, info.reason)
            assert 0 == slow.value("dragoman_batch_rows_count")

    async def test_hanging_up(self, server: Running) -> None:
        """
        A call that its client gives up frees its rows.
        """
        with server.held():
            call = server.stub.Translate(request("The cat sat on the mat, and slept on. " * 100))
            await until(lambda: server.running)

            call.cancel()
            await asyncio.sleep(0.1)

        await until_idle(server)
        assert server.value("dragoman_cancelled_total", stage="queue")


async def test_refused_requests_are_let_go(server: Running) -> None:
    """
    Of a refused call nothing is kept, not even until the next garbage collection: it may be 100 MB in memory.
    """
    payload = request("Hi.", target="xx").SerializeToString()
    call = server.channel.unary_unary(f"/{SERVICE}/Translate")
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await refused(call(payload))
        # The handler ends after its caller has the answer.
        await until(lambda: not any(map(is_kept, gc.get_objects())))
    finally:
        gc.enable()


def is_kept(one: object) -> bool:
    """Tell whether an object is a refused request; `isinstance` would ask each."""
    return type(one) is pb.TranslateRequest and "xx" == one.target_language_code


async def until_idle(server: Running) -> None:
    """Wait until nothing runs or waits."""
    await until(lambda: 0 == server.value("dragoman_running_sentences") == server.waiting == server.running)


async def test_default_deadline() -> None:
    """
    A call without a deadline gets the server's; one that cannot be done in it is refused with both figures.
    """
    async with running(default_deadline_seconds="0.8", decode_loops="1") as hurried:
        texts = ["The cat sat on the mat, and slept until the morning came. " * 100] * 3

        code, info, _, error = await refused(hurried.stub.Translate(request(*texts)))

        assert ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT") == (code, info.reason)
        estimated, remaining = (
            float(info.metadata[name]) for name in ("estimated_seconds", "remaining_seconds")
        )
        assert 0 < remaining <= 0.8 < estimated
        assert f"it would take about {duration(estimated)}, " in str(error.details())


async def test_queue_full() -> None:
    """
    When the line is full a call is refused with the time to come back, and those accepted are served.
    """
    async with running(max_queued_sentences="4", **ONE_BY_ONE) as small:
        texts = ["The cat sat on the mat, and slept until the morning came."] * 3
        calls = [small.stub.Translate(request(*texts)) for _ in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        failed = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
        assert 1 <= len(failed) <= 3
        for error in failed:
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is error.code()
            assert "QUEUE_FULL" == detail(error, error_details_pb2.ErrorInfo).reason
            metadata: Any = error.trailing_metadata()
            milliseconds = detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds()
            assert milliseconds > 0
            assert str(milliseconds) == dict(metadata)["grpc-retry-pushback-ms"]
        registry = [outcome for outcome in outcomes if isinstance(outcome, pb.TranslateResponse)]
        assert 4 == len(failed) + len(registry)
        assert all(3 == len(reply.translations) for reply in registry)


async def test_a_reply_that_is_too_large() -> None:
    """
    A reply larger than a message may be is refused with the limit, its size, and a reason of its own.
    """
    async with running(max_message_bytes="2000") as small:
        call = small.stub.Translate(
            request("The cat sat. " * 20, output=pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT))
        )

        code, info, fields, _ = await refused(call)

        assert ("INVALID_ARGUMENT", "REPLY_TOO_LARGE", ["output"]) == (code, info.reason, fields)
        assert "2000" == info.metadata["limit"]
        assert int(info.metadata["actual"]) > 2000
        assert (await small.stub.Translate(request("The cat sat. " * 20))).translations[0].translated_text


async def test_room_for_attention() -> None:
    """
    Attention that there is no room for beside that of others is refused for the moment; alone it has room.
    """
    async with running(max_held_bytes="20000") as server:
        wanted = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_HARD)
        with server.held():
            first = server.stub.Translate(request("The cat sat on the mat, and slept. " * 10, output=wanted))
            await until(lambda: server.running)

            code, info, *_ = await refused(
                server.stub.Translate(request("The cat sat on the mat.", output=wanted))
            )

        assert ("RESOURCE_EXHAUSTED", "MEMORY_FULL") == (code, info.reason)
        assert (await first).translations[0].sentences
        assert (await server.stub.Translate(request("The cat sat on the mat.", output=wanted))).translations
