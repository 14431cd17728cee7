"""Take over changed bundles and settings while the server runs, on SIGHUP and when files change.

Looks, checks and loads in a thread of its own, which a volume that hangs may hold; exchanges in that of the event loop,
between two calls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from dragoman.config import Settings, take_over
from dragoman.errors import ConfigError, DragomanError
from dragoman.observability import logs
from dragoman.registry.model_registry import LoadedModel, ModelRegistry
from dragoman.registry.repository import Fingerprint, Load, inputs_fingerprint, scan
from dragoman.threads import Background

T = TypeVar("T")
log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05


class Reloader:
    """Watches what a server was made of. Made in the event loop that it runs in."""

    def __init__(self, registry: ModelRegistry, load: Load, read: Callable[[], Settings]) -> None:
        """Begin to watch nothing yet.

        Args:
            read: Returns the settings as flags, environment and file say now.

        Raises:
            StartupError: There is no thread to spare.
        """
        self._registry, self._load, self._read = registry, load, read
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._is_stopping = False
        self._reader = Background("reload")
        self._retiring: set[asyncio.Task[None]] = set()

    def ask(self) -> None:
        """Reload at once, or after the reload that runs. For any thread, and for a signal handler."""
        self._loop.call_soon_threadsafe(self._asked.set)

    def stop(self) -> None:
        """Let `run` end, after the reload that runs; its models are not taken over any more."""
        self._is_stopping = True
        self._asked.set()

    async def run(self) -> None:
        """Watch until stopped. A change is taken over once two looks have found the same: it is complete then."""
        seen: Fingerprint | None = None
        taken: Fingerprint | None = None  # not even the start: a file may have changed since it was read
        while True:
            is_asked = await self._pause()
            if self._is_stopping:
                break
            last, seen = seen, await self._aside(inputs_fingerprint, self._registry.settings)
            if is_asked or (seen == last and seen != taken):
                taken = seen
                await self.reload()
        self._reader.close()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def _pause(self) -> bool:
        """Wait for the time of the next look, or until somebody asks; return whether somebody did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._registry.settings.reload_seconds or None):
                await self._asked.wait()
        is_asked = self._asked.is_set()
        self._asked.clear()
        return is_asked

    async def _aside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do what reads files; if it takes longer than a file may, that is told, and waited for nevertheless.

        To ask again would only hold another thread.
        """
        patience = self._registry.settings.file_read_seconds
        task = asyncio.ensure_future(self._reader.do(work, *arguments))
        done, _ = await asyncio.wait({task}, timeout=patience)
        if not done:
            log.error("a reload has taken more than %g seconds; what is loaded goes on serving", patience)
            self._registry.metrics.last_reload_successful.set(0)
        return await task

    async def reload(self) -> None:
        """Take over what has changed; what cannot be taken over is logged and counted, and changes nothing."""
        try:
            is_good = await self._reload_settings()
            is_good &= await self._reload_models()
        except Exception:  # a watch that ends in silence would miss all that comes
            log.exception("reload failed; what was loaded goes on serving")
            self._registry.metrics.reloads.labels("failed").inc()
            is_good = False
        self._registry.metrics.last_reload_successful.set(is_good)

    async def _reload_settings(self) -> bool:
        try:
            wanted = await self._aside(self._read)
        except ConfigError as error:
            log.error("settings refused, the old ones stay in use: %s", error)
            self._registry.metrics.reloads.labels("settings_refused").inc()
            return False
        settings, changed, waiting = take_over(self._registry.settings, wanted)
        for said in waiting:
            log.warning("setting %s takes effect when the server is started anew", said)
        if changed:
            if settings.log_level != self._registry.settings.log_level:
                logs.set_level(settings.log_level)
            self._registry.configure(settings)
            log.info("settings changed: %s", ", ".join(changed))
            self._registry.metrics.reloads.labels("settings_changed").inc()
        return True

    async def _reload_models(self) -> bool:
        present = list(self._registry.models)
        found = await self._aside(scan, self._registry.settings, present, self._load)
        if self._is_stopping:
            for model in found.models:
                if model not in present:
                    await asyncio.to_thread(model.close)
            return True
        report_refused(self._registry, found.refused)
        if found.models and found.models != present:
            for model in found.models:
                if model not in present:
                    log.info(
                        "loaded %s from %s in %.1f s",
                        model.full_name,
                        model.bundle.folder,
                        model.load_seconds,
                    )
                    self._registry.metrics.reloads.labels("model_loaded").inc()
            for model in self._registry.exchange(found.models):
                task = asyncio.create_task(self._retire(model))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
        return not found.refused

    async def _retire(self, model: LoadedModel) -> None:
        """Close a model once its calls are done; those that take too long find it closed."""
        began = time.monotonic()
        while model.calls and time.monotonic() - began < self._registry.settings.retire_seconds:
            await asyncio.sleep(_POLL_SECONDS)
        left = model.calls
        await asyncio.to_thread(self._registry.retire, model)
        log.info(
            "retired %s after %.1f s, calls that still use it: %d",
            model.full_name,
            time.monotonic() - began,
            left,
        )
        self._registry.metrics.reloads.labels("model_retired").inc()


def report_refused(registry: ModelRegistry, refused: list[DragomanError]) -> None:
    """Log and count the bundles that cannot be served."""
    for error in refused:
        log.error("refused, what is loaded goes on serving: %s", error)
        registry.metrics.reloads.labels("model_refused").inc()
