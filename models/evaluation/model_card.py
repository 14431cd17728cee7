"""The model card of a bundle, written from its manifest so that the two cannot disagree.

`python -m models.evaluation.model_card README.md docs/benchmarks.md` puts the default bundle's figures into documents that
have the same tables.
"""

from __future__ import annotations

import argparse
import re
from html import escape
from pathlib import Path
from typing import Any

from dragoman import bundle
from dragoman.bundle import Manifest
from dragoman.errors import StartupError
from models.paths import ROOT

_DATA = """\
Trained on public English-French and English-Spanish sentence pairs: debates of the European and the
Canadian Parliament (Europarl: reuse with acknowledgement; ISI Hansards: permission notice of the
Parliament of Canada), WMT news sets 2008-2011 and News Commentary v11 (research use), Tatoeba (CC BY 2.0
FR), United Nations documents (UN Parallel Corpus terms), public-domain books, web prose and guides
(CC BY, CC BY-SA, MPL), university textbooks (CC BY 4.0), software documentation (CC BY, CC BY-SA, BSD,
Apache, GPL) and public terminologies (EU reuse, Open Government Licence - Canada).

The code is under Apache-2.0. The weights were computed from texts under the terms above, some of which
allow research use only: check them against yours before commercial use."""


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    training, shape = manifest.training, manifest.shape
    lines = [
        f"# {manifest.name}@{manifest.version}",
        "",
        f"A Transformer encoder-decoder ({shape['encoder_layers']} + {shape['decoder_layers']} layers, width "
        f"{shape['width']}, {manifest.num_parameters / 1e6:.1f} M parameters, {manifest.precision}) that translates "
        + ", ".join(f"{source} → {target}" for source, target in manifest.pairs)
        + ".",
        "",
        "## Training",
        "",
        f"{training['target_tokens']:,} target tokens in {training['updates']:,} updates, {training['hours']} hours"
        + _energy(training)
        + ".",
        "The whole configuration stands in `manifest.json`.",
        "",
        "## Data and licences",
        "",
        _DATA,
        "",
        "## Scores",
        "",
    ]
    lines += _scores(manifest.scores) if manifest.scores else ["Not measured.", ""]
    if "alignment" in manifest.checks:
        lines += _alignment(manifest.checks["alignment"])
    if "cases" in manifest.checks:
        lines += _weaknesses(manifest.checks["cases"])
    return "\n".join(lines)


def renewed(document: str, card: str) -> str:
    """Return a document whose rows on a set and a direction say what the card's say; others stay."""
    rows = {_measured(row): row for row in card.splitlines() if _measured(row)}
    lines = [rows.get(_measured(line), line) for line in document.split("\n")]
    return "\n".join(lines)


def _measured(row: str) -> str:
    """Return what a row of figures is about, or nothing."""
    found = re.match(r"\| [\w-]+ \| (?:[a-z]{2}-[a-z]{2}|both) \|", row)
    return found[0] if found else ""


def _energy(training: dict[str, Any]) -> str:
    if "watts" not in training:
        return ""
    kilowatt_hours = training["hours"] * training["watts"] / 1000
    return (
        f", some {kilowatt_hours:.2g} kWh if what trained took {training['watts']:g} W, which nobody measured"
    )


def _scores(scores: dict[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {direction} | {score['bleu']:.1f} | {score['chrf']:.1f} |"
        for name, directions in scores.items()
        for direction, score in directions.items()
    ]
    said = "Measured through the engine that serves, greedy search, sacrebleu."
    return [said, "", "| set | direction | BLEU | chrF |", "|---|---|--:|--:|", *rows, ""]


def _alignment(measured: dict[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {direction} | {rate['aer']:.1f} | {rate['low']:.1f} to {rate['high']:.1f} |"
        for name, directions in measured.items()
        for direction, rate in directions.items()
    ]
    said = (
        "Alignment error rate of the links against people's, less is better, with its 95 % bootstrap interval: in each "
        "direction, as translations have them, and by the mean of both, as `Align` links a given pair."
    )
    return ["## Links", "", said, "", "| set | direction | AER | 95 % |", "|---|---|--:|--:|", *rows, ""]


def _weaknesses(cases: dict[str, Any]) -> list[str]:
    """Return how many odd inputs of each kind come out as they should, the worst first, and one that does not."""
    worst_first = sorted(cases.items(), key=lambda item: item[1]["held"] / item[1]["of"])
    rows = [f"| {kind} | {one['held']} of {one['of']} | {_example(one)} |" for kind, one in worst_first]
    said = "Odd inputs, and nouns and adjectives that change places: what `models/evaluation/expectations.py` asks of them, and one that fails."
    return [
        "## Known weaknesses",
        "",
        said,
        "",
        "| kind | as it should be | for example |",
        "|---|--:|---|",
        *rows,
        "",
    ]


def _example(one: dict[str, Any]) -> str:
    if "example" not in one:
        return ""
    failed = one["example"]
    return f"{failed['pair']}: {_cell(failed['text'])} → {_cell(failed['translation'])}"


def _cell(text: str) -> str:
    """Return a text as it can stand in a table."""
    line = (
        escape(" ".join(text.split()), quote=False)
        .replace("|", "\\|")
        .replace("*", "\\*")
        .replace("_", "\\_")
    )
    return f"“{line}”"


def main() -> None:
    """Put the figures of a bundle's card into documents."""
    parser = argparse.ArgumentParser(description="Put a bundle's figures into the tables of documents.")
    parser.add_argument("documents", type=Path, nargs="+")
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles" / "default")
    arguments = parser.parse_args()
    try:
        card = model_card(bundle.load(arguments.bundle).manifest)
        for document in arguments.documents:
            document.write_text(renewed(document.read_text("utf-8"), card), "utf-8")
    except (StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
