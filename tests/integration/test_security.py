"""TLS, keys, quotas and limits, on real servers and real connections."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from service.errors import ConfigError, StartupError
from service.metrics import SERVICE
from service.pb.dragoman.v1 import translation_pb2 as pb
from service.pb.dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from service.security import keyfile, keys
from tests.certificates import Authority
from tests.conftest import Scale
from tests.integration.conftest import Running, running
from tests.integration.contract import align_request, detail, pair, refused, request
from tests.integration.test_stream import messages

SOON = {"security_reload_seconds": "0.05"}
SERVING = health_pb2.HealthCheckResponse.SERVING


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that shows a key."""
    return (("authorization", f"Bearer {key}"),)


async def until(condition: Any) -> None:
    """Wait for what the server notices in its own time."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return where the keys of a server are, or will be."""
    return tmp_path / "keys.json"


@asynccontextmanager
async def guarded(path: Path, **settings: str) -> AsyncIterator[Running]:
    """Run a server that wants keys."""
    async with running(api_key_file=str(path), **SOON, **settings) as server:
        yield server


async def health_of(channel: Any) -> int:
    """Return what a probe would see."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    reply = await stub.Check(health_pb2.HealthCheckRequest())
    return int(reply.status)


async def reflected(channel: Any, metadata: Any = ()) -> int:
    """Return how many services reflection lists."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    async for reply in stub.ServerReflectionInfo(iter([asked]), metadata=metadata):
        return len(reply.list_services_response.service)
    return 0


class TestKeys:
    async def test_who_is_let_in(self, key_file: Path) -> None:
        """
        Every method wants a key and says why it refuses; health wants none, reflection any.
        """
        key = keyfile.create(key_file, "billing", methods=("Align",))
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
        keyfile.create(key_file, "a")
        async with guarded(key_file) as server:
            labels = {"grpc_method": method, "grpc_code": "UNAUTHENTICATED"}
            labels |= {"grpc_type": "unary", "grpc_service": SERVICE}
            silent = server.channel.stream_unary(f"/{SERVICE}/{method}")(timeout=5)  # sends no request at all

            code, info, _, _ = await refused(silent)

            assert ("UNAUTHENTICATED", "CREDENTIAL_MISSING") == (code, info.reason)
            assert 1 == server.value("grpc_server_handled_total", **labels)

    async def test_quota(self, key_file: Path) -> None:
        """
        A quota that is used up is RESOURCE_EXHAUSTED with everything a client needs to come back in time, and then it works.
        """
        key = keyfile.create(key_file, "billing", requests_per_minute=6)
        keyfile.create(key_file, "other")
        async with guarded(key_file) as server:
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

    async def test_quota_of_characters(self, key_file: Path) -> None:
        """
        Translate is charged with its contents, Align with both sides, a stream text by text.
        """
        shown = [keyfile.create(key_file, f"k{number}", characters_per_minute=10) for number in range(3)]
        async with guarded(key_file) as server:
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
        old = keyfile.create(key_file, "old")
        async with guarded(key_file) as server:
            first, second = messages(["Yes.", "No."])
            stream = server.stub.StreamTranslate(metadata=bearer(old))
            await stream.write(first)
            assert (await stream.read()).last

            new = keyfile.create(key_file, "new")
            keyfile.revoke(key_file, "old")
            await until(lambda: _is_known(server, new))
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
        key = keyfile.create(key_file, "a")
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


def _is_known(server: Running, key: str) -> bool:
    ring = server.server.security._keys
    return ring is not None and ring.value.find(key) is not None


class TestFairShares:
    async def race(self, path: Path, bulk: str, small: str) -> int:
        """Return how many of 30 calls of one key were done when a small call of another one was."""
        texts = ["The cat sat on the mat, and slept until the morning came."] * 10
        settings = {"decode_loops": "1", "max_running_sentences": "2", "max_overtaken": "100000"}
        async with guarded(path, **settings) as server:
            calls = [
                asyncio.ensure_future(server.stub.Translate(request(*texts), metadata=bearer(bulk), timeout=60))
                for _ in range(30)
            ]  # fmt: skip
            await until(lambda: server.value("dragoman_queue_depth") > 200)
            await server.stub.Translate(request(*texts[:1]), metadata=bearer(small), timeout=60)
            done: int = sum(call.done() for call in calls)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        return done

    async def test_bulk_does_not_starve_others(self, key_file: Path) -> None:
        """
        Callers with keys of their own take turns: 300 sentences of one hold up no sentence of another.
        """
        bulk, small = (keyfile.create(key_file, id_) for id_ in ("bulk", "small"))

        assert await self.race(key_file, bulk, small) <= 2
        assert await self.race(key_file, bulk, bulk) >= 15  # one caller's own calls come in their order

    async def test_a_full_line_has_room_for_others(self, key_file: Path) -> None:
        """
        One caller may fill its share of the line; the rest is left for others.
        """
        bulk, small = (keyfile.create(key_file, id_) for id_ in ("bulk", "small"))
        texts = ["The cat sat on the mat, and slept until the morning came."] * 10
        settings = {"max_queued_sentences": "40", "max_running_sentences": "1", "decode_loops": "1"}
        async with guarded(key_file, **settings) as server:
            calls = [server.stub.Translate(request(*texts), metadata=bearer(bulk)) for _ in range(12)]
            outcomes = asyncio.gather(*calls, return_exceptions=True)
            await until(lambda: server.value("dragoman_rejected_total", reason="QUEUE_FULL"))

            await server.stub.Translate(request(*texts), metadata=bearer(small))

            failed = [error for error in await outcomes if isinstance(error, grpc.aio.AioRpcError)]
            assert failed
            assert any("of your sentences are waiting" in str(error.details()) for error in failed)


@asynccontextmanager
async def encrypted(
    authority: Authority, certificate: Path, key: Path, *, clients: bool = False, **settings: Any
) -> AsyncIterator[Running]:
    """Run a server with TLS; its channel trusts the authority but shows no certificate."""
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    if clients:
        tls["tls_client_ca"] = str(authority.file)
    async with running(**tls, **SOON, **settings) as server, secure(server, authority) as channel:
        server.channel, server.stub = channel, TranslationServiceStub(channel)
        yield server


def secure(
    server: Running, authority: Authority, pair: tuple[bytes, bytes] | None = None
) -> grpc.aio.Channel:
    """Return a connection of its own."""
    certificate, key = pair or (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, certificate)
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials, options=options)


async def models(channel: grpc.aio.Channel, **how: Any) -> Any:
    """Make a small call."""
    stub: Any = TranslationServiceStub(channel)
    return await stub.ListModels(pb.ListModelsRequest(), timeout=5, **how)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        """Return one that signs the server's certificate."""
        return Authority(tmp_path / "ca")

    async def test_encrypted(self, authority: Authority, tmp_path: Path) -> None:
        """
        Whoever trusts our authority is served; who trusts another, or speaks plain text, is not.
        """
        stranger = Authority(tmp_path / "stranger")
        async with encrypted(authority, *authority.write("server")) as server:
            assert (await server.stub.Translate(request("Hi."))).translations[0].translated_text
            async with secure(server, stranger) as channel:
                assert "UNAVAILABLE" == (await refused(models(channel)))[0]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                assert "UNAVAILABLE" == (await refused(models(channel)))[0]

    async def test_client_certificates(self, authority: Authority, tmp_path: Path) -> None:
        """
        With an authority for clients, only those whom it signed are served.
        """
        stranger = Authority(tmp_path / "stranger")
        async with encrypted(authority, *authority.write("server"), clients=True) as server:
            async with secure(server, authority, authority.issue("a.example")) as channel:
                await models(channel)
            for pair_ in (None, stranger.issue("a.example")):
                async with secure(server, authority, pair_) as channel:
                    assert "UNAVAILABLE" == (await refused(models(channel)))[0]

    async def test_callers_by_certificate(self, authority: Authority) -> None:
        """
        Without keys, callers take turns by the subject of their certificate.
        """
        seen: list[str] = []
        async with encrypted(authority, *authority.write("server"), clients=True) as server:
            submit = server.served.loop.submit

            def spy(sequences: Any) -> None:
                seen.extend(sequence.caller for sequence in sequences)
                submit(sequences)

            server.served.loop.submit = spy  # type: ignore[method-assign]
            for name in ("billing", "mail"):
                issued = authority.issue("a.example", common_name=name)
                async with secure(server, authority, issued) as channel:
                    await TranslationServiceStub(channel).Translate(request("Hi."))

        assert [True, True] == [
            f"CN={name}" in caller for name, caller in zip(("billing", "mail"), seen, strict=True)
        ]

    async def test_new_certificate(self, authority: Authority, tmp_path: Path) -> None:
        """
        A changed certificate greets the next connection, also one of another authority; those that are open go on.
        """
        certificate, key = authority.write("server")
        other = Authority(tmp_path / "other")
        async with encrypted(authority, certificate, key) as server:
            await models(server.channel)
            for path, content in zip((certificate, key), other.issue(), strict=True):
                path.write_bytes(content)
            await until(
                lambda: server.value("dragoman_security_reloads_total", file="certificate", result="ok")
            )

            async with secure(server, other) as channel:
                await models(channel)
            async with secure(server, authority) as channel:
                assert "UNAVAILABLE" == (await refused(models(channel)))[0]
            await models(server.channel)

    async def test_bad_pair_while_running(
        self, authority: Authority, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A new pair that does not belong together leaves the old one in use, and is logged and counted.
        """
        certificate, key = authority.write("server")
        async with encrypted(authority, certificate, key) as server:
            key.write_bytes(authority.issue()[1])
            await until(
                lambda: server.value("dragoman_security_reloads_total", file="certificate", result="failed")
            )

            async with secure(server, authority) as channel:
                await models(channel)

        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert "key values mismatch; NOT in use" in record.getMessage()

    async def test_bad_settings(self, authority: Authority) -> None:
        """
        A pair that is none, or half of the settings, keep the server from starting, in one line.
        """
        certificate, key = map(str, authority.write("server"))
        _, other = map(str, authority.write("other"))
        for settings, complaint in (
            ({"tls_certificate": certificate, "tls_key": other}, "are no pair: key values mismatch"),
            ({"tls_certificate": certificate}, "tls_certificate is set and tls_key is not"),
            ({"tls_key": key}, "tls_key is set and tls_certificate is not"),
            ({"tls_client_ca": certificate}, "tls_client_ca is set and tls_certificate is not"),
        ):
            with pytest.raises(ConfigError, match=complaint):
                async with running(**settings):
                    pass

    @pytest.mark.drill
    async def test_rotation_under_load(self, authority: Authority, key_file: Path, scale: Scale) -> None:
        """
        Certificates and keys change again and again, connections come and go, and not one call fails.
        """
        certificate, key = authority.write("server")
        shown, used = [keyfile.create(key_file, "k0")], dict[int, str]()
        rotations, calls, failures = scale(50, least=5), 0, list[str]()
        async with encrypted(authority, certificate, key, api_key_file=str(key_file)) as server:
            is_over = asyncio.Event()

            async def caller(name: int) -> None:
                nonlocal calls
                channel = secure(server, authority)
                while not is_over.is_set():
                    used[name] = shown[-1]
                    try:
                        stub: Any = TranslationServiceStub(channel)
                        await stub.Translate(request("Yes."), metadata=bearer(used[name]), timeout=10)
                    except grpc.aio.AioRpcError as error:
                        failures.append(f"{error.code()}: {error.details()}")
                    calls += 1
                    if name:  # all but the first have a new connection for each call
                        await channel.close(None)
                        channel = secure(server, authority)
                await channel.close(None)

            load = [asyncio.create_task(caller(name)) for name in range(3)]
            for number in range(1, rotations + 1):
                for path, content in zip((certificate, key), authority.issue(), strict=True):
                    path.write_bytes(content)  # in place, one after the other: the worst way
                    await asyncio.sleep(0.02)
                new = keyfile.create(key_file, f"k{number}")
                await until(partial(_is_known, server, new))
                shown.append(new)
                await until(lambda: set(used.values()) == {shown[-1]})
                keyfile.revoke(key_file, f"k{number - 1}")
                await until(
                    lambda: server.value("dragoman_security_reloads_total", file="certificate", result="ok") >= len(shown) - 1
                )  # fmt: skip
            is_over.set()
            await asyncio.gather(*load)

        assert [] == failures
        assert calls > 3 * rotations


class TestHealthPort:
    async def test_plain_beside_tls(self, tmp_path: Path) -> None:
        """
        Probes speak no TLS and show no key: health has a port of its own, where there is nothing else.
        """
        authority, key_file = Authority(tmp_path / "ca"), tmp_path / "keys.json"
        keyfile.create(key_file, "a")
        settings: dict[str, Any] = {"health_port": "0", "api_key_file": str(key_file)}
        async with (
            encrypted(authority, *authority.write("server"), **settings) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.server.health_port}") as probe,
        ):
            assert SERVING == await health_of(probe)
            assert "UNIMPLEMENTED" == (await refused(models(probe)))[0]
            assert "UNIMPLEMENTED" == (await refused(reflected(probe)))[0]

    async def test_drains(self) -> None:
        """
        While the server drains, the health port says NOT_SERVING; it closes last.
        """
        async with running(health_port="0") as server:
            port = server.server.health_port
            call = server.stub.Translate(request("The cat sat on the mat, and slept. " * 20))
            await until(lambda: server.value("dragoman_running_sentences"))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as probe:
                assert SERVING == await health_of(probe)

                draining = asyncio.create_task(server.server.drain())
                await asyncio.sleep(0)
                seen = await health_of(probe)
                is_done = draining.done()

                assert (health_pb2.HealthCheckResponse.NOT_SERVING, False) == (seen, is_done)
                assert 20 == len((await call).translations[0].sentences)
                await draining
                assert "UNAVAILABLE" == (await refused(health_of(probe)))[0]

    async def test_taken(self) -> None:
        """
        A health port that is taken keeps the server from starting.
        """
        async with running(health_port="0") as first:
            with pytest.raises(StartupError, match="Address already in use"):
                async with running(health_port=str(first.server.health_port)):
                    pass


class TestSilence:
    async def test_no_text_and_no_key_is_told(self, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
        """
        At the most talkative level, with everything going wrong, neither a text nor a key is in a log line, in an
        error or in a metric.
        """
        caplog.set_level(logging.DEBUG, logger="service")  # what `log_level` changes, and no more
        key = keyfile.create(key_file, "billing", methods=("Translate", "StreamTranslate", "Align"), characters_per_minute=2000)  # fmt: skip
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
            server.served.loop.submit = lambda sequences: 1 / 0  # type: ignore[method-assign, assignment]
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


async def test_metrics_elsewhere(tmp_path: Path) -> None:
    """
    Metrics may listen on an address of their own; the service keeps its own.
    """
    process = await asyncio.create_subprocess_exec(
        *_command("--host", "127.0.0.1", "--metrics-host", "127.0.0.2", "--health-port", "0"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DRAGOMAN_THREADS": "1"},
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            line = json.loads(await process.stderr.readline())["message"]
            more = json.loads(await process.stderr.readline())["message"]
        port = int(line.split("metrics on port ")[1].split()[0])

        _, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert more.startswith("plain text; no API keys, open to all who reach it; health on port ")
    finally:
        process.terminate()
        await process.communicate()
    assert 0 == process.returncode


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service", "serve", "--port", "0", "--metrics-port", "0", *arguments]
