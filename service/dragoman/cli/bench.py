"""`dragoman bench`: flags in; a progress bar, a table, and perhaps two files out."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from dragoman.bench.generator import Run
from dragoman.bench.load import Load, built_in_texts, read_texts
from dragoman.bench.plot import percentile_svg
from dragoman.bench.report import OK, Report, Spread
from dragoman.cli.connection import add_flags as add_connection_flags
from dragoman.cli.connection import credentials
from dragoman.client.errors import ServerError
from dragoman.errors import ConfigError, quoted
from dragoman.files import text_lines

_ADDRESS = re.compile(r".+:(\d{1,5})")
_TICK_SECONDS = 1.0  # between two drawings of the bar; each keeps the processor for some milliseconds
_FLAGS = (  # name, field of Load, kind, help
    ("rate", "rate", float, "open loop: calls a second on average, at random times, answered or not"),
    ("callers", "callers", int, "closed loop: so many callers, each sends when its last call came back"),
    ("seconds", "seconds", float, "how long to measure (default: 10)"),
    ("warm-up", "warm_up_seconds", float, "seconds of the same load before, which do not count (default: 2)"),
    ("seed", "seed", int, "of arrivals and the order of texts (default: 0)"),
    ("deadline", "deadline_seconds", float, "seconds each call may take (default: 10)"),
    ("beam", "beam_size", int, "hypotheses of a sentence (default: the server's)"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the address and the options of `dragoman bench`."""
    parser.usage = "dragoman bench (--rate NUMBER | --callers NUMBER) [options] HOST:PORT"
    parser.add_argument("address", metavar="HOST:PORT", help="any server that speaks dragoman.v1's Translate")
    load = parser.add_argument_group("load")
    for name, field, _, help_ in _FLAGS:
        load.add_argument(f"--{name}", dest=field, default=argparse.SUPPRESS, metavar="NUMBER", help=help_)
    load.add_argument("--align", action="store_true", help="ask for word alignments as well")
    texts = parser.add_argument_group("texts")
    texts.add_argument(
        "--texts", type=Path, metavar="FILE",
        help="one text a line, or source<TAB>target<TAB>text (default: 40 texts of our own, in all directions)",
    )  # fmt: skip
    texts.add_argument(
        "--from", dest="source", default="en", metavar="LANGUAGE", help="of lines that do not say it"
    )
    texts.add_argument("--to", dest="target", default="fr", metavar="LANGUAGE", help="likewise")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    output.add_argument("--svg", type=Path, metavar="FILE", help="draw latency over percentiles")
    add_connection_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure a server and show what came of it; after Ctrl-C, what came of it until then."""
    measured = Run(_address(arguments.address), _load(arguments), credentials(arguments))
    for path in filter(None, (arguments.json, arguments.svg)):
        path.open("a").close()  # a place that cannot be written to is said before the run, not after it
    is_interrupted = False
    try:
        asyncio.run(_watched(measured))
    except KeyboardInterrupt:
        is_interrupted = True
    report = measured.report()
    if report.num_sent:
        _show(report)
        _write(report, arguments.json, arguments.svg)
    if is_interrupted:
        if not report.num_sent:
            Console(stderr=True, soft_wrap=True).print(
                "dragoman: interrupted before the first call that counts"
            )
        raise KeyboardInterrupt
    if not report.num_ok:
        raise ServerError(*_verdict(report))


def _address(given: str) -> str:
    found = _ADDRESS.fullmatch(given)
    if not found or not 1 <= int(found[1]) <= 65535:
        raise ConfigError(f"{quoted(given)}: must be HOST:PORT, with a port between 1 and 65535")
    return given


def _load(arguments: argparse.Namespace) -> Load:
    given = vars(arguments)
    numbers: dict[str, Any] = {
        field: _number(f"--{name}", given[field], kind) for name, field, kind, _ in _FLAGS if field in given
    }
    texts = built_in_texts()
    if arguments.texts is not None:
        languages = {"source": arguments.source, "target": arguments.target}
        with open(arguments.texts, "rb") as file:
            lines = text_lines(file, str(arguments.texts))
            texts = tuple(read_texts(lines, name=str(arguments.texts), **languages))
    return Load(**numbers, alignment=arguments.align, texts=texts)


def _number(flag: str, given: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(given)
    except ValueError:
        wanted = "whole number" if kind is int else "number"
        raise ConfigError(f"{flag}={quoted(given)}: not a {wanted}") from None


async def _watched(run: Run) -> None:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[calls]}")
    bar = Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal)
    with bar as progress:
        watcher = asyncio.create_task(_watch(run, progress))
        try:
            await run.go()
        finally:
            watcher.cancel()


async def _watch(run: Run, progress: Progress) -> None:
    """Move the bar from the loop that sends: a thread would take the interpreter away when it pleases."""
    total = run.load.total_seconds
    task = progress.add_task("connecting", total=total, calls="")
    while not progress.disable:
        stage = "warming up" if run.elapsed < run.load.warm_up_seconds else "measuring"
        failed = sum(sample.code != OK for sample in run.samples)
        progress.update(
            task,
            completed=min(run.elapsed, total),
            description=(
                "connecting" if not run.elapsed else stage if run.elapsed < total else "last replies"
            ),
            calls=f"{min(run.elapsed, total):.0f} of {total:g} s, {len(run.samples):,} calls, {failed:,} failed",
        )
        progress.refresh()
        await asyncio.sleep(_TICK_SECONDS)


def _show(report: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(
        title=escape(f"{report.address} {report.model}".rstrip()), title_justify="left", title_style="bold"
    )
    table.add_column(str(report.load), no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    _counts(table, report)
    table.add_section()
    for title, spread in (("latency", report.latency), ("generator late", report.lateness)):
        _spread(table, title, spread)
        table.add_section()
    if report.growth:
        table.add_row("latency p50, first third", _ms(report.growth.first))
        table.add_row("latency p50, last third", _ms(report.growth.last))
    console.print(table)
    for doubt in report.doubts():
        console.print(f"[yellow]warning:[/yellow] {escape(doubt)}")


def _counts(table: Table, report: Report) -> None:
    table.add_row("calls sent", f"{report.num_sent:,} in {report.window:,.1f} s")
    table.add_row("answered", f"{report.num_ok:,}")
    for code, count in report.failures.items():
        table.add_row(f"failed, {code}", f"{count:,}", style="red")
    if report.num_unfinished:
        table.add_row("unfinished", f"{report.num_unfinished:,}")
    offered = f" of {report.load.rate:,g}" if report.load.rate else ""
    table.add_row("calls answered a second", f"{report.achieved_rate:,.2f}{offered}")
    if report.target_tokens_per_second is not None:
        table.add_row("target tokens a second", f"{report.target_tokens_per_second:,.1f}")


def _spread(table: Table, title: str, spread: Spread | None) -> None:
    names = ("p99", "max") if title == "generator late" else ("mean", "p50", "p90", "p95", "p99", "max")
    for name in names if spread else ():
        table.add_row(f"{title} {name}", _ms(getattr(spread, name)))


def _write(report: Report, json_path: Path | None, svg_path: Path | None) -> None:
    if json_path is not None:
        written = json.dumps(report.to_dict(), indent=2, ensure_ascii=False)
        json_path.write_text(written + "\n", encoding="utf-8")
    if svg_path is not None and report.latencies:
        title = f"{report.address}: {report.load}"
        svg_path.write_text(percentile_svg({report.address: report.latencies}, title=title), encoding="utf-8")


def _verdict(report: Report) -> tuple[str, str]:
    """Return the commonest failure, and that nothing but failures was seen."""
    if not report.failures:
        return "UNFINISHED", f"0 of {report.num_sent:,} calls were answered"
    code = max(report.failures, key=lambda name: report.failures[name])
    return code, f"0 of {report.num_sent:,} calls were answered"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
