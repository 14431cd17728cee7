"""`dragoman serve`: the life of a server, from its first thread to its last."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from dragoman.config import Settings
from dragoman.engine.processors import usable_threads
from dragoman.observability import logs, trace_export
from dragoman.observability.metrics import Metrics
from dragoman.observability.metrics_server import MetricsServer
from dragoman.observability.tracing import Tracer
from dragoman.registry.allocator import bound_memory
from dragoman.registry.loading import build, reloader
from dragoman.registry.model_registry import ModelRegistry
from dragoman.registry.reloader import Reloader
from dragoman.rpc.server import Server
from dragoman.threads import LastResort, end_now, started_pool, still_busy

log = logging.getLogger(__name__)
# Behind the time to drain: for the last replies, the health port and the models. The log may take two seconds more.
# docs/operations.md and the manifests count on eight.
_LAST_SECONDS = 6.0
_OWN_DESCRIPTORS = 100  # of libraries, event loops, the log, files that are read
_RELOAD_SECONDS = 1.0  # for a reload to end that nobody will use


def serve(read: Callable[[], Settings]) -> None:
    """Run the server until it is told to stop.

    Args:
        read: Returns the settings as they are written at the moment.
    """
    settings = read()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks for, a reload, is about to be done anyway
    bound_memory()
    logs.configure(settings.log_level)
    _allow_descriptors(settings)
    # As the first process of a container it would otherwise be deaf to the signal until it serves.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with closing(LastResort()) as last_resort:
        _serve_models(settings, read, last_resort)


def _serve_models(settings: Settings, read: Callable[[], Settings], last_resort: LastResort) -> None:
    """Load what is to be served, and serve it until the process is told to stop."""
    registry, metrics = build(settings)
    try:
        with _metrics_server(settings, metrics) as metrics_port, trace_export.opened(settings) as tracer:

            def announce(port: int) -> None:
                log.info(
                    "serving %s on %s port %d, metrics on port %s (%s, decode loops: %d, threads of each: %d)",
                    ", ".join(model.full_name for model in registry.models), settings.host, port, metrics_port,
                    registry.kernel_set, registry.num_workers, registry.threads,
                )  # fmt: skip

            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(_serve(registry, metrics, tracer, read, announce, last_resort))
    finally:
        registry.close()
    if names := still_busy():
        log.warning("ends although this is still waited for: %s", ", ".join(names))
        end_now(0)  # all calls are done; the interpreter would end beside threads that run


def _allow_descriptors(settings: Settings) -> None:
    """Let the process have a descriptor for each connection that its ports may take, or say that it may not.

    Each port has a bound of its own; where they are more than the system allows, one port can take what another needs.
    """
    ports = 2 if settings.health_port >= 0 else 1
    wanted = ports * settings.max_connections + 2 * settings.max_metrics_connections + _OWN_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if max(soft, allowed) < wanted:
        log.warning(
            "open files: the system allows %d, all connections may take %d; lower max_connections",
            hard,
            wanted,
        )


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that ends without a new thread: by itself it would start one to wait for those beside it."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: all work is done, and closing the loop lets idle threads go."""


@contextmanager
def _metrics_server(settings: Settings, metrics: Metrics) -> Iterator[int | None]:
    """Serve /metrics in a thread of its own, if wanted; yield the port."""
    if settings.metrics_port < 0:
        yield None
        return
    server = MetricsServer(
        metrics, settings.metrics_host or settings.host, settings.metrics_port,
        max_connections=settings.max_metrics_connections, seconds=settings.metrics_seconds,
    )  # fmt: skip
    try:
        yield server.port
    finally:
        server.close()


async def _serve(
    registry: ModelRegistry,
    metrics: Metrics,
    tracer: Tracer | None,
    read: Callable[[], Settings],
    announce: Callable[[int], None],
    last_resort: LastResort,
) -> None:
    # Texts are cut aside and models closed aside: by as many threads as there are processors for, not as the host has.
    aside = started_pool(usable_threads(registry.cores) + 1, "aside")
    asyncio.get_running_loop().set_default_executor(aside)
    server, reloading = Server(registry, metrics, tracer), reloader(registry, read)
    last_resort.patience = lambda: registry.settings.drain_seconds + _LAST_SECONDS
    await _serve_until_stopped(server, reloading, announce)


async def _serve_until_stopped(server: Server, reloader: Reloader, announce: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; SIGHUP reloads."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    # Not by `add_signal_handler`: the loop would take the signals from the last resort.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask())
    announce(await server.start())
    log.info("%s; health on port %s", server.security, server.health_port or "of the service")
    reloading = asyncio.create_task(reloader.run())
    await stop.wait()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # till the very end
    log.info("draining")
    reloader.stop()
    await server.drain()
    done, _ = await asyncio.wait({reloading}, timeout=_RELOAD_SECONDS)
    for task in done:
        task.result()
