"""Options by which a command finds a server and shows who it is."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from dragoman.client.credentials import Credentials
from dragoman.client.sync import Client
from dragoman.files import text_lines

KEY_VARIABLE = "DRAGOMAN_API_KEY"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options of credentials."""
    group = parser.add_argument_group("connection")
    group.add_argument("--tls", action="store_true", help="encrypt; implied by the next three")
    group.add_argument("--ca", type=Path, metavar="FILE", help="trust these authorities, as PEM")
    group.add_argument("--client-certificate", type=Path, metavar="FILE", help="show this, as PEM")
    group.add_argument("--client-key", type=Path, metavar="FILE", help="its private key, as PEM")
    group.add_argument(
        "--api-key-from", type=Path, metavar="FILE",
        help=f"file with the API key (default: variable {KEY_VARIABLE})",  # a command line is public
    )  # fmt: skip


def credentials(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Credentials:
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


def connect(arguments: argparse.Namespace) -> Client:
    """Return a client of the server that a command names, with the credentials it gives."""
    return Client(arguments.server, credentials=credentials(arguments))
