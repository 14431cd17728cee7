"""What the settings say about who may call, put together, and kept up to date while the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import grpc

from dragoman.config import Settings
from dragoman.errors import ConfigError
from dragoman.observability.metrics import Metrics
from dragoman.rpc.access import Access
from dragoman.rpc.memory_budget import MemoryBudget
from dragoman.rpc.peers import Peers
from dragoman.security import keys
from dragoman.security.certificates import Certificates
from dragoman.security.guard import Guard
from dragoman.security.reloading_file import ReloadingFile
from dragoman.threads import Background

log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 20.0  # twice as long as reading may take: so long it takes only if a single read hangs


class Security:
    """Certificates and keys of one server."""

    def __init__(
        self, settings: Settings, metrics: Metrics, share: Callable[[], float] = lambda: 1.0
    ) -> None:
        """Read both.

        Args:
            share: Says which part of what calls may hold one caller's may.

        Raises:
            ConfigError: A file is missing, or makes no sense.
        """
        self._settings, self._metrics = settings, metrics
        self._certificates = _certificates(settings)
        path = settings.api_key_file
        self._keys = (
            ReloadingFile("API keys", [Path(path)], lambda read: keys.parse(read[0])) if path else None
        )
        ring = self._keys
        guard = Guard((lambda: ring.value) if ring else None, start_share=settings.quota_start_share)
        memory = MemoryBudget(settings.max_held_bytes, share)
        self.access = Access(guard, memory, _peers(settings), knows_clients=bool(settings.tls_client_ca))
        self._readers: list[Background] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def credentials(self) -> grpc.ServerCredentials | None:
        """Return what the port of the service needs; None for plain text."""
        return self._certificates.credentials() if self._certificates else None

    def __str__(self) -> str:
        clients = " with client certificates" if self._settings.tls_client_ca else ""
        tls = f"TLS{clients}" if self._certificates else "plain text"
        known = (
            f"API keys: {len(self._keys.value.keys)}"
            if self._keys
            else "no API keys, open to all who reach it"
        )
        return f"{tls}; {known}"

    def watch(self) -> None:
        """Look at the files from now on, at each kind in a thread of its own: its volume may hang.

        Raises:
            StartupError: There is no thread to spare.
        """
        reloading: list[tuple[str, ReloadingFile[Any]]] = []
        if self._certificates:
            reloading.append(("certificate", self._certificates.reloading_file))
        if self._keys:
            reloading.append(("keys", self._keys))
        for file, files in reloading:
            self._readers.append(Background(file))
            self._tasks.append(asyncio.create_task(self._watch(file, files, self._readers[-1])))

    async def close(self) -> None:
        """Look no more."""
        for reader in self._readers:
            reader.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, file: str, reloading: ReloadingFile[Any], reader: Background) -> None:
        """Look at some files again and again, whatever happens."""
        while True:
            await asyncio.sleep(self._settings.security_reload_seconds)
            try:
                done = await self._refresh(reloading, reader)
            except Exception:
                log.exception("%s: cannot be looked at", reloading.name)
                done = False
            if done is not None:
                self._metrics.security_reloads.labels(file, "ok" if done else "failed").inc()
            is_well = reloading.is_current if done is None else done
            self._metrics.last_security_reload_successful.labels(file).set(is_well)

    async def _refresh(self, reloading: ReloadingFile[Any], reader: Background) -> bool | None:
        """Look once; a volume that hangs is told of, and waited for."""
        look = asyncio.ensure_future(reader.do(reloading.refresh))
        done, _ = await asyncio.wait({look}, timeout=_PATIENCE_SECONDS)
        if done:
            return look.result()
        log.error(
            "%s: reading takes more than %g seconds; what was read before is in use",
            reloading.name,
            _PATIENCE_SECONDS,
        )
        found = await look
        return False if found is None else found


def _peers(settings: Settings) -> Peers:
    trusted = (name.strip() for name in settings.trusted_peers.split(","))
    try:
        networks = tuple(ip_network(name) for name in trusted if name)
    except ValueError as error:
        raise ConfigError(f"trusted_peers: {error}") from None
    return Peers(settings.max_refused_calls_per_second, settings.ban_seconds, trusted=networks)


def _certificates(settings: Settings) -> Certificates | None:
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if bool(certificate) != bool(key):
        given, missing = ("tls_certificate", "tls_key") if certificate else ("tls_key", "tls_certificate")
        raise ConfigError(f"{given} is set and {missing} is not; TLS needs both")
    if client_ca and not certificate:
        raise ConfigError(
            "tls_client_ca is set and tls_certificate is not; only TLS knows client certificates"
        )
    if not certificate:
        return None
    return Certificates(Path(certificate), Path(key), Path(client_ca) if client_ca else None)
