"""Part (a): 2,000 sentences sorted by length, all there from the start, greedy and beam 4, 1 and 2 cores.

    make bench ARGS="-k offline"        python -m tests.benchmarks.offline [--scale 0.02]

The headline is the ratio of *sentences* a second: both engines must finish the same sentences, whereas the number
of tokens is each one's own doing (they round differently, and one that rambles would write more of them).
Tokens a second are there too. Sentences on which the model turns in circles are given to neither (`selection.py`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dragoman.text.tokenizer import Tokenizer
from tests.benchmarks import corpus, measure, selection, sweep
from tests.benchmarks.corpus import Sentence
from tests.benchmarks.measure import Plan
from tests.benchmarks.ours import Ours
from tests.benchmarks.theirs import Settings
from tests.benchmarks.worker import Worker

SENTENCES, SAMPLE, ROUNDS = 2000, 240, 7
BEAMS, CORES = (1, 4), (1, 2)


def measured(plan: Plan) -> dict[str, Any]:
    """Return the figures of all cases."""
    with tempfile.TemporaryDirectory() as folder:
        peer = sweep.converted(plan, Path(folder))
        texts, left_out = selection.texts(plan, peer, plan.count(SENTENCES, 24))
        sentences = corpus.encode(texts, Tokenizer.from_file(peer.tokenizer))
        sentences.sort(key=lambda sentence: -len(sentence.ids))
        sample = sentences[:: max(1, len(sentences) // plan.count(SAMPLE, 8))]
        fastest, tried = sweep.kernels(peer, sample, plan.count(3))
        cases = [
            _case(plan, peer, fastest, sentences, sample, measure.cores_of(cores), beam)
            for cores in CORES
            for beam in BEAMS
        ]
    lengths = sorted(len(sentence.ids) for sentence in sentences)
    return {
        "sentences": len(sentences),
        "left_out_because_they_do_not_end": left_out,
        "source_tokens": {"median": lengths[len(lengths) // 2], "least": lengths[0], "most": lengths[-1]},
        "headline": "ratio.sentences_per_second: medians over the rounds of ours divided by theirs",
        "sweep_of_kernels": tried,
        "cases": cases,
    }


def _case(
    plan: Plan, peer: sweep.Peer, fastest: Settings, sentences: Sequence[Sentence],
    sample: Sequence[Sentence], cores: list[int], beam: int,
) -> dict[str, Any]:  # fmt: skip
    """Find the peer's best settings, then let both engines translate everything in turns."""
    settings, tried = sweep.batches(peer, fastest, sample, cores, beam, plan.count(3))
    with (
        peer.worker(settings, cores) as theirs,
        Worker(Ours, plan.bundle, cores=cores) as ours,
    ):
        rounds = measure.turns(
            [lambda: ours.call("timed", sentences, beam), lambda: theirs.call("timed", sentences, beam)],
            plan.count(ROUNDS),
        )
    rates = [[len(sentences) / seconds for seconds, _ in engine] for engine in rounds]
    tokens = [[written / seconds for seconds, written in engine] for engine in rounds]
    case = {
        "cores": len(cores),
        "beam": beam,
        "rounds": len(rates[0]),
        "ratio": {"sentences_per_second": measure.ratio(*rates), "tokens_per_second": measure.ratio(*tokens)},
        "ours": _engine(rates[0], tokens[0], rounds[0]),
        "ctranslate2": {**_engine(rates[1], tokens[1], rounds[1]), "settings": asdict(settings)},
        "sweep_of_batches": tried,
    }
    print({name: case[name] for name in ("cores", "beam", "ratio", "ours", "ctranslate2")})
    return case


def _engine(rates: list[float], tokens: list[float], rounds: list[tuple[float, int]]) -> dict[str, Any]:
    return {
        "sentences_per_second": measure.spread(rates, 1),
        "tokens_per_second": measure.spread(tokens, 0),
        "target_tokens": rounds[0][1],
    }


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("offline", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
