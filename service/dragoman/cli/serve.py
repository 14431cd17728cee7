"""`dragoman serve`: run the server until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from prometheus_client import start_http_server

from dragoman.config import Settings
from dragoman.engine.processors import usable_threads
from dragoman.errors import StartupError
from dragoman.observability import logs, tracing
from dragoman.observability.metrics import Metrics
from dragoman.observability.tracing import Tracer
from dragoman.registry.allocator import bound_memory
from dragoman.registry.loading import build, reloader
from dragoman.registry.model_registry import ModelRegistry
from dragoman.rpc.server import Server, serve_until_stopped

log = logging.getLogger(__name__)


def serve(read: Callable[[], Settings]) -> None:
    """Run the server until it is told to stop.

    Args:
        read: Returns the settings as they are written at the moment.
    """
    settings = read()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks for, a reload, is about to be done anyway
    bound_memory()
    logs.configure(settings.log_level)
    registry, metrics = build(settings)
    try:
        with _metrics_server(settings, metrics) as metrics_port, tracing.opened(settings) as tracer:

            def announce(port: int) -> None:
                log.info(
                    "serving %s on %s port %d, metrics on port %s (%s, decode loops: %d, threads of each: %d)",
                    ", ".join(model.full_name for model in registry.models), settings.host, port, metrics_port,
                    registry.kernel_set, registry.num_workers, registry.threads,
                )  # fmt: skip

            asyncio.run(_serve(registry, metrics, tracer, read, announce))
    finally:
        registry.close()


@contextmanager
def _metrics_server(settings: Settings, metrics: Metrics) -> Iterator[int | None]:
    """Serve /metrics in a thread of its own, if wanted; yield the port."""
    if settings.metrics_port < 0:
        yield None
        return
    try:
        host = settings.metrics_host or settings.host
        server, thread = start_http_server(settings.metrics_port, host, metrics.registry)
    except OSError as error:
        address = f"{host}:{settings.metrics_port}"
        raise StartupError(f"cannot serve metrics on {address}: {error.strerror}") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _serve(
    registry: ModelRegistry,
    metrics: Metrics,
    tracer: Tracer | None,
    read: Callable[[], Settings],
    announce: Callable[[int], None],
) -> None:
    # Texts are cut aside and models loaded aside: by as many threads as there are processors for, not as the host has.
    aside = ThreadPoolExecutor(max_workers=usable_threads(registry.cores) + 1, thread_name_prefix="aside")
    asyncio.get_running_loop().set_default_executor(aside)
    await serve_until_stopped(Server(registry, metrics, tracer), reloader(registry, read), announce)
