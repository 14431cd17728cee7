"""`dragoman models`: what a server serves."""

from __future__ import annotations

import argparse
import json

from dragoman.cli.connection import add_flags as add_connection_flags
from dragoman.cli.connection import connect


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the address of the server."""
    parser.add_argument(
        "--server", default="localhost:50051", metavar="HOST:PORT", help="default: localhost:50051"
    )
    add_connection_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print models, language pairs and limits as JSON."""
    with connect(arguments) as client:
        print(json.dumps(client.models(), indent=2, ensure_ascii=False))
