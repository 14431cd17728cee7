"""Parity of the exported model with the trained one: `python -m models.evaluation.parity --checkpoint FILE`.

Exports a checkpoint twice and prints two figures: on how many of 500 development sentences the greedy
tokens of torch and of the float32 bundle are the same, and what int8 costs in BLEU. Exits with 1 if a
token differs or a direction loses more than 0.3.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dragoman import bundle
from dragoman.engine.cache import close_gaps
from dragoman.engine.model_runner import ModelRunner
from dragoman.engine.sessions import open_sessions
from dragoman.errors import StartupError
from dragoman.text.normalize import normalize
from dragoman.text.preprocessing import target_token_limit
from dragoman.text.tokenizer import BOS_ID, EOS_ID, Tokenizer
from models.convert.export import averaged_network, export
from models.corpora.packing import DataError, open_tokenizer
from models.evaluation.bleu import evaluate
from models.network.transformer import Transformer
from models.paths import PUBLISHED, data_folder, tokenizer_path
from models.training import checkpoint
from models.training.validation import DIRECTIONS, greedy, read_set

SENTENCES, LARGEST_LOSS = 500, 0.3
ROWS = 25


def sources(tokenizer: Tokenizer, folder: Path, count: int) -> list[list[int]]:
    """Return development sentences as pieces, as many for each direction as for the others."""
    found = []
    for number, (source, target) in enumerate(DIRECTIONS):
        lines = read_set(folder, "newstest2012", source)[: (count + number) // len(DIRECTIONS)]
        for ids in tokenizer.encode_batch([normalize(line) for line in lines]):
            found.append([tokenizer.tag_id(target), *ids[:200], EOS_ID])
    return found


def engine_greedy(runner: ModelRunner, batch: list[list[int]], limits: list[int]) -> list[list[int]]:
    """Return the greedy pieces of some sentences by the serving runner, without the end."""
    runner.join(batch)
    done: list[list[int]] = [[] for _ in batch]
    open_rows = list(range(len(batch)))
    pieces = [BOS_ID] * len(batch)
    while open_rows:
        pieces = runner.step(pieces).best_rows[0]
        left = []
        for place, row in enumerate(open_rows):
            if pieces[place] != EOS_ID:
                done[row].append(pieces[place])
            if pieces[place] == EOS_ID or len(done[row]) >= limits[row]:
                left.append(place)
        runner.leave(left)
        close_gaps(open_rows, left)
        close_gaps(pieces, left)
    return done


def same_tokens(network: Transformer, runner: ModelRunner, sentences: list[list[int]]) -> int:
    """Count the sentences whose greedy pieces are the same in torch and in the runner."""
    same = 0
    for start in track(range(0, len(sentences), ROWS), "torch and ONNX", console=Console(stderr=True)):
        batch = sentences[start : start + ROWS]
        limits = [target_token_limit(len(source)) for source in batch]
        expected = [ids[:limit] for ids, limit in zip(greedy(network, batch), limits, strict=True)]
        found = engine_greedy(runner, batch, limits)
        same += sum(a == b for a, b in zip(expected, found, strict=True))
    return same


def compare(state: dict[str, Any], folder: Path) -> bool:
    """Print both figures; return whether they are good enough."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = {precision: Path(scratch, precision) for precision in ("fp32", "int8")}
        for precision, path in paths.items():
            export(
                state, tokenizer_path(), path, precision=precision, name="parity", version="0", threshold=0.3
            )  # fmt: skip
        tokenizer = open_tokenizer(tokenizer_path())
        loaded = bundle.load(paths["fp32"])
        runner = ModelRunner(open_sessions(loaded, torch.get_num_threads()), loaded.manifest.shape)
        sentences = sources(tokenizer, folder, SENTENCES)
        same = same_tokens(averaged_network(state), runner, sentences)
        print(f"greedy tokens, torch fp32 and ONNX fp32: {same} of {len(sentences)} sentences identical")
        scores = {precision: evaluate(path, ["flores200-dev"], folder) for precision, path in paths.items()}
    table = Table("flores200-dev", "BLEU fp32", "BLEU int8", "int8 - fp32")
    worst = 0.0
    for direction, exact in scores["fp32"]["flores200-dev"].items():
        rounded = scores["int8"]["flores200-dev"][direction]["bleu"]
        difference = rounded - exact["bleu"]
        worst = min(worst, difference)
        table.add_row(direction, f"{exact['bleu']:.2f}", f"{rounded:.2f}", f"{difference:+.2f}")
    Console().print(table)
    return same == len(sentences) and worst >= -LARGEST_LOSS


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description="Compare torch, ONNX and int8 on development sentences.")
    parser.add_argument(
        "--checkpoint", type=Path, default=PUBLISHED, help="or weights (default: the published ones)"
    )
    arguments = parser.parse_args()
    try:
        is_good = compare(checkpoint.trained(arguments.checkpoint), data_folder() / "dev")
    except (checkpoint.CheckpointError, DataError, StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
