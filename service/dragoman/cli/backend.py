"""Where a command translates: on the server it names, or in this process."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from dragoman.cli import languages
from dragoman.cli.connection import connect
from dragoman.errors import NotServed
from dragoman.registry.offline import open_offline
from dragoman.text.languages import primary_language
from dragoman.translation.translator import Translator
from dragoman.types import Options, Search, Translation

Translate = Callable[[list[str]], list[Translation]]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add languages and server."""
    languages.add_flags(parser)
    parser.add_argument("--server", metavar="HOST:PORT", help="ask this server (default: in this process)")


@contextmanager
def in_process(arguments: argparse.Namespace) -> Iterator[tuple[Translator, Options]]:
    """Yield a translator of this process, where nobody else waits and no call is too large."""
    source, target = (primary_language(code) or code for code in (arguments.source, arguments.target))
    with closing(open_offline(os.environ)) as registry:
        served = registry.bundle.manifest.pairs
        if [source, target] not in served:
            pairs = ", ".join(f"{s}->{t}" for s, t in served)
            raise NotServed(f"the pair {source}->{target} is not served; served: {pairs}")
        both = [target, source] in served
        yield registry.translator, Options(source, target, alignment=True, both_directions=both)


@contextmanager
def opened(arguments: argparse.Namespace, search: Search, *, alignment: bool) -> Iterator[Translate]:
    """Yield a function that translates texts."""
    if arguments.server:
        pair = {"source": arguments.source, "target": arguments.target}
        with connect(arguments) as client:
            yield lambda texts: client.translate(texts, **pair, alignment=alignment, search=search)
        return
    with in_process(arguments) as (translator, options):
        options = replace(options, search=search)
        yield lambda texts: asyncio.run(translator.translate(texts, options))
