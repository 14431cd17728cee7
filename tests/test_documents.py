"""What the documents say is what the repository holds."""

import re
from pathlib import Path

from service.bundle import Bundle
from service.config import DEFAULT_BUNDLE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_scores_agree(default_bundle: Bundle) -> None:
    """
    The scores in the README and in the model card are those of the default bundle's manifest.
    """
    rows = [
        f"| {name} | {direction} | {score['bleu']:.1f} | {score['chrf']:.1f} |"
        for name, directions in default_bundle.manifest.scores.items()
        for direction, score in directions.items()
    ]
    card = (DEFAULT_BUNDLE / "MODEL_CARD.md").read_text("utf-8")

    assert rows
    assert [] == [row for row in rows if row not in README]
    assert [] == [row for row in rows if row not in card]


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
    documents = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")]
    links = {
        path.parent / link
        for path in documents
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
    }

    assert set() == {link for link in links if not link.exists()}
