"""TLS on real servers and real connections: certificates, theirs and ours, and their change."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from dragoman.errors import ConfigError
from dragoman.security import key_store
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.certificates import Authority
from tests.conftest import Scale
from tests.rpc.contract import refused, request
from tests.rpc.guards import bearer, encrypted, is_known, models, secure
from tests.servers import running, until


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
            submit = server.registry.pool.submit

            def spy(requests: Any) -> None:
                seen.extend(sequence.caller for sequence in requests)
                submit(requests)

            server.registry.pool.submit = spy  # type: ignore[method-assign]
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
        A new pair that does not belong together leaves the old one in use, and is logged, counted and shown until it is right.
        """
        certificate, key = authority.write("server")
        good, shown = key.read_bytes(), "dragoman_last_security_reload_successful"
        async with encrypted(authority, certificate, key) as server:
            key.write_bytes(authority.issue()[1])
            await until(
                lambda: server.value("dragoman_security_reloads_total", file="certificate", result="failed")
            )

            assert (0, 1) == (server.value(shown, file="certificate"), server.value(shown, file="keys"))
            async with secure(server, authority) as channel:
                await models(channel)
            key.write_bytes(good)
            await until(lambda: 1 == server.value(shown, file="certificate"))

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
        shown, used = [key_store.create(key_file, "k0")], dict[int, str]()
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
                new = key_store.create(key_file, f"k{number}")
                await until(partial(is_known, server, new))
                shown.append(new)
                await until(lambda: set(used.values()) == {shown[-1]})
                key_store.revoke(key_file, f"k{number - 1}")
                await until(
                    lambda: server.value("dragoman_security_reloads_total", file="certificate", result="ok") >= len(shown) - 1
                )  # fmt: skip
            is_over.set()
            await asyncio.gather(*load)

        assert [] == failures
        assert calls > 3 * rotations
