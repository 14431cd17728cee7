"""StreamTranslate: order, back-pressure, and errors that stay with their text."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from dragoman.observability.metrics import SERVICE
from dragoman.rpc.reply_writer import ReplyWriter
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.rpc.contract import refused, request
from tests.servers import Running, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXTS = [
    "The cat sleeps. The dog, which is old, sleeps too!  And the house is quiet.",
    "Water is cold.\n\nSo is the river.\n",
    "  \n",
    "",
    "Yes.",
]


def options(source: str = "en", target: str = "fr", **fields: Any) -> pb.StreamTranslateOptions:
    """Return options with the fields that a test is not about filled in."""
    return pb.StreamTranslateOptions(source_language_code=source, target_language_code=target, **fields)


def messages(texts: Iterable[str], **fields: Any) -> list[pb.StreamTranslateRequest]:
    """Return a stream's messages, with numbers for ids."""
    asked = [pb.StreamTranslateRequest(id=str(index), content=text) for index, text in enumerate(texts)]
    asked[0].options.CopyFrom(options(**fields))
    return asked


async def ask(server: Running, asked: list[pb.StreamTranslateRequest]) -> list[pb.StreamTranslateResponse]:
    """Return the replies in the order in which they came."""
    return [reply async for reply in server.stub.StreamTranslate(iter(asked))]


def of_text(replies: list[pb.StreamTranslateResponse], index: int) -> list[pb.StreamTranslateResponse]:
    """Return the replies to one text."""
    return [reply for reply in replies if reply.id == str(index)]


@pytest.mark.parametrize("unit", list(pb.OffsetUnit.values()))
async def test_says_what_translate_says(server: Running, unit: pb.OffsetUnit) -> None:
    """
    Joined, the replies to a text are its translation: the same sentences, spans, links, flags and bits.
    """
    output = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT, offset_unit=unit)
    texts = [*TEXTS, "🎉 Straße! Ça va?"]
    whole = await server.stub.Translate(request(*texts, output=output))

    replies = await ask(server, messages(texts, output=output))

    for index, expected in enumerate(whole.translations):
        found = of_text(replies, index)
        assert expected.translated_text == "".join(reply.translated_text for reply in found)
        assert list(expected.sentences) == [reply.sentence for reply in found if reply.HasField("sentence")]
        assert list(expected.flags) == [flag for reply in found for flag in reply.flags]
        assert [False] * (len(found) - 1) + [True] == [reply.last for reply in found]
        assert {("en", expected.model)} == {(reply.source_language_code, reply.model) for reply in found}


async def test_last_reply_says_the_cost(server: Running) -> None:
    """
    The last reply to a text, and no other, carries what the text cost.
    """
    replies = of_text(await ask(server, messages(TEXTS)), 0)

    assert [False, False, True] == [reply.HasField("metadata") for reply in replies]
    assert replies[-1].metadata.target_tokens > 3


async def test_a_bad_text_does_not_end_the_stream(server: Running) -> None:
    """
    A text over its limit gets its error as last reply; those before and after it are translated.
    """
    limit = server.registry.settings.max_code_points

    replies = await ask(server, messages(["Yes.", "x" * (limit + 1), "No."]))

    [failed] = of_text(replies, 1)
    assert (True, "TEXT_TOO_LONG", str(limit)) == (
        failed.last,
        failed.error.reason,
        failed.error.metadata["limit"],
    )
    assert "en" == failed.source_language_code
    for index in (0, 2):
        [good] = of_text(replies, index)
        assert good.translated_text


async def test_a_prefix_needs_one_sentence(server: Running) -> None:
    """
    With a prefix, a text of several sentences is refused alone.
    """
    decoding = pb.DecodingOptions(target_prefix="Le chat")

    replies = await ask(server, messages(["It sleeps.", "It sleeps. It eats."], decoding=decoding))

    assert of_text(replies, 0)[0].translated_text.startswith("Le chat")
    assert "PREFIX_NEEDS_ONE_SENTENCE" == of_text(replies, 1)[0].error.reason


STREAM_ERRORS = {
    "nothing": ([], "EMPTY_REQUEST", "options"),
    "no-options": ([pb.StreamTranslateRequest(content="Hi.")], "INVALID_OPTION", "options"),
    "options-again": (
        [pb.StreamTranslateRequest(id=id_, content="Hi.", options=options()) for id_ in "ab"],
        "INVALID_OPTION", "options",
    ),
    "same-language": (
        [pb.StreamTranslateRequest(content="Hi.", options=options(target="en"))],
        "SAME_LANGUAGE", "options.target_language_code",
    ),
    "mime": (
        [pb.StreamTranslateRequest(content="Hi.", options=options(mime_type="image/png"))],
        "INVALID_OPTION", "options.mime_type",
    ),
    "long-id": (
        [pb.StreamTranslateRequest(id="x" * 257, content="Hi.", options=options())],
        "INVALID_OPTION", "id",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_ERRORS)
async def test_bad_streams(server: Running, name: str) -> None:
    """
    What is wrong with the stream as a whole ends it, with the field's path.
    """
    asked, reason, field = STREAM_ERRORS[name]

    async def drain() -> None:
        await ask(server, asked)

    code, info, fields, _ = await refused(drain())

    assert ("INVALID_ARGUMENT", reason, [field]) == (code, info.reason, fields)


async def test_duplicate_id(server: Running) -> None:
    """
    The id of an unfinished text cannot be used for another.
    """
    asked = messages(["The cat sat on the mat and slept. " * 20, "No."])
    asked[1].id = asked[0].id

    async def drain() -> None:
        await ask(server, asked)

    with server.held():
        code, info, _, _ = await refused(drain())

    assert ("INVALID_ARGUMENT", "DUPLICATE_ID") == (code, info.reason)


async def test_an_id_is_free_with_the_last_reply(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who has the last reply to a text may give its id to another at once, whatever the server still has to do for it.
    """
    write = ReplyWriter._send

    async def slowly(self: ReplyWriter, reply: Any) -> None:
        await write(self, reply)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(ReplyWriter, "_send", slowly)
    call = server.stub.StreamTranslate()
    [asked] = messages(["Yes."])
    for _ in range(3):
        await call.write(asked)
        assert (await call.read()).last
        asked.ClearField("options")  # which only the first message has
    await call.done_writing()

    assert grpc.StatusCode.OK is await call.code()


async def test_refused_texts_are_let_go(server: Running) -> None:
    """
    Of a text that was refused an open stream keeps nothing: megabytes each, which no limit counts.
    """
    [asked] = messages(["x" * 30_000])
    payload = asked.SerializeToString()
    del asked
    call = server.channel.stream_stream(f"/{SERVICE}/StreamTranslate")()
    await call.write(payload)
    assert "TEXT_TOO_LONG" == pb.StreamTranslateResponse.FromString(await call.read()).error.reason

    def is_kept(one: object) -> bool:
        return type(one) is pb.StreamTranslateRequest and 30_000 == len(one.content)

    await until(lambda: not any(map(is_kept, gc.get_objects())))
    await call.done_writing()
    assert grpc.StatusCode.OK is await call.code()


async def test_malformed_message(server: Running) -> None:
    """
    A message that is none, in the middle of a stream, is the caller's fault and is called so.
    """
    method = f"/{'dragoman.v1.TranslationService'}/StreamTranslate"
    call = server.channel.stream_stream(method)(
        iter([messages(["Yes."])[0].SerializeToString(), b"\xff\xff\xff"])
    )

    async def drain() -> None:
        async for _ in call:
            pass

    code, info, _, _ = await refused(drain())

    assert ("INVALID_ARGUMENT", "MALFORMED_MESSAGE") == (code, info.reason)


async def test_the_line_is_never_full_for_a_stream() -> None:
    """
    A stream larger than the line is slowed down, not refused.
    """
    async with running(max_queued_sentences="40", max_running_sentences="4") as small:
        replies = await ask(small, messages(["Yes. No. The cat."] * 60))

        assert 180 == sum(reply.HasField("sentence") for reply in replies)
        assert not any(reply.HasField("error") for reply in replies)


async def test_a_line_shorter_than_a_text() -> None:
    """
    A text of more sentences than may wait is queued in parts.
    """
    async with running(max_queued_sentences="20") as small:
        replies = await ask(small, messages(["Yes. " * 45]))

        assert 45 == sum(reply.HasField("sentence") for reply in replies)


async def test_reading_stops_while_too_much_is_unfinished() -> None:
    """
    The server takes no more texts than it may hold, whatever the caller has to send.
    """
    async with running(max_texts="3", max_running_sentences="2") as small:
        taken: list[int] = []
        answered: list[str] = []

        async def texts() -> AsyncIterator[pb.StreamTranslateRequest]:
            for index in range(4000):
                text = pb.StreamTranslateRequest(id=str(index), content="Yes." + 16_000 * " ")
                if index == 0:
                    text.options.CopyFrom(options())
                taken.append(index)
                yield text

        call = small.stub.StreamTranslate(texts())
        while len(answered) < 5:
            reply = await call.read()
            answered += [reply.id] * reply.last
        assert len(taken) < 1500  # what the transport holds, and three
        call.cancel()
        await until(lambda: 0 == small.value("dragoman_running_sentences"))


async def test_a_stream_does_not_hold_up_a_drain() -> None:
    """
    A stream without end is answered what was taken, then told to go elsewhere, long before the time to drain is up.
    """
    async with running(drain_seconds="60") as leaving:
        sent, answered = [], []

        async def texts() -> AsyncIterator[pb.StreamTranslateRequest]:
            for index in range(10_000):
                text = pb.StreamTranslateRequest(id=str(index), content="Yes.")
                if index == 0:
                    text.options.CopyFrom(options())
                sent.append(text.id)
                yield text
                await asyncio.sleep(0.01)

        call = leaving.stub.StreamTranslate(texts())
        answered.append((await call.read()).id)
        draining = asyncio.create_task(leaving.server.drain())

        async def drain() -> None:
            while (reply := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined] # stubs lack it
                answered.append(reply.id)

        code, info, _, _ = await refused(drain())

        assert ("UNAVAILABLE", "DRAINING") == (code, info.reason)
        assert sorted(answered, key=int) == sent[: len(answered)]
        await asyncio.wait_for(draining, 10)


async def test_a_model_that_goes_finishes_what_is_under_way() -> None:
    """
    A text that comes too late ends the stream, once those before it are answered.
    """
    async with running(max_running_sentences="2") as server:
        pool = server.registry.models[0].pool
        is_closed, answered = asyncio.Event(), []

        async def texts() -> AsyncIterator[pb.StreamTranslateRequest]:
            for message in messages(["Yes. No. The cat."] * 30):
                yield message
            await is_closed.wait()
            yield pb.StreamTranslateRequest(id="late", content="Yes.")
            await asyncio.sleep(60)

        async def read() -> None:
            while (reply := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined] # stubs lack it
                answered.append(reply.id)

        call = server.stub.StreamTranslate(texts())
        answered.append((await call.read()).id)
        characters = 30 * len("Yes. No. The cat.")
        await until(lambda: characters == server.value("dragoman_characters_total", pair="en-fr"))
        closing = asyncio.create_task(asyncio.to_thread(pool.close))
        await until(lambda: pool.is_closed)
        is_closed.set()

        code, info, _, _ = await refused(read())

        assert ("UNAVAILABLE", "DRAINING") == (code, info.reason)
        assert 90 == len(answered)
        assert {str(index) for index in range(30)} == set(answered)
        await closing


async def test_cancelled_streams_leave_nothing(server: Running) -> None:
    """
    When the caller goes away its sentences leave the batch, and the server serves on.
    """
    calls = [server.stub.StreamTranslate(iter(messages(["The cat sleeps. " * 40] * 5))) for _ in range(5)]
    await asyncio.gather(*(call.read() for call in calls))

    for call in calls:
        call.cancel()

    await until(lambda: 0 == server.value("dragoman_running_sentences") == server.waiting)
    assert "Yes" != (await ask(server, messages(["Yes."])))[0].translated_text


async def test_errors_amid_the_first_reply(server: Running) -> None:
    """
    A stream that goes wrong while its first reply is on its way ends at once, with its own code: 100 of 100.
    """
    wrong = pb.StreamTranslateRequest(id="again", content="Hi.", options=options())

    async def end_of(texts: int) -> str:
        asked = [*messages(["Yes."] * texts), wrong]
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            async for _ in server.stub.StreamTranslate(iter(asked), timeout=60):
                pass
        return ended.value.code().name

    codes = await asyncio.gather(*(end_of(1 + number % 5) for number in range(100)))

    assert {"INVALID_ARGUMENT"} == set(codes)


async def test_deadline_of_the_call(server: Running) -> None:
    """
    When the time of a stream runs out it ends with DEADLINE_EXCEEDED, or its texts are told before.
    """
    asked = messages(["The cat sat on the mat, and slept. " * 200] * 8)
    replies = []
    code = grpc.StatusCode.OK
    try:
        async for reply in server.stub.StreamTranslate(iter(asked), timeout=0.3):
            replies.append(reply)
    except grpc.aio.AioRpcError as error:
        code = error.code()

    told = {reply.error.reason for reply in replies if reply.HasField("error")}
    assert told <= {"DEADLINE_TOO_SHORT", "DEADLINE_PASSED"}
    assert told or grpc.StatusCode.DEADLINE_EXCEEDED is code


@asynccontextmanager
async def slow_reader(server: Running) -> AsyncIterator[Any]:
    """Open a stream that takes in 64 KB and no more until somebody reads, and whose 250 replies are more than that."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        output = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT)
        asked = messages(["The cat sat on the mat, and slept. "] * 250, output=output)
        yield TranslationServiceStub(channel).StreamTranslate(iter(asked))


async def test_a_reader_that_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    """
    A client that leaves replies unread and goes is no fault of ours: the call is cancelled, nothing is logged.
    """
    async with running() as left:
        async with slow_reader(left) as call:
            await call.read()
            await until(lambda: left.value("dragoman_batch_rows_sum") > 250 * 9)
            await until(lambda: 0 == left.value("dragoman_running_sentences"))

        handled = {"grpc_type": "bidi_stream", "grpc_service": SERVICE, "grpc_method": "StreamTranslate"}
        await until(lambda: 1 == left.value("grpc_server_handled_total", **handled, grpc_code="CANCELLED"))
    assert [] == [record for record in caplog.records if record.name.startswith("dragoman")]


async def test_a_reader_slower_than_the_deadline() -> None:
    """
    A client that stops reading for longer than its texts may take loses no reply that was made, and breaks nothing.
    """
    async with running(default_deadline_seconds="1.0") as hurried:
        async with slow_reader(hurried) as call:
            replies = [await call.read()]
            await asyncio.sleep(2.5)
            while (reply := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined] # stubs lack it
                replies.append(reply)

        assert grpc.StatusCode.OK is await call.code()
        assert sorted(map(str, range(250))) == sorted(reply.id for reply in replies if reply.last)
        told = {reply.error.reason for reply in replies if reply.HasField("error")}
        assert told <= {"DEADLINE_TOO_SHORT", "DEADLINE_PASSED"}
