"""Real servers on loopback, with the embedded bundle."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest_asyncio

from service import config
from service.assembly import build
from service.metrics import Metrics
from service.pb.dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from service.rpc.served import Served
from service.rpc.server import Server


class Running:
    """A server, and a client's view of it."""

    def __init__(self, server: Server, served: Served, metrics: Metrics, channel: Any, port: int) -> None:
        self.server, self.served, self.metrics, self.channel = server, served, metrics, channel
        self.port = port
        self.stub: Any = TranslationServiceStub(channel)

    def value(self, name: str, **labels: str) -> float:
        """Return a sample of the metrics; one that does not exist is 0."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[Running]:
    """Run a server on a free port for a while."""
    served, metrics = build(config.read({"host": "127.0.0.1", "port": "0", **settings}, {}))
    server = Server(served, metrics)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(server, served, metrics, channel, port)
    finally:  # also when a test fails, or the process would never end
        await server.drain()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Running]:
    """Return a server with default settings."""
    async with running() as default:
        yield default
