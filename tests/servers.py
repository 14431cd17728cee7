"""Real servers on loopback, with the embedded bundle."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from dragoman import config
from dragoman.observability.metrics import PRIORITIES, Metrics
from dragoman.observability.tracing import Tracer
from dragoman.registry.loading import build
from dragoman.registry.model_registry import ModelRegistry
from dragoman.rpc.server import Server
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub

ONE_BY_ONE = {"max_running_sentences": "1", "decode_loops": "1"}  # a text of some sentences takes a while


class Running:
    """A server, and a client's view of it."""

    def __init__(
        self, server: Server, registry: ModelRegistry, metrics: Metrics, channel: Any, address: str
    ) -> None:
        self.server, self.registry, self.metrics, self.channel = server, registry, metrics, channel
        self.address, self.port = address, int(address.rpartition(":")[2])
        self.stub: Any = TranslationServiceStub(channel)

    def value(self, name: str, **labels: str) -> float:
        """Return a sample of the metrics; one that does not exist is 0."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make no decoder step for a while: what is in work stays in work, however fast the machine is."""
        released = threading.Event()
        runners = [worker.runner for worker in self.registry.models[0].pool.workers]

        def after_release(step: Callable[..., Any], *arguments: Any) -> Any:
            assert released.wait(100)
            return step(*arguments)

        for runner in runners:
            runner.step = partial(after_release, runner.step)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for runner in runners:
                del runner.step
            released.set()

    @property
    def running(self) -> int:
        """Return how many sentences are in work, as the schedulers know it: the metric follows after a step."""
        return sum(len(worker.scheduler.running) for worker in self.registry.models[0].pool.workers)

    @property
    def waiting(self) -> float:
        """Return how many sentences wait, of all priorities."""
        return sum(self.value("dragoman_queue_depth", priority=name) for name in PRIORITIES)


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[Running]:
    """Run a server on a free port for a while."""
    async with running_traced(None, **settings) as server:
        yield server


@asynccontextmanager
async def running_traced(tracer: Tracer | None, /, **settings: str) -> AsyncIterator[Running]:
    """Run a server that tells of its calls."""
    registry, metrics = build(config.read({"host": "127.0.0.1", "port": "0", **settings}, {}))
    try:
        server = Server(registry, metrics, tracer)
        port = await server.start()
    except BaseException:
        registry.close()
        raise
    try:
        address = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield Running(server, registry, metrics, channel, address)
    finally:  # also when a test fails, or the process would never end
        await server.drain()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the server notices in its own time."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Running]:
    """Return a server with default settings."""
    async with running() as default:
        yield default


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return where the keys of a server are, or will be."""
    return tmp_path / "keys.json"
