"""Write known answers into a bundle: `python -m models.convert.known_answers DIRECTORY`.

Export does so by itself. This is for bundles that have none yet, and changes nothing of one but its manifest. What they are
for: `dragoman.engine.known_answers`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dragoman import bundle
from dragoman.bundle import Bundle, KnownAnswer
from dragoman.bundle.bounds import MAX_ANSWERS
from dragoman.engine import known_answers
from dragoman.engine.model_runner import ModelRunner
from dragoman.engine.sessions import open_sessions
from dragoman.errors import BundleError
from dragoman.text.normalize import normalize
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from models.paths import ROOT

# Plain sentences that any model knows, two of each language; numbers for a language that is not among them.
SENTENCES = {
    "en": ("The train leaves at nine in the morning.", "Where can I buy a ticket?"),
    "es": ("El tren sale a las nueve de la mañana.", "¿Dónde puedo comprar un billete?"),
    "fr": ("Le train part à neuf heures du matin.", "Où puis-je acheter un billet ?"),
}
NUMBERS = ("12,345.67 (2024)", "1, 2, 3.")
MAX_TOKENS = 64


def answers(checked: Bundle) -> list[KnownAnswer]:
    """Translate some sentences in each direction of a bundle.

    Raises:
        BundleError: It cannot be loaded, or computes what is not a number.
    """
    tokenizer = Tokenizer(checked.read(bundle.TOKENIZER))
    runner = ModelRunner(open_sessions(checked, threads=1), checked.manifest.shape)
    asked = [
        (text, [tokenizer.tag_id(target), *tokenizer.encode_ids(normalize(text)), EOS_ID])
        for number in range(2)
        for source, target in checked.manifest.pairs
        for text in SENTENCES.get(source, NUMBERS)[number : number + 1]
    ][:MAX_ANSWERS]  # all directions once before any twice
    sources = [tokens for _, tokens in asked]
    targets = known_answers.translate(runner, sources, min(MAX_TOKENS, checked.manifest.max_target_tokens))
    try:
        found = known_answers.scores(runner, sources, targets)
    except ValueError as error:
        raise BundleError(f"bundle {checked.folder}: {error}") from None
    return [
        KnownAnswer(text, source, target, round(score, 4))
        for (text, source), target, score in zip(asked, targets, found, strict=True)
    ]


def add_known_answers(folder: Path) -> int:
    """Write known answers into the manifest of a bundle; return how many.

    Raises:
        BundleError: It is not whole, or as `answers` does.
    """
    checked = bundle.load(folder)
    manifest = replace(checked.manifest, known_answers=answers(checked))
    bundle.write_manifest(folder, manifest)
    return len(manifest.known_answers)


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description="Write known answers into a bundle's manifest.")
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "bundles" / "default")
    arguments = parser.parse_args()
    try:
        number = add_known_answers(arguments.bundle)
    except (BundleError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{arguments.bundle}: {number} known answers")


if __name__ == "__main__":
    main()
