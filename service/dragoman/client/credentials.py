"""A client's side: whom it trusts, and how it shows who it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from dragoman.errors import ConfigError
from dragoman.files import text_lines

KEY_VARIABLE = "DRAGOMAN_API_KEY"


@dataclass(frozen=True)
class Credentials:
    """What a channel and its calls need; nothing at all by default.

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


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags by which a command shows who it is."""
    group = parser.add_argument_group("connection")
    group.add_argument("--tls", action="store_true", help="encrypt; implied by the next three")
    group.add_argument("--ca", type=Path, metavar="FILE", help="trust these authorities, as PEM")
    group.add_argument("--client-certificate", type=Path, metavar="FILE", help="show this, as PEM")
    group.add_argument("--client-key", type=Path, metavar="FILE", help="its private key, as PEM")
    group.add_argument(
        "--api-key-from", type=Path, metavar="FILE",
        help=f"file with the API key (default: environment {KEY_VARIABLE}); never on the command line, which all may read",
    )  # fmt: skip


def of_command(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Credentials:
    """Return the credentials that a command was given.

    Raises:
        ConfigError: They do not fit together.
        OSError: The file with the key cannot be read.
    """
    api_key = environment.get(KEY_VARIABLE, "")
    if arguments.api_key_from is not None:
        with open(arguments.api_key_from, "rb") as file:
            api_key = "".join(text_lines(file, str(arguments.api_key_from)))
    return Credentials(
        api_key.strip(), arguments.tls, arguments.ca, arguments.client_certificate, arguments.client_key
    )
