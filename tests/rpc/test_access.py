"""API keys: who is let in, whose turn it is, and that no key is told, on real servers."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from prometheus_client import generate_latest

from dragoman.errors import ConfigError
from dragoman.observability.metrics import SERVICE
from dragoman.security import key_store, keys
from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import align_request, detail, pair, refused, request
from tests.rpc.guards import SERVING, bearer, guarded, health_of, is_known, reflected
from tests.rpc.test_streaming import messages
from tests.servers import ONE_BY_ONE, until


class TestKeys:
    async def test_who_is_let_in(self, key_file: Path) -> None:
        """
        Every method wants a key and says why it refuses; health wants none, reflection any.
        """
        key = key_store.create(key_file, "billing", methods=("Align",))
        async with guarded(key_file) as server:
            calls: dict[str, Any] = {
                "Translate": lambda **how: server.stub.Translate(request("Hi."), **how),
                "ListModels": lambda **how: server.stub.ListModels(pb.ListModelsRequest(), **how),
                "StreamTranslate": lambda **how: anext(
                    aiter(server.stub.StreamTranslate(iter(messages(["Hi."])), **how))
                ),
            }
            for method, call in calls.items():
                for metadata, code, reason in (
                    ((), "UNAUTHENTICATED", "CREDENTIAL_MISSING"),
                    (bearer(keys.new_key("billing")), "UNAUTHENTICATED", "CREDENTIAL_INVALID"),
                    (bearer(key), "PERMISSION_DENIED", "NOT_ALLOWED"),
                ):
                    before = server.value("dragoman_rejected_total", reason=reason)
                    found, info, _, error = await refused(call(metadata=metadata))
                    assert (code, reason) == (found, info.reason), method
                    assert key not in str(error)
                    assert before + 1 == server.value("dragoman_rejected_total", reason=reason)
            reply = await server.stub.Align(align_request(pair()), metadata=bearer(key))

            assert 1 == len(reply.alignments)
            assert SERVING == await health_of(server.channel)
            assert 3 == await reflected(server.channel, bearer(key))
            assert "UNAUTHENTICATED" == (await refused(reflected(server.channel)))[0]

    @pytest.mark.parametrize("method", ["Translate", "Align", "ListModels"])
    async def test_refused_unread(self, key_file: Path, method: str) -> None:
        """
        A stranger's request is refused before it is read: the server holds nothing of it.
        """
        key_store.create(key_file, "a")
        async with guarded(key_file) as server:
            labels = {"grpc_method": method, "grpc_code": "UNAUTHENTICATED"}
            labels |= {"grpc_type": "unary", "grpc_service": SERVICE}
            silent = server.channel.stream_unary(f"/{SERVICE}/{method}")(timeout=5)  # sends no request at all

            code, info, _, _ = await refused(silent)

            assert ("UNAUTHENTICATED", "CREDENTIAL_MISSING") == (code, info.reason)
            await until(lambda: 1 == server.value("grpc_server_handled_total", **labels))

    async def test_quota(self, key_file: Path) -> None:
        """
        A quota that is used up is RESOURCE_EXHAUSTED with everything a client needs to come back in time, and then it works.
        """
        key = key_store.create(key_file, "billing", requests_per_minute=6)
        key_store.create(key_file, "other")
        async with guarded(key_file, quota_start_share="1") as server:
            for _ in range(6):
                await server.stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key))

            code, info, _, error = await refused(
                server.stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key))
            )

            [violation] = detail(error, error_details_pb2.QuotaFailure).violations
            milliseconds = detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds()
            assert ("RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED", "6") == (
                code,
                info.reason,
                info.metadata["limit"],
            )
            assert "key:billing" == violation.subject
            assert 5_000 < milliseconds <= 10_000
            trailers: Any = error.trailing_metadata()
            assert str(milliseconds) == dict(trailers)["grpc-retry-pushback-ms"]
            guard = server.server.security.access._guard
            guard._clock = lambda: time.monotonic() + milliseconds / 1000
            await server.stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key))

    async def test_quota_after_a_restart(self, key_file: Path) -> None:
        """
        A server that has just started gives a quarter of a minute's quota at once, or each restart would give a whole one.
        """
        key = key_store.create(key_file, "billing", requests_per_minute=8)
        for _ in range(2):
            async with guarded(key_file) as server:
                for _ in range(2):
                    await server.stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key))

                code, *_ = await refused(server.stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key)))
                assert "RESOURCE_EXHAUSTED" == code

    async def test_quota_of_characters(self, key_file: Path) -> None:
        """
        Translate is charged with its contents, Align with both sides, a stream text by text.
        """
        shown = [key_store.create(key_file, f"k{number}", characters_per_minute=10) for number in range(3)]
        async with guarded(key_file, quota_start_share="1") as server:
            calls: list[Any] = [
                lambda: server.stub.Translate(request("Yes.", "No.", "Hm."), metadata=bearer(shown[0])),
                lambda: server.stub.Align(align_request(pair("Hello.", "Salut.")), metadata=bearer(shown[1])),
            ]
            for call in calls:
                await call()
                assert "RESOURCE_EXHAUSTED" == (await refused(call()))[0]

            sent = messages(["Certainly.", "Maybe.", "Never."])
            replies = [
                reply async for reply in server.stub.StreamTranslate(iter(sent), metadata=bearer(shown[2]))
            ]

            failed = [reply for reply in replies if reply.HasField("error")]
            assert 2 == len(failed)
            assert {("QUOTA_EXHAUSTED", 8, "10")} == {
                (reply.error.reason, reply.error.code, reply.error.metadata["limit"]) for reply in failed
            }
            assert 0 < float(failed[0].error.metadata["retry_seconds"]) <= 60
            assert 1 == sum(bool(reply.translated_text) for reply in replies)

    async def test_revoked(self, key_file: Path) -> None:
        """
        A revoked key is refused soon, also in a stream that is open; a new one is known as soon; no restart.
        """
        old = key_store.create(key_file, "old")
        async with guarded(key_file) as server:
            first, second = messages(["Yes.", "No."])
            stream = server.stub.StreamTranslate(metadata=bearer(old))
            await stream.write(first)
            assert (await stream.read()).last

            new = key_store.create(key_file, "new")
            key_store.revoke(key_file, "old")
            await until(lambda: is_known(server, new) and not is_known(server, old))
            await stream.write(second)

            assert "UNAUTHENTICATED" == (await refused(stream.read()))[0]
            assert (
                "UNAUTHENTICATED"
                == (await refused(server.stub.Translate(request("Hi."), metadata=bearer(old))))[0]
            )
            await server.stub.Translate(request("Hi."), metadata=bearer(new))

    async def test_corrupt_while_running(self, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
        """
        A key file that breaks leaves the old keys in use, says so loudly, and is counted.
        """
        key = key_store.create(key_file, "a")
        async with guarded(key_file) as server:
            key_file.write_bytes(key_file.read_bytes()[:-9])
            await until(lambda: server.value("dragoman_security_reloads_total", file="keys", result="failed"))

            await server.stub.Translate(request("Hi."), metadata=bearer(key))

        assert [f"API keys: {key_file.stat().st_size} bytes that are not JSON; NOT in use, what was read before still is"] == [
            record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
        ]  # fmt: skip

    @pytest.mark.parametrize("content", [None, b"", b"{}"])
    async def test_corrupt_at_start_up(self, key_file: Path, content: bytes | None) -> None:
        """
        A key file that is missing or broken at start-up keeps the server from starting: open to all is no fallback.
        """
        if content is not None:
            key_file.write_bytes(content)

        with pytest.raises(ConfigError, match="API keys: "):
            async with guarded(key_file):
                pass


class TestFairShares:
    async def race(self, path: Path, bulk: str, small: str) -> int:
        """Return how many of 30 calls of one key were done when a small call of another one was."""
        texts = ["The cat sat on the mat, and slept until the morning came."] * 10
        settings = {"decode_loops": "1", "max_running_sentences": "2", "max_overtaken": "100000"}
        async with guarded(path, **settings) as server:
            with server.held():
                calls = [
                    asyncio.ensure_future(server.stub.Translate(request(*texts), metadata=bearer(bulk), timeout=100))
                    for _ in range(30)
                ]  # fmt: skip
                await until(lambda: 300 == server.waiting + server.running)
                last = server.stub.Translate(request(*texts[:1]), metadata=bearer(small), timeout=100)
                await until(lambda: 301 == server.waiting + server.running)
            await last
            done: int = sum(call.done() for call in calls)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        return done

    async def test_bulk_does_not_starve_others(self, key_file: Path) -> None:
        """
        Callers with keys of their own take turns: 300 sentences of one hold up no sentence of another.
        """
        bulk, small = (key_store.create(key_file, id_) for id_ in ("bulk", "small"))

        assert await self.race(key_file, bulk, small) <= 2
        assert await self.race(key_file, bulk, bulk) >= 15  # one caller's own calls come in their order

    async def test_a_full_line_has_room_for_others(self, key_file: Path) -> None:
        """
        One caller may fill its share of the line; the rest is left for others.
        """
        bulk, small = (key_store.create(key_file, id_) for id_ in ("bulk", "small"))
        texts = ["The cat sat on the mat, and slept until the morning came."] * 10
        async with guarded(key_file, max_queued_sentences="40", **ONE_BY_ONE) as server:
            calls = [server.stub.Translate(request(*texts), metadata=bearer(bulk)) for _ in range(12)]
            outcomes = asyncio.gather(*calls, return_exceptions=True)
            await until(lambda: server.value("dragoman_rejected_total", reason="QUEUE_FULL"))

            await server.stub.Translate(request(*texts), metadata=bearer(small))

            failed = [error for error in await outcomes if isinstance(error, grpc.aio.AioRpcError)]
            assert failed
            assert any("of your sentences are waiting" in str(error.details()) for error in failed)


class TestSilence:
    async def test_no_text_and_no_key_is_told(self, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
        """
        At the most talkative level, with everything going wrong, neither a text nor a key is in a log line, in an
        error or in a metric.
        """
        caplog.set_level(logging.DEBUG, logger="dragoman")  # what `log_level` changes, and no more
        key = key_store.create(key_file, "billing", methods=("Translate", "StreamTranslate", "Align"), characters_per_minute=2000)  # fmt: skip
        secret, marker = key.split("_", 2)[2], "Xylophonquartz"
        said = []
        async with guarded(key_file, max_code_points="100") as server:
            stub = server.stub
            good = request(f"My {marker} is here.")
            calls: list[Any] = [
                lambda: stub.Translate(good),
                lambda: stub.Translate(good, metadata=bearer(key + "x")),
                lambda: stub.Translate(good, metadata=(("authorization", key),)),
                lambda: stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key)),
                lambda: stub.Translate(request(marker * 20), metadata=bearer(key)),
                lambda: stub.Translate(request(marker, target="de"), metadata=bearer(key)),
                lambda: stub.Align(align_request(pair(marker, marker, source_words=[marker, marker])), metadata=bearer(key)),
                lambda: stub.Translate(request(*[f"My {marker} is here. " * 3] * 50), metadata=bearer(key)),
                lambda: server.channel.unary_unary("/dragoman.v1.TranslationService/Translate")(
                    marker.encode(), metadata=bearer(key)
                ),
            ]  # fmt: skip
            for call in calls:
                try:
                    await call()
                except grpc.aio.AioRpcError as error:
                    said.append(str(error) + str(error.trailing_metadata()))
            server.registry.pool.submit = lambda requests: 1 / 0  # type: ignore[method-assign, assignment]
            said.append(str((await refused(stub.Translate(good, metadata=bearer(key))))[3]))
            told = [_told(record) for record in caplog.records]  # here, for a stack holds parts of the server
            key_file.write_text(json.dumps({"version": 1, "keys": [{"id": key, "sha256": key}]}))
            await until(lambda: server.value("dragoman_security_reloads_total", file="keys", result="failed"))
            said.append(generate_latest(server.metrics.registry).decode())

        assert len(said) >= 9
        told += [_told(record) for record in caplog.records]
        assert any("ZeroDivisionError" in line for line in told)
        for line in [*said, *told]:
            assert secret not in line
            assert keys.digest(key) not in line
            assert marker not in line


def _told(record: logging.LogRecord) -> str:
    """Return what a record comes to, and let go of the stack that it may hold."""
    line = logging.Formatter().format(record) + str(vars(record).get("request_id"))
    record.exc_info = None
    return line
