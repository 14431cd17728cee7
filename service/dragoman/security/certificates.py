"""The server's certificate, and the authority that signs those of its clients; both may change while it runs."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import cast

import grpc

from dragoman.errors import ConfigError
from dragoman.security.reloading_file import ReloadingFile


class Certificates:
    """What every new connection is greeted with; those that are open keep what they began with."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Args:
            certificate: Ours, then those between ours and the root, as PEM.
            key: Its private key, as PEM, without a passphrase.
            client_ca: Who signs the certificates of clients, which are then required.

        Raises:
            ConfigError: They cannot be read, or do not belong together.
        """
        self._pair, self._client_ca = (certificate, key), client_ca
        paths = [certificate, key, *([client_ca] if client_ca else [])]
        self.reloading_file = ReloadingFile("certificate", paths, self._parse)
        self._in_use = self.reloading_file.value

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port needs, which asks for news at each new connection."""
        self._in_use = self.reloading_file.value
        return grpc.dynamic_ssl_server_credentials(
            self._in_use, self._news, require_client_authentication=self._client_ca is not None
        )

    def _news(self) -> grpc.ServerCertificateConfiguration:
        """Return what has changed, or None; runs in a thread of gRPC's, before the handshake, so nothing is read."""
        latest = self.reloading_file.value
        if latest is self._in_use:
            return cast(grpc.ServerCertificateConfiguration, None)  # the stubs do not know that it may be
        self._in_use = latest
        return latest

    def _parse(self, contents: list[bytes]) -> grpc.ServerCertificateConfiguration:
        """Check by OpenSSL, for gRPC would tell at the first handshake, and in its own log only."""
        certificate, key = self._pair
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{certificate} and {key} are no pair: {_reason(error)}") from None
        except OSError as error:  # gone since it was read
            raise ConfigError(f"{certificate}, {key}: {error.strerror}") from None
        if self._client_ca is not None:
            try:
                context.load_verify_locations(cafile=self._client_ca)
            except (ssl.SSLError, OSError) as error:
                raise ConfigError(f"{self._client_ca} is no certificate: {_reason(error)}") from None
        chain, private, *roots = contents
        return grpc.ssl_server_certificate_configuration([(private, chain)], roots[0] if roots else None)


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _reason(error: Exception) -> str:
    """Return what OpenSSL says; it names kinds of faults, never content."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return "not PEM, or not whole" if "PEM lib" in str(said) else str(said).replace("_", " ").lower()
