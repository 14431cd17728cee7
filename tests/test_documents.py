"""What the documents say is what the repository holds."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from dragoman.bundle import Bundle
from dragoman.config import DEFAULT_BUNDLE
from models.evaluation.model_card import model_card, renewed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
WITH_FIGURES = README + (ROOT / "docs/benchmarks.md").read_text("utf-8")
MAX_WORDS = {"README.md": 700, "ARCHITECTURE.md": 1500}
WITH_EXAMPLES = sorted(
    ".".join(file.relative_to(ROOT / base).with_suffix("").parts)
    for base, folder in (("service", "dragoman"), ("", "models"), ("", "tests"))
    for file in (ROOT / base / folder).rglob("*.py")
    if re.search(r"^ *>>> ", file.read_text("utf-8"), re.MULTILINE)
)


def test_scores_agree(default_bundle: Bundle) -> None:
    """
    The figures in the README, in docs/benchmarks.md and in the model card are those of the default bundle's manifest.
    """
    rows = [
        f"| {name} | {direction} | {rate['aer']:.1f} | {rate['low']:.1f} to {rate['high']:.1f} |"
        for name, directions in default_bundle.manifest.checks["alignment"].items()
        for direction, rate in directions.items()
    ]
    rows += [
        f"| {name} | {direction} | {score['bleu']:.1f} | {score['chrf']:.1f} |"
        for name, directions in default_bundle.manifest.scores.items()
        for direction, score in directions.items()
    ]
    card = (DEFAULT_BUNDLE / "MODEL_CARD.md").read_text("utf-8")

    assert rows
    assert [] == [row for row in rows if row not in WITH_FIGURES]
    assert [] == [row for row in rows if row not in card]


def test_figures_are_put_in_place(default_bundle: Bundle) -> None:
    """
    A new card's figures take the place of the old ones, row by row; the other tables and the text stay.
    """
    card = model_card(default_bundle.manifest)
    stale = re.sub(r"(\| [a-z]{2}-[a-z]{2} \|) [\d.]+", r"\1 99.9", WITH_FIGURES)

    assert stale != WITH_FIGURES
    assert renewed(stale, card) == WITH_FIGURES


def test_verbs_exist() -> None:
    """
    Every `make` verb that a document names is one of the Makefile's.
    """
    makefile = (ROOT / "Makefile").read_text("utf-8")
    documents = [
        README,
        *(path.read_text("utf-8") for path in [ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]),
    ]

    named = {verb for text in documents for verb in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)}

    assert named
    assert set() == {verb for verb in named if not re.search(rf"^{verb}:", makefile, re.MULTILINE)}


def test_links_lead_somewhere() -> None:
    """
    Every file that a document links to exists.
    """
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = {
        path.parent / link
        for path in documents
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
    }

    assert set() == {link for link in links if not link.exists()}


@pytest.mark.parametrize("name", MAX_WORDS)
def test_documents_are_short(name: str) -> None:
    """
    A first document is read to its end only if it is short.
    """
    assert len((ROOT / name).read_text("utf-8").split()) <= MAX_WORDS[name]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_are_true(module: str) -> None:
    """
    What a docstring shows is what happens.
    """
    found = doctest.testmod(importlib.import_module(module))

    assert found.attempted
    assert not found.failed
