"""`dragoman translate`: texts, a file or standard input in; one line for each out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from pathlib import Path

from dragoman.cli import terminal
from dragoman.client.bulk import Bulk, Line
from dragoman.client.credentials import of_command
from dragoman.client.sync import Client
from dragoman.errors import ConfigError
from dragoman.types import MAX_BEAM_SIZE, Search, Translation

Translate = Callable[[list[str]], list[Translation]]
Backend = Callable[[argparse.Namespace], AbstractContextManager[Translate]]


class LinesFailed(Exception):
    """Some lines have no translation; the others do."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the texts and the flags that other commands do not have."""
    parser.add_argument("text", nargs="*", metavar="TEXT", help="default: each line of standard input")
    parser.add_argument("--file", type=Path, help="translate each line of this file")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write here (default: standard output)")
    resume = "go on behind the last whole line of --output, after an interruption"
    parser.add_argument("--resume", action="store_true", help=resume)
    parser.add_argument("--align", action="store_true", help="draw the alignment")
    sizes = range(1, MAX_BEAM_SIZE + 1)
    parser.add_argument("--beam", type=int, default=1, choices=sizes, help="hypotheses kept at each step")
    parser.add_argument(
        "--alternatives", type=int, default=0, choices=sizes, help="further translations, at most the beam"
    )


def is_drawn(arguments: argparse.Namespace) -> bool:
    """Tell whether alignments are wanted."""
    return arguments.align or arguments.svg is not None


def connect(arguments: argparse.Namespace) -> Client:
    """Return a client of the server that a command names, with the credentials it gives."""
    return Client(arguments.server, credentials=of_command(arguments, os.environ))


def _outcomes(
    arguments: argparse.Namespace, backend: Backend, lines: Iterator[str], first: int,
    tell: Callable[[str], None],
) -> Iterator[Line]:  # fmt: skip
    """Yield each line with its outcome; a server is sent what is read, and not given, as one stream."""
    if arguments.server and not arguments.text:
        options = {
            "source": arguments.source, "target": arguments.target, "alignment": is_drawn(arguments),
            "search": Search(arguments.beam, arguments.alternatives),
        }  # fmt: skip
        with connect(arguments) as client:
            yield from Bulk(partial(client.stream, **options), lines, first=first, tell=tell)
        return
    is_typed = not arguments.text and arguments.file is None and os.isatty(0)
    numbers = count(first)
    with backend(arguments) as run:
        for chunk in terminal.chunks(lines, 1 if is_typed else terminal.LINES_PER_CALL):
            for text, done in zip(chunk, run(chunk), strict=True):
                yield Line(next(numbers), text, done)


def translate(arguments: argparse.Namespace, backend: Backend) -> None:
    """Translate line by line; one that cannot be translated stays blank, is named, and counts in the exit code.

    Args:
        backend: What translates where the lines are not sent as one stream.

    Raises:
        LinesFailed: When all the others are done.
    """
    _check(arguments)
    lines = iter(arguments.text) if arguments.text else terminal.lines(arguments.file)
    is_shown = arguments.file and sys.stderr.isatty() and (arguments.output or not sys.stdout.isatty())
    total = arguments.file.stat().st_size if is_shown else None
    drawn = 0
    with terminal.output(arguments.output, resumes=arguments.resume) as done_before:
        size, failed = terminal.skip(lines, done_before, arguments.output)
        with terminal.Bar(total, size) as bar:
            for line in _outcomes(arguments, backend, lines, done_before + 1, bar.say):
                if isinstance(line.outcome, Translation):
                    drawn = _show(arguments, line.text, line.outcome, drawn, bar.say)
                else:
                    failed += 1
                    print(flush=True)
                    bar.say(f"line {line.number:,}: {line.outcome}")
                bar.advance(line.text)
    if failed:
        raise LinesFailed(f"{failed:,} of the lines could not be translated and were left blank")


def _show(
    arguments: argparse.Namespace, text: str, done: Translation, drawn: int, say: Callable[[str], None]
) -> int:
    """Print a translation, on one line if its source is; return how many figures there are now."""
    print(done.text if "\n" in text else done.text.replace("\n", " "), flush=True)
    terminal.list_alternatives(done)
    for doubt in terminal.doubts(done):
        say(doubt)
    if arguments.align:
        print()
        terminal.draw(text, done.text, done.sentences)
    return terminal.write_figures(arguments.svg, text, done, drawn)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.text and arguments.file:
        raise ConfigError("give texts or --file, not both")
    if arguments.alternatives > arguments.beam:
        raise ConfigError(f"--alternatives {arguments.alternatives}: the limit is --beam, {arguments.beam}")
    given, written = arguments.file, arguments.output
    if given and written and written.exists() and given.samefile(written):
        raise ConfigError(f"--output {written}: that is what is to be translated")
    if arguments.resume and not (arguments.file and arguments.output):
        raise ConfigError("--resume needs --file and --output")
    if arguments.resume and (arguments.align or arguments.alternatives or arguments.svg):
        raise ConfigError("--resume: with --align, --alternatives or --svg nobody knows how far it had come")
