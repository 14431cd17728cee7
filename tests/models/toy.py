"""A world of thirty words in three languages: shards, tokenizer, packed corpora, a network that fits.

Everything that training reads, small enough to be made for a test run and learnt in seconds.
"""

from __future__ import annotations

import lzma
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dragoman import bundle
from dragoman.bundle import Bundle
from dragoman.convert.architecture import Shape
from dragoman.text.tokenizer import Tokenizer
from models.convert.export import export
from models.corpora import packing, tokenizer
from models.network.transformer import GuidedHead, Transformer

ROOT = Path(__file__).parents[2]
VOCABULARY = 416
WORDS = {
    "en": "house river bridge garden window table bread water friend teacher letter morning summer winter "
    "mountain village market doctor brother sister king queen horse bird fish stone tree flower night star",
    "fr": "maison rivière pont jardin fenêtre table pain eau ami professeur lettre matin été hiver montagne "
    "village marché docteur frère soeur roi reine cheval oiseau poisson pierre arbre fleur nuit étoile",
    "es": "casa río puente jardín ventana mesa pan agua amigo maestro carta mañana verano invierno montaña "
    "pueblo mercado médico hermano hermana rey reina caballo pájaro pez piedra árbol flor noche estrella",
}
SHAPE = Shape(
    vocabulary=VOCABULARY, width=32, feed_forward=64, heads=2,
    encoder_layers=2, decoder_layers=2, max_positions=64,
)  # fmt: skip
GUIDED = (GuidedHead(layer=1, head=0, shift=0, weight=0.3), GuidedHead(layer=1, head=1, shift=1, weight=0.1))
CONFIG = """
[model]
vocabulary = 416
width = 32
feed_forward = 64
heads = 2
encoder_layers = 1
decoder_layers = 1
max_positions = 64

[data]
batch_tokens = 600
max_tokens = 40
seed = 1

[data.weights]
"toy.en-fr" = 1.0
"toy.en-es" = 1.0

[training]
matrix_rate = 0.02
vector_rate = 0.005
warmup_updates = 10
label_smoothing = 0.1
gradient_clip = 1.0
average_decay = 0.9
update_tokens = [[0, 600]]
total_tokens = 20_000
cooldown = 0.2
precision = "fp32"
minutes_between_checkpoints = 0
minutes_between_evaluations = 60

[alignment]
guided = [{ layer = 0, head = 0, shift = 1, weight = 0.1 }]
"""


def sentences(count: int, other: str, seed: int, longest: int = 8) -> list[tuple[str, str]]:
    """Return pairs that say the same, word by word, in English and another language."""
    chooser = random.Random(seed)
    english, foreign = WORDS["en"].split(), WORDS[other].split()
    pairs = []
    for _ in range(count):
        said = [chooser.randrange(len(english)) for _ in range(chooser.randint(1, longest))]
        pairs.append((" ".join(english[w] for w in said), " ".join(foreign[w] for w in said)))
    return pairs


def write_shard(path: Path, pairs: list[tuple[str, str]]) -> Path:
    """Write pairs as training data comes: one a line, compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8", preset=0) as file:
        file.writelines(f"{english}\t{other}\n" for english, other in pairs)
    return path


@dataclass(frozen=True)
class Toy:
    """Where the toy world lies."""

    data: Path  # what DRAGOMAN_DATA names
    runs: Path  # what DRAGOMAN_RUNS names
    tokenizer: Tokenizer

    @property
    def packed(self) -> Path:
        """Return the folder of packed corpora."""
        return self.runs / "packed"

    def fresh_runs(self, folder: Path) -> Path:
        """Return a folder of runs for one test, with the shared tokenizer and corpora in it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("packed", "tokenizer.model"):
            (folder / name).symlink_to(self.runs / name)
        return folder


def make_toy(folder: Path) -> Toy:
    """Write shards and development sets, train the tokenizer, pack the corpora, link word to word."""
    where, runs = folder / "data", folder / "runs"
    spoken = []
    for other in ("fr", "es"):
        for number in range(2):
            pairs = sentences(600, other, seed=number)
            spoken += [side for pair in pairs for side in pair]
            write_shard(where / "train" / f"toy.en-{other}.{number:02d}.tsv.xz", pairs)
    english = [pair[0] for pair in sentences(8, "fr", seed=7)]
    for name in ("newstest2012", "flores200-dev"):
        for language in ("en", "fr", "es"):
            lines = english if language == "en" else [pair[1] for pair in sentences(8, language, seed=7)]
            path = where / "dev" / f"{name}.{language}"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    runs.mkdir()
    (runs / "tokenizer.model").write_bytes(tokenizer.train(spoken, VOCABULARY, threads=1))
    opened = Tokenizer.from_file(runs / "tokenizer.model")
    packing.pack(where / "train", runs / "packed", opened, 60, 1)
    return Toy(where, runs, opened)


def random_state(seed: int, louder: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return a checkpoint of random weights; `louder` multiplies those whose name ends so."""
    torch.manual_seed(seed)
    factors = louder or {}
    weights = {
        name: weight * next((factor for end, factor in factors.items() if name.endswith(end)), 1.0)
        for name, weight in Transformer(SHAPE, GUIDED).state_dict().items()
    }
    guided = [asdict(guide) for guide in GUIDED]
    corpora = {"weights": {"toy.en-fr": 1.0, "toy.en-es": 1.0}, "max_tokens": 40, "seed": 1}
    return {
        "shape": SHAPE.to_dict(), "guided": guided, "config": {"data": corpora, "guided": guided},
        "weights": {name: torch.zeros_like(weight) for name, weight in weights.items()}, "average": weights,
        "optimisers": [], "position": 9, "tokens": 1234, "updates": 5, "seconds": 1800.0, "warmed_from": 0,
    }  # fmt: skip


def write_bundle(state: dict[str, Any], toy: Toy, folder: Path, precision: str = "fp32") -> Bundle:
    """Export a checkpoint and load the bundle; DRAGOMAN_RUNS names where the toy's corpora are."""
    tokenizer_path = toy.runs / "tokenizer.model"
    export(state, tokenizer_path, folder, precision=precision, name="toy", version="7", threshold=0.25)
    return bundle.load(folder)


def run_module(
    name: str, *arguments: str | Path, environ: Mapping[str, str | Path]
) -> subprocess.CompletedProcess[str]:
    """Run `python -m NAME` to its end."""
    return subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env=environment(environ), timeout=100, check=False,
    )  # fmt: skip


def environment(changes: Mapping[str, str | Path]) -> dict[str, str]:
    """Return this process's environment with some variables changed."""
    return os.environ | {name: str(value) for name, value in changes.items()}
