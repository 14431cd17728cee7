"""Greedy decoding against CTranslate2 int8: the same random weights, one thread, side by side.

    make bench

Random weights never write an end, so every sentence is 24 pieces long and every translation 25; the two
engines take turns, and what is reported are medians and their ratio. Results: `results/decode.json`.
"""

from __future__ import annotations

import importlib
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import export, settings
from models.builder import Model
from models.paths import ROOT
from models.transformer import Transformer
from service import bundle
from service.config import DEFAULT_BUNDLE
from service.engine.processor import kernel_set
from service.engine.runner import FREE, Runner
from service.text.tokenizer import EOS_ID, Tokenizer

pytestmark = pytest.mark.benchmark
RESULTS = Path(__file__).parent / "results" / "decode.json"
ROUNDS, SOURCE_PIECES, TARGET_PIECES = 9, 24, 25
BATCHES = (1, 8, 32, 64)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Any, Tokenizer]:
    """Return both engines with the same weights, in int8."""
    ctranslate2 = pytest.importorskip("ctranslate2")  # only `make bench` installs it
    export_ctranslate2 = importlib.import_module("models.export_ctranslate2")
    folder = tmp_path_factory.mktemp("engines")
    tokenizer = Tokenizer.from_file(DEFAULT_BUNDLE / bundle.TOKENIZER)
    config = settings.read(ROOT / "configs" / "tiny.toml")
    torch.manual_seed(1)
    network = Transformer(config.model, config.guided).eval()
    state = {
        "shape": asdict(config.model), "guided": [asdict(guide) for guide in config.guided], "config": {},
        "weights": network.state_dict(), "average": {}, "tokens": 0, "updates": 0, "seconds": 0.0,
    }  # fmt: skip
    ids = torch.randint(263, 8000, (4, 64, SOURCE_PIECES))
    quantized = export.calibrate(network, ((part, part) for part in ids))
    head = export.alignment_head(network, 0.3)
    ours = folder / "ours"
    ours.mkdir()
    export.write(Model(network.shape, export.float_weights(network), quantized), head, ours)
    (ours / bundle.TOKENIZER).write_bytes((DEFAULT_BUNDLE / bundle.TOKENIZER).read_bytes())
    (ours / bundle.CARD).write_text("random weights")
    bundle.write_manifest(
        ours, export.described(state, network, head, precision="int8", name="random", version="0")
    )
    export_ctranslate2.write(state, tokenizer, folder / "peer", "int8")
    peer = ctranslate2.Translator(str(folder / "peer"), compute_type="int8", intra_threads=1, inter_threads=1)
    return Runner(bundle.load(ours), threads=1), peer, tokenizer


def translate_ours(runner: Runner, sources: list[list[int]]) -> None:
    """Encode and decode a batch with our runner."""
    runner.join(sources)
    for _ in range(TARGET_PIECES):
        runner.step([FREE] * len(sources))
    runner.leave(list(range(len(sources))))


def translate_peer(peer: Any, sources: list[list[str]]) -> None:
    """Encode and decode a batch with CTranslate2."""
    peer.translate_batch(
        sources, beam_size=1, max_batch_size=len(sources),
        min_decoding_length=TARGET_PIECES, max_decoding_length=TARGET_PIECES,
    )  # fmt: skip


def seconds(work: Callable[[], None]) -> float:
    """Return how long some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_greedy_decoding(engines: tuple[Runner, Any, Tokenizer]) -> None:
    """
    Both engines are measured in one run, in turns; the figures are written down, not judged.
    """
    runner, peer, tokenizer = engines
    random = np.random.default_rng(1)
    rows = []
    for size in BATCHES:
        ids = [[6, *random.integers(263, 8000, SOURCE_PIECES).tolist(), EOS_ID] for _ in range(size)]
        pieces = [[tokenizer.piece(id_) for id_ in row] for row in ids]
        work = (lambda ids=ids: translate_ours(runner, ids), lambda p=pieces: translate_peer(peer, p))
        times = [[seconds(one) for one in work] for _ in range(ROUNDS + 1)][1:]  # the first warms up
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        rate = size * TARGET_PIECES
        rows.append(
            {"batch": size, "ours_tokens_per_second": round(rate / ours),
             "ctranslate2_tokens_per_second": round(rate / theirs), "ratio": round(theirs / ours, 2)}
        )  # fmt: skip
        print(rows[-1])

    RESULTS.parent.mkdir(exist_ok=True)
    facts = {"command": "make bench", "threads": 1, "rounds": ROUNDS, "kernel_set": kernel_set(),
             "processor": platform.machine(), "ctranslate2": version("ctranslate2")}  # fmt: skip
    RESULTS.write_text(json.dumps({**facts, "greedy": rows}, indent=1) + "\n")
