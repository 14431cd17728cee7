"""Is it the same model in both engines? In fp32 the same tokens, in int8 the same quality.

    make bench ARGS="-k parity"        python -m tests.benchmarks.parity [--scale 0.1]

Without this, the figures beside it would compare two different things. The weights behind the bundle are exported
to float32 for both, and greedy tokens compared. Then the bundle and the peer's int8 model translate a development
set. Sentences on which the model turns in circles (`selection.py`) are counted in `all` and left out of `ending`,
which is what is judged: our engine cuts them short, which says nothing about quantisation.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dragoman import bundle
from dragoman.text.tokenizer import Tokenizer
from models.paths import data_folder
from tests.benchmarks import corpus, measure, selection, sweep
from tests.benchmarks.corpus import DIRECTIONS, Sentence, Text
from tests.benchmarks.measure import Plan
from tests.benchmarks.ours import Ours
from tests.benchmarks.theirs import Settings
from tests.benchmarks.worker import Worker

SENTENCES, SET, LINES = 500, "flores200-dev", 997
LARGEST_DIFFERENCE = 0.3  # BLEU, mean of the directions


def measured(plan: Plan) -> dict[str, Any]:
    """Return both comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        peer = sweep.converted(plan, Path(folder))
        exact = _exported(plan, Path(folder, "fp32"))
        identical, count = _same_tokens(plan, peer, exact)
        scores = _scores(plan, peer)
    means = {
        name: round(sum(score[name]["difference"] for score in scores.values()) / len(scores), 3)
        for name in ("all", "ending")
    }
    figures = {
        "fp32_greedy": {"sentences": count, "identical": identical},
        "int8_bleu": {"set": SET, "mean_difference": means, "directions": scores},
    }
    print(figures)
    return figures


def _exported(plan: Plan, folder: Path) -> Path:
    """Export the weights behind the bundle as float32."""
    checkpoints = importlib.import_module(
        "models.training.checkpoint"
    )  # torch, which measuring does not need
    export = importlib.import_module("models.convert.export").export
    state = checkpoints.trained(plan.checkpoint)
    tokenizer = plan.bundle / bundle.TOKENIZER
    export(state, tokenizer, folder, precision="fp32", name="parity", version="0", threshold=0.4)
    return folder


def _same_tokens(plan: Plan, peer: sweep.Peer, exact: Path) -> tuple[int, int]:
    """Return on how many sentences the greedy tokens are the same, and of how many."""
    count = plan.count(SENTENCES, 20)
    drawn = corpus.encode(corpus.texts(count + max(8, count // 10)), Tokenizer.from_file(peer.tokenizer))
    cores = measure.cores_of(1)
    with peer.worker(Settings("float32"), cores) as theirs, Worker(Ours, exact, cores=cores) as ours:
        ends = selection.ending(ours, theirs, drawn)
        kept = [sentence for sentence, is_ending in zip(drawn, ends, strict=True) if is_ending][:count]
        kept.sort(key=lambda sentence: -len(sentence.ids))
        written = ours.call("translate", kept), theirs.call("translate", kept)
    return sum(a == b for a, b in zip(*written, strict=True)), len(kept)


def _scores(plan: Plan, peer: sweep.Peer) -> dict[str, dict[str, dict[str, float]]]:
    """Return BLEU of each direction, over all sentences and over those that end."""
    cores = measure.cores_of(1)
    scores = {}
    with peer.worker(Settings(), cores) as theirs, Worker(Ours, plan.bundle, cores=cores) as ours:
        for source, target in DIRECTIONS:
            texts, references = _lines(source, target, plan.count(LINES, 20))
            sentences = corpus.encode(texts, Tokenizer.from_file(peer.tokenizer))
            ends = selection.ending(ours, theirs, sentences)
            written = [_translated(engine, sentences, peer.tokenizer) for engine in (ours, theirs)]
            scores[f"{source}-{target}"] = {
                "all": _bleu(written, references, [True] * len(ends)),
                "ending": _bleu(written, references, ends),
            }
    return scores


def _lines(source: str, target: str, count: int) -> tuple[list[Text], list[str]]:
    """Return the first lines of the development set, and their references."""
    lines = {
        language: (data_folder() / "dev" / f"{SET}.{language}")
        .read_text(encoding="utf-8")
        .split("\n")[:count]
        for language in (source, target)
    }
    return [Text(source, target, line) for line in lines[source]], lines[target]


def _translated(engine: Worker, sentences: Sequence[Sentence], tokenizer: Path) -> list[str]:
    """Return texts, in the order given."""
    order = sorted(range(len(sentences)), key=lambda place: -len(sentences[place].ids))
    written = engine.call("translate", [sentences[place] for place in order])
    decode = Tokenizer.from_file(tokenizer).decode
    texts = {place: decode(ids).text for place, ids in zip(order, written, strict=True)}
    return [texts[place] for place in range(len(sentences))]


def _bleu(written: Sequence[list[str]], references: Sequence[str], kept: Sequence[bool]) -> dict[str, float]:
    """Return BLEU of both over some of the sentences."""
    corpus_bleu = importlib.import_module("sacrebleu").corpus_bleu
    places = [place for place, is_kept in enumerate(kept) if is_kept]
    wanted = [[references[place] for place in places]]
    ours, theirs = (corpus_bleu([texts[place] for place in places], wanted).score for texts in written)
    found = {"sentences": len(places), "ours": ours, "ctranslate2": theirs, "difference": theirs - ours}
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("parity", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
