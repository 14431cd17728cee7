"""Servers that want keys or speak TLS, and what a caller does there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.certificates import Authority
from tests.servers import Running, running

SOON = {"security_reload_seconds": "0.05"}
SERVING = health_pb2.HealthCheckResponse.SERVING


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that shows a key."""
    return (("authorization", f"Bearer {key}"),)


@asynccontextmanager
async def guarded(path: Path, **settings: str) -> AsyncIterator[Running]:
    """Run a server that wants keys."""
    async with running(api_key_file=str(path), **SOON, **settings) as server:
        yield server


def is_known(server: Running, key: str) -> bool:
    """Tell whether a server has read a key."""
    ring = server.server.security._keys
    return ring is not None and ring.value.find(key) is not None


async def health_of(channel: Any, **how: Any) -> int:
    """Return what a probe would see."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    reply = await stub.Check(health_pb2.HealthCheckRequest(), **how)
    return int(reply.status)


async def reflected(channel: Any, metadata: Any = ()) -> int:
    """Return how many services reflection lists."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    async for reply in stub.ServerReflectionInfo(iter([asked]), metadata=metadata):
        return len(reply.list_services_response.service)
    return 0


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
