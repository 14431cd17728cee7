"""`dragoman keys`: make, list and revoke API keys."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from dragoman.errors import ConfigError, quoted
from dragoman.files import writable_by_all
from dragoman.observability.metrics import METHODS
from dragoman.security import key_store
from dragoman.security.keys import moment

FILE_VARIABLE = "DRAGOMAN_API_KEY_FILE"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `dragoman keys`."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="add a key and print it, once")
    create.add_argument(
        "--methods", metavar="NAMES", help=f"what it may call, with commas (default: {','.join(METHODS)})"
    )
    for unit in ("requests", "characters"):
        create.add_argument(
            f"--{unit}-per-minute", metavar="NUMBER", default="0", help="quota (default: 0, none)"
        )
    create.add_argument(
        "--expires", metavar="DATE", help="not valid any more from this day on (default: never)"
    )
    revoke = verbs.add_parser("revoke", help="remove a key; running servers notice within seconds")
    for verb in (create, revoke):
        verb.add_argument("id", metavar="ID", help="name of the key: a-z, 0-9, hyphens")
    for verb in (
        create,
        revoke,
        verbs.add_parser("list", help="show all keys; the keys themselves are kept nowhere"),
    ):
        verb.add_argument(
            "--file", type=Path, metavar="FILE", help=f"the key file (default: environment {FILE_VARIABLE})"
        )


def run(arguments: argparse.Namespace) -> None:
    """Run the verb that was given."""
    path = arguments.file or Path(os.environ.get(FILE_VARIABLE, ""))
    if not path.name:
        raise ConfigError(f"which key file? give --file or set {FILE_VARIABLE}")
    {"create": _create, "list": _list, "revoke": _revoke}[arguments.verb](arguments, path)
    for place in writable_by_all(path):
        print(f"dragoman: {place} may be written by all users of this machine (chmod o-w)", file=sys.stderr)


def _create(arguments: argparse.Namespace, path: Path) -> None:
    wanted: dict[str, Any] = {
        name: _number(f"--{name.replace('_', '-')}", getattr(arguments, name))
        for name in ("requests_per_minute", "characters_per_minute")
    }
    if arguments.methods is not None:
        wanted["methods"] = tuple(name.strip() for name in arguments.methods.split(","))
    if arguments.expires is not None:
        wanted["expires"] = moment("--expires", arguments.expires)
    key = key_store.create(path, arguments.id, **wanted)
    print(key)
    print(f"This is the only time that the key is shown; {path} has its SHA-256 only.", file=sys.stderr)


def _revoke(arguments: argparse.Namespace, path: Path) -> None:
    key_store.revoke(path, arguments.id)


def _list(arguments: argparse.Namespace, path: Path) -> None:
    """Print one key a line, in columns that do not change with the width of the terminal."""
    rows: list[tuple[str, ...]] = [("ID", "REQUESTS/MIN", "CHARACTERS/MIN", "CREATED", "EXPIRES", "MAY CALL")]
    for key in key_store.read(path).keys:
        rows.append(
            (
                key.id,
                *(
                    f"{quota:,}" if quota else "-"
                    for quota in (key.requests_per_minute, key.characters_per_minute)
                ),
                *(f"{day:%Y-%m-%d}" if day else "-" for day in (key.created, key.expires)),
                "all" if set(key.methods) == set(METHODS) else " ".join(key.methods) or "nothing",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _number(flag: str, said: str) -> int:
    try:
        return int(said)
    except ValueError:
        raise ConfigError(f"{flag}={quoted(said)}: not a whole number") from None
