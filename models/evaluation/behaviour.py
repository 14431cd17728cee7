"""Behaviour of a bundle on odd inputs and on words that change places: `python -m models.evaluation.behaviour --bundle DIRECTORY`.

Beside *evaluate*, for what an average hides. It reports and does not judge: a young model fails many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dragoman.errors import StartupError
from dragoman.registry.offline import open_offline
from dragoman.translation.translator import Translator
from dragoman.types import Finish, Options, Translation
from models.convert.export import add_results
from models.corpora.packing import DataError
from models.evaluation.expectations import (
    PAIRS,
    TARGETS,
    Answer,
    Case,
    Reordering,
    read_cases,
    read_reorderings,
)
from models.paths import ROOT

CASES = ROOT.parent / "tests" / "models" / "evaluation"
RIGHT = ("words", "order", "links")  # of a re-ordering


async def answers(translator: Translator, texts: list[str], pair: str) -> list[Answer]:
    """Translate texts, each on its own, all in one running batch."""
    source, target = pair.split("-")
    options = Options(source, target, alignment=True)
    return [
        _answer(text, translation)
        for text, translation in zip(texts, await translator.translate(texts, options), strict=True)
    ]


def _answer(text: str, translation: Translation) -> Answer:
    """Gather what the checks look at over all sentences of a text."""
    source: list[str] = []
    target: list[str] = []
    links: list[tuple[int, int]] = []
    for sentence in translation.sentences:
        assert sentence.words is not None, "asked for above. This is a bug."
        links += [(v + len(source), w + len(target)) for v, w, _ in sentence.words.links]
        source += [span.of(text) for span in sentence.words.source]
        target += [span.of(translation.text) for span in sentence.words.target]
    has_ended = all(sentence.finish is Finish.STOP for sentence in translation.sentences)
    return Answer(translation.text, has_ended, source, target, links)


def run_cases(translator: Translator, cases: list[Case]) -> list[dict[str, Any]]:
    """Return one row for each case: what was asked, what came, which expectations failed."""
    rows = []
    for pair in PAIRS:
        asked = [case for case in cases if case.pair == pair]
        given = asyncio.run(answers(translator, [case.text for case in asked], pair))
        rows += [
            {
                "kind": case.kind, "pair": pair, "text": case.text, "translation": answer.text,
                "failed": case.failures(answer),
            }
            for case, answer in zip(asked, given, strict=True)
        ]  # fmt: skip
    return rows


def run_reorderings(translator: Translator, sentences: list[Reordering]) -> list[dict[str, Any]]:
    """Return one row for each sentence and target language: what came, and whether it is right."""
    rows = []
    for target in TARGETS:
        given = asyncio.run(answers(translator, [s.text for s in sentences], f"en-{target}"))
        rows += [
            {
                "kind": "re-ordering", "pair": f"en-{target}", "text": sentence.text, "translation": answer.text,
                "failed": [name for name, holds in sentence.right(target, answer).items() if not holds],
            }
            for sentence, answer in zip(sentences, given, strict=True)
        ]  # fmt: skip
    return rows


def count(rows: list[dict[str, Any]], *, by: str = "kind") -> dict[str, dict[str, list[int]]]:
    """Return `{kind: {"en-fr": [held, of]}}`."""
    counts: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        cell = counts.setdefault(row[by], {}).setdefault(row["pair"], [0, 0])
        cell[0] += not row["failed"]
        cell[1] += 1
    return counts


def summary(cases: list[dict[str, Any]], moved: list[dict[str, Any]]) -> dict[str, dict[str, list[int]]]:
    """Return the counts of every kind, and of the re-orderings for each thing that must be right."""
    counts = count(cases)
    for name in RIGHT:
        parts = [row | {"failed": [name] if name in row["failed"] else []} for row in moved]
        counts[f"re-ordering: {name}"] = count(parts).get("re-ordering", {})
    return counts | {"re-ordering: all three": count(moved).get("re-ordering", {})}


def for_card(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, of every kind, how many hold of how many, and the shortest that does not."""
    found: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        failed = [row for row in of_kind if row["failed"]]
        found[kind] = {"held": len(of_kind) - len(failed), "of": len(of_kind)}
        if failed:
            shortest = min(failed, key=lambda row: len(row["text"]))
            found[kind]["example"] = {name: shortest[name] for name in ("pair", "text", "translation")}
    return found


def show(counts: dict[str, dict[str, list[int]]], rows: list[dict[str, Any]], console: Console) -> None:
    """Print how many hold, per kind and direction, then which do not."""
    table = Table("kind", *PAIRS, "all")
    for kind, cells in counts.items():
        held, total = (sum(cell[n] for cell in cells.values()) for n in (0, 1))
        shown = [f"{cells[pair][0]}/{cells[pair][1]}" if pair in cells else "" for pair in PAIRS]
        table.add_row(kind, *shown, f"{held}/{total}")
    console.print(table)
    failed = Table("kind", "direction", "text", "translation", "failed", title="What does not hold")
    for row in rows:
        if row["failed"]:
            texts = Text(row["text"].strip() or repr(row["text"])), Text(row["translation"].strip())
            failed.add_row(row["kind"], row["pair"], *texts, ", ".join(row["failed"]))
    console.print(failed)


def main() -> None:
    """Read the command line, translate, report."""
    parser = argparse.ArgumentParser(description="Report how a bundle does on odd inputs and re-orderings.")
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles" / "default")
    parser.add_argument("--cases", type=Path, default=CASES, help="folder of the inputs (tests/model)")
    parser.add_argument("--json", type=Path, help="also write counts and answers to this file")
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the counts, and one failure of each kind, into manifest and card",
    )
    arguments = parser.parse_args()
    try:
        odd, moved = read_cases(arguments.cases), read_reorderings(arguments.cases)
        registry = open_offline(os.environ, arguments.bundle)
    except (DataError, StartupError) as error:
        raise SystemExit(f"error: {error}") from None
    with closing(registry):
        cases, sentences = run_cases(registry.translator, odd), run_reorderings(registry.translator, moved)
    counts = summary(cases, sentences)
    show(counts, cases + sentences, Console())
    try:
        if arguments.json:
            content = {"bundle": registry.bundle.full_name, "counts": counts, "answers": cases + sentences}
            text = json.dumps(content, indent=1, ensure_ascii=False)
            arguments.json.write_text(f"{text}\n", encoding="utf-8")
        if arguments.write:
            add_results(arguments.bundle, checks={"cases": for_card(cases + sentences)})
    except OSError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
