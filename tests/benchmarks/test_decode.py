"""Greedy decoding against CTranslate2 int8: the same random weights, one core, side by side.

    make bench ARGS="-k decode"

For sizes of network that are not trained yet. Both engines read 26 pieces for each sentence and write 25, in turns;
what is reported are medians and their ratio. Results: `results/decode.json`.
"""

from __future__ import annotations

import importlib
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dragoman import bundle
from dragoman.config import DEFAULT_BUNDLE
from dragoman.convert import bundle_files
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from models.convert import export
from models.network.transformer import Transformer
from models.paths import ROOT
from models.training import settings
from tests.benchmarks import measure
from tests.benchmarks.corpus import Sentence
from tests.benchmarks.ours import Ours
from tests.benchmarks.theirs import Settings, Theirs
from tests.benchmarks.worker import Worker

pytestmark = pytest.mark.benchmark
ROUNDS, SOURCE_PIECES, TARGET_PIECES = 9, 24, 25
BATCHES = (1, 8, 32, 64)


def written(config_name: str, folder: Path) -> tuple[Path, Path]:
    """Write random weights for both engines, in int8; return the bundle and the peer's model."""
    export_ctranslate2 = importlib.import_module("models.convert.ctranslate2")
    config = settings.read(ROOT / "configs" / f"{config_name}.toml")
    tokenizer = Tokenizer.from_file(DEFAULT_BUNDLE / bundle.TOKENIZER)
    shape = replace(config.model, vocabulary=tokenizer.vocabulary_size)
    torch.manual_seed(1)
    network = Transformer(shape, config.guided).eval()
    state = {
        "shape": asdict(shape), "guided": [asdict(guide) for guide in config.guided],
        "config": {"data": asdict(config.data)},
        "weights": network.state_dict(), "average": {}, "tokens": 0, "updates": 0, "seconds": 0.0,
    }  # fmt: skip
    ids = torch.randint(263, 8000, (4, 64, SOURCE_PIECES))
    model = export.int8_model(network, [(part.numpy(), part.numpy()) for part in ids])
    head = export.alignment_head(network, 0.3)
    ours, theirs = folder / "ours", folder / "theirs"
    ours.mkdir()
    bundle_files.write(model, head, ours)
    (ours / bundle.TOKENIZER).write_bytes((DEFAULT_BUNDLE / bundle.TOKENIZER).read_bytes())
    (ours / bundle.CARD).write_text("random weights")
    described = export.described(state, network, head, precision="int8", name="random", version="0")
    bundle.write_manifest(ours, described)
    export_ctranslate2.write(state, tokenizer, theirs, "int8")
    return ours, theirs


def row(engines: list[Worker], size: int, rounds: int) -> dict[str, Any]:
    """Let both engines decode a batch in turns."""
    random = np.random.default_rng(1)
    ids = [[6, *random.integers(263, 8000, SOURCE_PIECES).tolist(), EOS_ID] for _ in range(size)]
    sentences = [Sentence(one, TARGET_PIECES) for one in ids]
    works = [lambda engine=engine: engine.call("force", sentences, TARGET_PIECES - 1) for engine in engines]
    times = measure.turns(works, rounds)
    rates = [round(size * TARGET_PIECES / statistics.median(column)) for column in times]
    found = {"ours_tokens_per_second": rates[0], "ctranslate2_tokens_per_second": rates[1]}
    return {"batch": size, **found, "ratio": measure.ratio(times[1], times[0])}


@pytest.mark.parametrize("config_name", ["tiny", "base"])
def test_decode(tmp_path: Path, config_name: str) -> None:
    """
    Both engines are measured in one run, in turns; the figures are written down, not judged.
    """
    plan = measure.plan("decode" if config_name == "tiny" else f"decode_{config_name}")
    ours, theirs = written(config_name, tmp_path)
    cores = measure.cores_of(1)
    room = {"max_running_sentences": str(max(BATCHES))}

    with (
        Worker(Ours, ours, room, cores=cores) as one,
        Worker(Theirs, theirs, ours / bundle.TOKENIZER, Settings(), cores=cores) as other,
    ):
        rows = [row([one, other], size, plan.count(ROUNDS)) for size in BATCHES]

    plan.write({"config": config_name, "cores": 1, "rounds": plan.count(ROUNDS), "greedy": rows})
    assert len(BATCHES) == len(rows)
