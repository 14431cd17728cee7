"""Which sentences are fair to both engines: those whose translation comes to an end by itself.

A young model turns in circles now and then. Our engine notices and stops (`Finish.REPETITION`), the peer's goes on to
the limit or until the model recovers: a virtue of ours, perhaps, but not one of speed.

    python -m tests.benchmarks.selection 1000 > texts.tsv        for `dragoman bench --texts texts.tsv`
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dragoman.text.tokenizer import Tokenizer
from tests.benchmarks import corpus, measure, sweep
from tests.benchmarks.corpus import Sentence, Text
from tests.benchmarks.measure import Plan
from tests.benchmarks.ours import Ours
from tests.benchmarks.theirs import Settings
from tests.benchmarks.worker import Worker

SPARE = 0.15  # of the sentences drawn, to make up for those that are passed over


def texts(plan: Plan, peer: sweep.Peer, count: int) -> tuple[list[Text], int]:
    """Return so many sentences, and how many others were passed over."""
    drawn = corpus.texts(count + max(12, round(SPARE * count)))
    encoded = corpus.encode(drawn, Tokenizer.from_file(peer.tokenizer))
    cores = measure.cores_of(1)
    with Worker(Ours, plan.bundle, cores=cores) as ours, peer.worker(Settings(), cores) as theirs:
        ends = ending(ours, theirs, encoded)
    kept = [place for place, is_ending in enumerate(ends) if is_ending][:count]
    if len(kept) < count:
        raise ValueError(f"only {len(kept)} of {len(drawn)} sentences come to an end, {count} are wanted")
    return [drawn[place] for place in kept], kept[-1] + 1 - count


def ending(ours: Worker, theirs: Worker, sentences: list[Sentence]) -> list[bool]:
    """Tell which sentences come to an end in both engines."""
    both = ours.call("ending", sentences), theirs.call("ending", sentences)
    return [a and b for a, b in zip(*both, strict=True)]


def main() -> None:
    """Print texts as `dragoman bench` reads them."""
    plan = measure.plan("selection")
    with tempfile.TemporaryDirectory() as folder:
        chosen, _ = texts(plan, sweep.converted(plan, Path(folder)), int(sys.argv[1]))
    for text in chosen:
        print(text.source, text.target, text.text, sep="\t")


if __name__ == "__main__":
    main()
