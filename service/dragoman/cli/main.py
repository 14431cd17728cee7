"""The command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from dragoman import bundle, config
from dragoman.bench.command import add_flags as add_bench_flags
from dragoman.bench.command import bench
from dragoman.cli import terminal
from dragoman.cli.keys import add_flags as add_key_flags
from dragoman.cli.keys import keys
from dragoman.cli.serve import serve
from dragoman.cli.translate import LinesFailed, Translate, connect, is_drawn, translate
from dragoman.cli.translate import add_flags as add_translate_flags
from dragoman.client.credentials import add_flags as add_connection_flags
from dragoman.client.sync import Client, ServerError
from dragoman.config import Settings
from dragoman.errors import DragomanError, NotServed
from dragoman.registry.loading import build
from dragoman.registry.repository import bundle_folders
from dragoman.rpc.server import Server
from dragoman.text.languages import primary_language
from dragoman.translation.translator import Translator
from dragoman.types import Options, Search

DEMO = "The agreement on the European Economic Area was signed in August 1992."


def demo() -> None:
    """Start a server, translate one sentence twice over gRPC, draw the alignments, stop."""
    asyncio.run(_demo(config.read({"host": "127.0.0.1", "port": "0", **config.OPEN}, os.environ)))


async def _demo(settings: Settings) -> None:
    registry, metrics = build(settings)
    server = Server(registry, metrics)
    port = await server.start()
    print(f"{registry.bundle.full_name} on 127.0.0.1:{port}\n")
    try:
        for target in ("fr", "es"):
            await asyncio.to_thread(_demo_call, port, target)
    finally:
        await server.drain()


def _demo_call(port: int, target: str) -> None:
    with Client(f"127.0.0.1:{port}") as client:
        [translation] = client.translate([DEMO], source="en", target=target, alignment=True)
    print(f"en  {DEMO}\n{target}  {translation.text}\n")
    terminal.draw(DEMO, translation.text, translation.sentences)


@contextmanager
def _in_process(arguments: argparse.Namespace) -> Iterator[tuple[Translator, Options]]:
    """Yield what translates in this process, where nobody else waits and no call is too large."""
    source, target = (primary_language(code) or code for code in (arguments.source, arguments.target))
    registry, _ = build(config.read(config.ANY_QUEUE, os.environ))
    try:
        served = registry.bundle.manifest.pairs
        if [source, target] not in served:
            pairs = ", ".join(f"{s}->{t}" for s, t in served)
            raise NotServed(f"the pair {source}->{target} is not served; served: {pairs}")
        both = [target, source] in served
        yield registry.translator, Options(source, target, alignment=True, both_directions=both)
    finally:
        registry.close()


@contextmanager
def _backend(arguments: argparse.Namespace) -> Iterator[Translate]:
    """Yield a function that translates: on a server, or in this process."""
    search = Search(arguments.beam, arguments.alternatives)
    if arguments.server:
        pair = {"source": arguments.source, "target": arguments.target}
        with connect(arguments) as client:
            yield lambda texts: client.translate(texts, **pair, alignment=is_drawn(arguments), search=search)
        return
    with _in_process(arguments) as (translator, options):
        options = replace(options, search=search)
        yield lambda texts: asyncio.run(translator.translate(texts, options))


def align(arguments: argparse.Namespace) -> None:
    """Align a given sentence pair and draw it."""
    source, target = arguments.source_text, arguments.target_text
    if arguments.server:
        with connect(arguments) as client:
            [done] = client.align([(source, target)], source=arguments.source, target=arguments.target)
    else:
        with _in_process(arguments) as (translator, options):
            done = asyncio.run(translator.align(source, target, options))
    terminal.draw(source, target, [done])
    print(f"mean log-probability of a target token: {done.score:.3f}")
    if arguments.svg is not None:
        arguments.svg.write_text(terminal.svg(source, target, done), encoding="utf-8")


def models(arguments: argparse.Namespace) -> None:
    """Print what a server serves."""
    with connect(arguments) as client:
        print(json.dumps(client.models(), indent=2, ensure_ascii=False))


def check(arguments: argparse.Namespace) -> None:
    """Check a bundle, or each bundle of a directory, and say what it is."""
    for folder in bundle_folders(arguments.bundle):
        checked = bundle.load(folder)
        pairs = ", ".join(f"{source}->{target}" for source, target in checked.manifest.pairs)
        print(f"{checked.full_name}: {checked.manifest.precision}, {pairs}, complete and unaltered")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dragoman", description="Translate and align, as a server or right here."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    config.add_flags(commands.add_parser("serve", help="run the gRPC server", allow_abbrev=False))
    commands.add_parser("demo", help="one sentence over a real server, with its alignment")
    add = commands.add_parser("translate", help="translate arguments, a file or standard input")
    add_translate_flags(add)
    pair = commands.add_parser("align", help="align a given sentence pair")
    pair.add_argument("source_text", metavar="SOURCE")
    pair.add_argument("target_text", metavar="TARGET")
    for command in (add, pair):
        command.add_argument("--from", dest="source", required=True, metavar="LANGUAGE")
        command.add_argument("--to", dest="target", required=True, metavar="LANGUAGE")
        command.add_argument(
            "--server", metavar="HOST:PORT", help="ask this server (default: in this process)"
        )
        command.add_argument("--svg", type=Path, metavar="FILE", help="write the alignment as a picture")
    listed = commands.add_parser("models", help="say what a server serves")
    listed.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    for command in (add, pair, listed):
        add_connection_flags(command)
    add_key_flags(commands.add_parser("keys", help="make, list and revoke API keys of a server"))
    add_bench_flags(commands.add_parser("bench", help="measure a server under load", allow_abbrev=False))
    checked = commands.add_parser("check", help="check a bundle, or a directory of bundles")
    checked.add_argument("bundle", type=Path)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "serve":
        serve(lambda: config.read(vars(arguments), os.environ))
    elif arguments.command == "demo":
        demo()
    else:
        commands: dict[str, Callable[[argparse.Namespace], None]] = {
            "translate": partial(translate, backend=_backend), "align": align, "models": models,
            "bench": bench, "check": check, "keys": keys,
        }  # fmt: skip
        commands[arguments.command](arguments)
    sys.stdout.flush()


def main(given: Sequence[str] | None = None) -> None:
    """Run one command, by default that of the process; whatever is wrong is one line on standard error."""
    arguments = _parser().parse_args(given)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        _run(arguments)
    except BrokenPipeError:  # `head` has seen enough; nor shall Python complain at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except UnicodeError as error:
        raise SystemExit(f"dragoman: the input is not UTF-8: {error}") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"dragoman: {where}{error.strerror or error}") from None
    except (ServerError, DragomanError, LinesFailed) as error:
        raise SystemExit(f"dragoman: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
