"""Part (f): cost against sentence length (8 to 128 tokens) and batch size (1 to 64), as curves.

    make bench ARGS="-k curves"        python -m tests.benchmarks.curves [--scale 0.2]

Sources are cut to exact lengths, and both engines are made to write exactly as many tokens as they read: ours by
forcing pieces, the peer by its least and greatest length. One core, int8. Both the JSON and the figure are written.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from dragoman import bundle
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from tests.benchmarks import corpus, measure, sweep, theirs
from tests.benchmarks.corpus import Sentence
from tests.benchmarks.measure import Plan
from tests.benchmarks.ours import Ours
from tests.benchmarks.plot import Line, Panel, figure
from tests.benchmarks.theirs import Settings
from tests.benchmarks.worker import Worker

LENGTHS, BATCHES = (8, 16, 32, 64, 96, 128), (1, 2, 4, 8, 16, 32, 64)
ROUNDS = 9
TITLE = "Cost of a sentence on one core: Dragoman (full lines) and CTranslate2 (dashed), int8"
ROOM = {"max_running_sentences": str(max(BATCHES)), "max_batch_tokens": "65536"}  # for the largest batch


def measured(plan: Plan) -> dict[str, Any]:
    """Return the milliseconds of every length and batch."""
    cores = measure.cores_of(1)
    lengths, sizes = _thinned(LENGTHS, plan), _thinned(BATCHES, plan)
    source = _tokens(plan, max(lengths) * max(sizes))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = theirs.convert(plan.checkpoint, plan.bundle, Path(folder))
        peer = sweep.Peer({"int8": model}, plan.bundle / bundle.TOKENIZER)
        with Worker(Ours, plan.bundle, ROOM, cores=cores) as ours, peer.worker(Settings(), cores) as other:
            for length in lengths:
                for size in sizes:
                    rows.append(_row(plan, [ours, other], _cut(source, length, size), length))
    return {"cores": 1, "rounds": plan.count(ROUNDS), "points": rows}


def _thinned(values: tuple[int, ...], plan: Plan) -> tuple[int, ...]:
    """Return the ends and the middle where the code is only tried out."""
    return values if plan.scale >= 0.1 else (values[0], values[len(values) // 2], values[-1])


def _tokens(plan: Plan, count: int) -> list[int]:
    """Return the tag of a language, and enough pieces of real text."""
    tokenizer = Tokenizer.from_file(plan.bundle / bundle.TOKENIZER)
    texts = [text for text in corpus.texts(2000) if text.source == "en"]
    pieces = [id_ for sentence in corpus.encode(texts, tokenizer) for id_ in sentence.ids[1:-1]]
    return [tokenizer.tag_id("fr"), *(pieces * -(-count // len(pieces)))]


def _cut(source: list[int], length: int, size: int) -> list[Sentence]:
    """Return sentences of exactly this length, tag and end included."""
    tag, pieces = source[0], source[1:]
    step = length - 2
    return [
        Sentence([tag, *pieces[step * place : step * (place + 1)], EOS_ID], length) for place in range(size)
    ]


def _row(plan: Plan, engines: list[Worker], sentences: list[Sentence], length: int) -> dict[str, Any]:
    """Let both engines write as many tokens as they read."""
    works = [lambda engine=engine: engine.call("force", sentences, length - 1) for engine in engines]
    rounds = measure.turns(works, plan.count(ROUNDS))
    ours, other = (1000 * statistics.median(column) / len(sentences) for column in rounds)
    row = {
        "tokens": length,
        "batch": len(sentences),
        "ours_ms_per_sentence": round(ours, 3),
        "ctranslate2_ms_per_sentence": round(other, 3),
        "speed_ratio": measure.ratio(rounds[1], rounds[0]),
    }
    print(row)
    return row


def drawn(points: list[dict[str, Any]]) -> str:
    """Draw cost against length for some batch sizes, and sentences a second against batch size for some lengths."""
    cost = _lines(points, "tokens", "batch", (1, 8, 64), lambda milliseconds: milliseconds)
    speed = _lines(points, "batch", "tokens", (8, 32, 128), lambda milliseconds: 1000 / milliseconds)
    panels = [
        Panel("Cost against length", "tokens read, and as many written", "ms a sentence", cost),
        Panel("Throughput against batch size", "sentences in the batch", "sentences a second", speed),
    ]
    return figure(TITLE, panels)


def _lines(points: list[dict[str, Any]], x: str, series: str, wanted: tuple[int, ...], of: Any) -> list[Line]:
    unit = {"batch": "batch of {}", "tokens": "{} tokens"}[series]
    chosen = [value for value in sorted({point[series] for point in points}) if value in wanted]
    return [
        Line(
            unit.format(value),
            [
                (point[x], of(point[f"{engine}_ms_per_sentence"]))
                for point in points
                if point[series] == value
            ],
            is_dashed=engine == "ctranslate2",
        )
        for value in chosen
        for engine in ("ours", "ctranslate2")
    ]


def write(plan: Plan) -> dict[str, Any]:
    """Measure, write both files, and return the figures."""
    figures = measured(plan)
    path = plan.write(figures)
    path.with_suffix(".svg").write_text(drawn(figures["points"]), encoding="utf-8")
    return figures


def main() -> None:
    """Read the command line and measure."""
    write(measure.plan("curves", __doc__, sys.argv[1:]))


if __name__ == "__main__":
    main()
