"""Credentials of a client: the authorities it trusts, and how it identifies itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from dragoman.errors import ConfigError


@dataclass(frozen=True)
class Credentials:
    """What secures a channel and identifies its calls; empty by default.

    Attributes:
        api_key: As `dragoman keys create` printed it. Without TLS it travels in plain text.
        tls: Whether to encrypt, and to trust the authorities that come with gRPC; implied by the others.
        ca: Authorities to trust instead, as PEM.
        certificate: The client's own, as PEM, if the server asks for one.
        key: The private key of that certificate, as PEM.
    """

    api_key: str = ""
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("a client certificate needs its private key, and the other way round")
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise ConfigError("the API key must be printable ASCII without spaces")

    def __repr__(self) -> str:
        return "Credentials(...)"  # a key must not end in a log

    def channel(self) -> grpc.ChannelCredentials | None:
        """Return what a secure channel needs; None for one in plain text.

        Raises:
            OSError: A file cannot be read.
        """
        if not (self.tls or self.ca or self.certificate):
            return None
        roots, key, certificate = (
            path.read_bytes() if path else None for path in (self.ca, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(roots, key, certificate)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what each call sends."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()


NONE = Credentials()
