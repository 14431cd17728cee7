"""The languages of a command: `--from` and `--to`, where a name is answered with its code."""

from __future__ import annotations

import argparse
from difflib import get_close_matches

from dragoman.errors import ConfigError, quoted
from dragoman.text.languages import primary_language

# What people write instead of a code: English and own names, and the three-letter codes of ISO 639-2.
_CODES = {
    "english": "en", "anglais": "en", "inglés": "en", "eng": "en",
    "spanish": "es", "español": "es", "espagnol": "es", "castellano": "es", "spa": "es",
    "french": "fr", "français": "fr", "francés": "fr", "fra": "fr", "fre": "fr",
}  # fmt: skip


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add both languages."""
    parser.add_argument("--from", dest="source", required=True, metavar="LANGUAGE", help="en, es, fr, ...")
    parser.add_argument("--to", dest="target", required=True, metavar="LANGUAGE", help="en, es, fr, ...")


def check(arguments: argparse.Namespace) -> None:
    """Check that no language is given by its name.

    Raises:
        ConfigError: One is; the message has its code.
    """
    for flag, given in (("--from", arguments.source), ("--to", arguments.target)):
        if primary_language(given) is None and (code := _meant(given.lower())):
            raise ConfigError(f"{flag} {quoted(given)}: not a language code (did you mean {code}?)")


def _meant(given: str) -> str | None:
    """Return the code of the language that a name resembles."""
    cutoff = 0.75 if len(given) > 3 else 1.0  # three letters resemble too many others
    close = get_close_matches(given, _CODES, n=1, cutoff=cutoff)
    return _CODES[close[0]] if close else None
