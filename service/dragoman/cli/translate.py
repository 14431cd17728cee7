"""`dragoman translate`: texts, a file or standard input in; one line for each out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from dragoman.cli import backend, languages, terminal
from dragoman.cli.connection import add_flags as add_connection_flags
from dragoman.cli.connection import connect
from dragoman.client.bulk import Bulk, Line
from dragoman.errors import ConfigError
from dragoman.types import MAX_BEAM_SIZE, Search, Translation


class LinesFailed(Exception):
    """Some lines have no translation; the others do."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add texts and options of `dragoman translate`."""
    parser.usage = "dragoman translate --from LANGUAGE --to LANGUAGE [options] [TEXT ...]"
    parser.add_argument("text", nargs="*", metavar="TEXT", help="default: each line of standard input")
    backend.add_flags(parser)
    files = parser.add_argument_group("files")
    files.add_argument("--file", type=Path, metavar="FILE", help="translate each line of this file")
    files.add_argument("--output", type=Path, metavar="FILE", help="write here (default: standard output)")
    resume = "continue behind the last whole line of --output, after an interruption"
    files.add_argument("--resume", action="store_true", help=resume)
    search = parser.add_argument_group("search")
    sizes = range(1, MAX_BEAM_SIZE + 1)
    search.add_argument(
        "--beam",
        type=int,
        default=1,
        choices=sizes,
        metavar="N",
        help="hypotheses kept at each step, 1 to 8 (default: 1)",
    )
    search.add_argument(
        "--alternatives",
        type=int,
        default=0,
        choices=sizes,
        metavar="N",
        help="further translations, at most the beam",
    )
    alignment = parser.add_argument_group("alignment")
    alignment.add_argument("--align", action="store_true", help="draw the alignment")
    alignment.add_argument("--svg", type=Path, metavar="FILE", help="write the alignment as a picture")
    add_connection_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Translate line by line; one that cannot be translated stays blank, is named, and counts in the exit code.

    Raises:
        LinesFailed: When all the others are done.
    """
    _check(arguments)
    is_plain = not (arguments.align or arguments.alternatives)  # nothing is printed but lines
    source = terminal.Source(arguments.file, keeps_end=is_plain and arguments.file is not None)
    lines = iter(arguments.text) if arguments.text else source.lines()
    drawn = 0
    with terminal.output(arguments.output, resumes=arguments.resume) as done_before:
        size, failed = terminal.skip(lines, done_before, arguments.output)
        with terminal.Bar(_total_bytes(arguments), size) as bar:
            for line in _outcomes(arguments, lines, done_before + 1, bar.say):
                if isinstance(line.outcome, Translation):
                    source.put(line.number, _on_lines_of(line.text, line.outcome.text))
                    drawn = _show(arguments, line.text, line.outcome, drawn, bar.say)
                else:
                    failed += 1
                    source.put(line.number, "")
                    bar.say(f"line {line.number:,}: {line.outcome}")
                bar.advance(line.text)
    if failed:
        raise LinesFailed(f"{failed:,} of the lines could not be translated and were left blank")


def _total_bytes(arguments: argparse.Namespace) -> int | None:
    """Return the size of the file if a progress bar over it disturbs nothing else on the terminal."""
    is_shown = arguments.file and sys.stderr.isatty() and (arguments.output or not sys.stdout.isatty())
    return arguments.file.stat().st_size if is_shown else None


def _outcomes(
    arguments: argparse.Namespace, lines: Iterator[str], first: int, tell: Callable[[str], None]
) -> Iterator[Line]:
    """Yield each line with its outcome; lines of a file or of standard input go to a server as one stream."""
    search, is_aligned = Search(arguments.beam, arguments.alternatives), _is_aligned(arguments)
    if arguments.server and not arguments.text:
        pair = {"source": arguments.source, "target": arguments.target}
        with connect(arguments) as client:
            stream = partial(client.stream, **pair, alignment=is_aligned, search=search)
            yield from Bulk(stream, lines, first=first, tell=tell)
        return
    is_typed = not arguments.text and arguments.file is None and os.isatty(0)
    numbers = count(first)
    with backend.opened(arguments, search, alignment=is_aligned) as translate:
        for chunk in terminal.chunks(lines, 1 if is_typed else terminal.LINES_PER_CALL):
            for text, translation in zip(chunk, translate(chunk), strict=True):
                yield Line(next(numbers), text, translation)


def _is_aligned(arguments: argparse.Namespace) -> bool:
    return arguments.align or arguments.svg is not None


def _on_lines_of(text: str, translation: str) -> str:
    """Return a translation, on one line if its source is."""
    return translation if "\n" in text else translation.replace("\n", " ")


def _show(
    arguments: argparse.Namespace, text: str, done: Translation, drawn: int, say: Callable[[str], None]
) -> int:
    """Show what else there is to a translation; return how many figures there are now."""
    terminal.list_alternatives(done)
    for note in terminal.notes(done):
        say(note)
    if arguments.align:
        print()
        terminal.draw(text, done.text, done.sentences)
    return terminal.write_figures(arguments.svg, text, done, drawn)


def _check(arguments: argparse.Namespace) -> None:
    languages.check(arguments)
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
