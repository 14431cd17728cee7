"""The reloader: applies changed bundles and settings while the server runs, on SIGHUP and when files change.

It checks and loads in a thread of its own, which a hanging volume may block, and exchanges models in the event loop,
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
    """Watches the files of a server. Create it in the event loop in which it runs."""

    def __init__(self, registry: ModelRegistry, load: Load, read: Callable[[], Settings]) -> None:
        """Prepare to watch.

        Args:
            read: Returns the current settings of flags, environment and file.

        Raises:
            StartupError: There is no thread to spare.
        """
        self._registry = registry
        self._load = load
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._is_stopping = False
        self._reader = Background("reload")
        self._retiring: set[asyncio.Task[None]] = set()

    def ask(self) -> None:
        """Reload at once, or after a reload in progress. Any thread and any signal handler may call it."""
        self._loop.call_soon_threadsafe(self._asked.set)

    def stop(self) -> None:
        """End `run` after a reload in progress, whose models are no longer used."""
        self._is_stopping = True
        self._asked.set()

    async def run(self) -> None:
        """Watch until stopped. A change counts as complete once two looks in a row have found the same."""
        seen: Fingerprint | None = None
        taken: Fingerprint | None = None  # not even the first look: a file may have changed since it was read
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
        """Wait until the next look is due or a reload is asked for; return whether one was."""
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
        """Apply what has changed. What cannot be applied is logged and counted, and changes nothing."""
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
        """Close a model once its calls are done; after `retire_seconds`, the others find it closed."""
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
    """Log and count bundles that cannot be served."""
    for error in refused:
        log.error("refused, what is loaded goes on serving: %s", error)
        registry.metrics.reloads.labels("model_refused").inc()
