"""Ports beside that of the service: health for probes, metrics elsewhere."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.errors import StartupError
from dragoman.security import key_store
from tests.certificates import Authority
from tests.rpc.contract import refused, request
from tests.rpc.guards import SERVING, encrypted, health_of, models, reflected
from tests.servers import running, until


class TestHealthPort:
    async def test_plain_beside_tls(self, tmp_path: Path) -> None:
        """
        Probes speak no TLS and show no key: health has a port of its own, where there is nothing else.
        """
        authority, key_file = Authority(tmp_path / "ca"), tmp_path / "keys.json"
        key_store.create(key_file, "a")
        settings: dict[str, Any] = {"health_port": "0", "api_key_file": str(key_file)}
        async with (
            encrypted(authority, *authority.write("server"), **settings) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.server.health_port}") as probe,
        ):
            assert SERVING == await health_of(probe)
            assert "UNIMPLEMENTED" == (await refused(models(probe)))[0]
            assert "UNIMPLEMENTED" == (await refused(reflected(probe)))[0]

    async def test_lists(self) -> None:
        """
        `List` names each service with its status, as `Check` gives it one by one, and takes no long request either.
        """
        names = {"", "dragoman.v1.TranslationService"}
        async with running(health_port="0") as server:
            for port in (server.port, server.server.health_port):
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as probe:
                    stub: Any = health_pb2_grpc.HealthStub(probe)
                    reply = await stub.List(health_pb2.HealthListRequest(), timeout=5)
                    raw: Any = probe.unary_unary("/grpc.health.v1.Health/List", bytes, bytes)
                    said = await refused(raw(b"\x0a\xfe\x07" + b"x" * 1022, timeout=5))

                    assert names <= reply.statuses.keys()
                    for name, one in reply.statuses.items():
                        checked = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
                        assert SERVING == one.status == checked.status
                    assert said[0] in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}  # by us, or by the transport

    async def test_drains(self) -> None:
        """
        While the server drains, the health port says NOT_SERVING; it closes last.
        """
        async with running(health_port="0") as server:
            port = server.server.health_port
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as probe:
                assert SERVING == await health_of(probe)

                with server.held():
                    call = server.stub.Translate(request("The cat sat on the mat, and slept. " * 20))
                    await until(lambda: server.running)
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
    return [sys.executable, "-m", "dragoman", "serve", "--port", "0", "--metrics-port", "0", *arguments]
