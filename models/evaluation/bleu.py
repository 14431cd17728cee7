"""BLEU and chrF through the engine that serves: `python -m models.evaluation.bleu BUNDLE`.

Every direction of every development set, greedy search, raw sacrebleu. Prints a table, writes a JSON
file, and with `--write` puts the scores into the bundle's manifest and card.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

import sacrebleu
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dragoman.errors import StartupError
from dragoman.registry.offline import open_offline
from dragoman.translation.translator import Translator
from dragoman.types import Options
from models.convert.export import add_results
from models.corpora.packing import DataError
from models.paths import ROOT, data_folder
from models.training.validation import DIRECTIONS, read_set

SETS = {"flores200-dev": ("en", "es", "fr"), "newstest2012": ("en", "es", "fr"), "multi30k-val": ("en", "fr")}


async def translate_lines(translator: Translator, lines: list[str], options: Options) -> list[str]:
    """Translate all lines together, longest first so that rows stay full; return them in their order."""
    order = sorted(range(len(lines)), key=lambda i: -len(lines[i]))
    translations = await translator.translate([lines[i] for i in order], options)
    done = dict(zip(order, (translation.text for translation in translations), strict=True))
    return [done[i] for i in range(len(lines))]


def evaluate(bundle: Path, sets: list[str], folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{set: {"en-fr": {"bleu": .., "chrf": ..}}}`.

    Raises:
        DataError: A development set is missing.
        StartupError: The bundle cannot be served.
    """
    registry = open_offline(os.environ, bundle)
    known = {tuple(pair) for pair in registry.bundle.manifest.pairs}
    work = [
        (name, s, t) for name in sets for s, t in DIRECTIONS if {s, t} <= set(SETS[name]) and (s, t) in known
    ]
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for name, source, target in track(work, console=Console(stderr=True)):
        lines, references = read_set(folder, name, source), read_set(folder, name, target)
        done = asyncio.run(translate_lines(registry.translator, lines, Options(source, target)))
        scores.setdefault(name, {})[f"{source}-{target}"] = {
            "bleu": round(sacrebleu.corpus_bleu(done, [references]).score, 2),
            "chrf": round(sacrebleu.corpus_chrf(done, [references]).score, 2),
        }
    registry.close()
    return scores


def show(scores: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Print the scores as a table."""
    table = Table("set", "direction", "BLEU", "chrF")
    for name, directions in scores.items():
        for direction, score in directions.items():
            table.add_row(name, direction, f"{score['bleu']:.2f}", f"{score['chrf']:.2f}")
    Console().print(table)


def main() -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description="Measure BLEU and chrF through the serving engine.")
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "bundles" / "default")
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--json", type=Path, help="also write the scores to this file")
    parser.add_argument(
        "--write", action="store_true", help="put the scores into the bundle's manifest and card"
    )
    arguments = parser.parse_args()
    try:
        scores = evaluate(arguments.bundle, arguments.sets, data_folder() / "dev")
        show(scores)
        if arguments.json:
            arguments.json.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
        if arguments.write:
            add_results(arguments.bundle, scores=scores)
    except (DataError, StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
