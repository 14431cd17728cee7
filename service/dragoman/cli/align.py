"""`dragoman align`: the word alignment of a given sentence pair."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from dragoman.cli import backend, languages, terminal
from dragoman.cli.connection import add_flags as add_connection_flags
from dragoman.cli.connection import connect
from dragoman.types import TranslatedSentence


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add both texts and the options of `dragoman align`."""
    parser.usage = "dragoman align --from LANGUAGE --to LANGUAGE [options] SOURCE TARGET"
    parser.add_argument("source_text", metavar="SOURCE", help="one sentence")
    parser.add_argument("target_text", metavar="TARGET", help="its translation")
    backend.add_flags(parser)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the alignment as a picture")
    add_connection_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Align the pair and draw it."""
    languages.check(arguments)
    source, target = arguments.source_text, arguments.target_text
    aligned = _aligned(arguments)
    terminal.draw(source, target, [aligned])
    print(f"mean log-probability of a target token: {aligned.score:.3f}")
    if arguments.svg is not None:
        arguments.svg.write_text(terminal.svg(source, target, aligned), encoding="utf-8")


def _aligned(arguments: argparse.Namespace) -> TranslatedSentence:
    source, target = arguments.source_text, arguments.target_text
    if arguments.server:
        with connect(arguments) as client:
            return client.align([(source, target)], source=arguments.source, target=arguments.target)[0]
    with backend.in_process(arguments) as (translator, options):
        return asyncio.run(translator.align(source, target, options))
