"""Fine-tuning on your own sentence pairs: `python -m models.training.finetune FILE.tsv --direction en-fr`.

Built upon *train*: published weights, a short warm-up, low rates, and your sentence pairs in the
place of the corpora. The last lines of the file are never trained on; they show before and after.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dragoman.bundle import MANIFEST, TOKENIZER
from dragoman.errors import StartupError
from dragoman.text.tokenizer import Tokenizer
from models.convert.export import averaged_network
from models.corpora import user_pairs
from models.corpora.packing import DataError, Packed, check_mark, open_tokenizer
from models.network.transformer import Transformer
from models.paths import PUBLISHED, ROOT, packed_folder, runs_folder, tokenizer_path
from models.training import checkpoint, settings
from models.training.checkpoint import CheckpointError
from models.training.finetune_evaluation import HeldOut, show
from models.training.settings import Settings, SettingsError
from models.training.train import CHECKPOINT, Stop, train
from models.training.validation import DIRECTIONS

SERVED = ROOT / "bundles" / "default"  # the same weights, rounded to 8 bits
CONFIG = ROOT / "configs" / "tiny.toml"
RECIPE = [  # where a fine-tuning differs from a training; `--set` wins, being said later
    "training.matrix_rate=0.002",  # a tenth: thrice that lowered the loss further, and chrF too, in one trial
    "training.vector_rate=0.0002",  # likewise
    "training.warmup_updates=10",  # until the optimisers know what gradients look like
    "training.cooldown=1.0",  # down from the start: there is no plateau worth staying on
    "training.update_tokens=[[0, 3000]]",  # small, for otherwise there would be few
]
SETTLED = ("model.", "alignment.", "training.total_tokens")  # not by a setting


def main() -> None:
    """Read the command line, fine-tune, show what became of it."""
    arguments = _arguments()
    stop = Stop(arguments.minutes)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        finetune(arguments, stop)
    except (SettingsError, CheckpointError, DataError, StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def finetune(arguments: argparse.Namespace, stop: Stop) -> None:
    """Train on the user's pairs, then compare the network with what it was.

    Raises:
        CheckpointError, DataError, SettingsError: As their messages say.
    """
    console = Console(stderr=True)
    source, target = arguments.direction.split("-")
    name = _run_name(arguments)
    run, corpus = runs_folder() / name, f"{name}.en-{source if target == 'en' else target}"
    pairs = user_pairs.read_tsv(arguments.file)
    learnt, held_out = user_pairs.split(pairs, arguments.held_out, arguments.file)
    before = _state_of(arguments.init)
    network = averaged_network(before)
    tokenizer = shared_tokenizer(arguments.init)
    _begin(run, arguments)
    used = user_pairs.pack(learnt, target, corpus, tokenizer)
    console.print(
        f"{len(pairs):,} pairs: {len(held_out):,} held out, {used:,} to learn from", highlight=False
    )
    config = configuration(network, corpus, arguments.set, epochs=arguments.epochs, mix=arguments.mix)
    measure = HeldOut(tokenizer, source, target, held_out)
    train(config, run, stop, arguments.init, fused=False, validation=measure)
    state = checkpoint.load(run / CHECKPOINT)
    if state["tokens"] < config.training.total_tokens:
        raise SystemExit(
            f"stopped with a checkpoint after {state['tokens']:,} tokens; the same command goes on"
        )
    show(held_out, measure.measure(before), measure.measure(state), Console())
    console.print(_how_to_go_on(run), highlight=False, soft_wrap=True)


def configuration(
    network: Transformer, corpus: str, overrides: list[str], *, epochs: float, mix: float
) -> Settings:
    """Return the settings of a fine-tuning: those of `tiny`, the recipe, and the shape of the weights.

    The guided heads stay what they were: where pairs have no links, nothing is asked of them.

    Args:
        corpus: Name of the user's packed pairs.
        epochs: How often each pair is seen, in one direction or the other.
        mix: Share of the target tokens that the general corpora of the configuration give.

    Raises:
        SettingsError: An override is wrong, or of what the others settle.
    """
    given = {name.strip() for name, _, _ in (override.partition("=") for override in overrides)}
    settled = SETTLED if mix else (*SETTLED, "data.weights")  # which are of general text
    if lost := {name for name in given if name.startswith(settled)}:
        raise SettingsError(
            f"{', '.join(sorted(lost))}: follows from the weights, your pairs, --epochs and --mix"
        )
    config = settings.read(CONFIG, RECIPE + overrides)
    weights, total = {corpus: 1 - mix}, sum(config.data.weights.values())
    if mix:
        weights |= {name: mix * weight / total for name, weight in config.data.weights.items()}
    packed = Packed.open(packed_folder() / corpus)
    tokens = (len(packed.english) + len(packed.other)) / 2 + len(packed)  # with an end each
    longest = network.shape.max_positions // settings.PADDED_TO * settings.PADDED_TO
    return replace(
        config,
        model=network.shape,
        guided=network.guided,
        data=replace(config.data, weights=weights, max_tokens=min(config.data.max_tokens, longest)),
        training=replace(config.training, total_tokens=math.ceil(epochs * tokens / (1 - mix))),
    )


def _state_of(init: Path) -> dict[str, Any]:
    """Return the weights of a file as a checkpoint that has not been trained on anything."""
    known, weights = checkpoint.described(init), checkpoint.load_average(init)
    beginning = {"weights": weights, "average": weights, "tokens": 0, "updates": 0, "seconds": 0.0}
    return known | beginning | {"config": {}}


def published() -> Path:
    """Return what a fine-tuning starts from: the published weights, else those that serve."""
    return PUBLISHED if PUBLISHED.exists() else SERVED


def shared_tokenizer(init: Path) -> Tokenizer:
    """Return the tokenizer that every run shares; where there is none, it becomes that of the weights.

    Raises:
        CheckpointError: The weights know the pieces of another one.
        DataError: So do the packed corpora.
    """
    path, served = tokenizer_path(), (init if init.is_dir() else SERVED) / TOKENIZER
    checkpoint.check_tokenizer(init, path if path.exists() else served)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(served, path)
    check_mark(packed_folder(), path)
    return open_tokenizer(path)


def _begin(run: Path, arguments: argparse.Namespace) -> None:
    """Note what a run is begun with; with anything else, resuming it would be a mixture.

    Raises:
        DataError: It was begun with something else.
    """
    names = ("direction", "held_out", "epochs", "mix", "set")
    what: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    what |= {name: _sha256(getattr(arguments, name)) for name in ("file", "init")}
    path = run / "finetune.json"
    run.mkdir(parents=True, exist_ok=True)
    if (run / CHECKPOINT).exists() and (not path.exists() or json.loads(path.read_bytes()) != what):
        raise DataError(f"{run}: begun with another file or other options, give another --run or delete it")
    path.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    content = path / MANIFEST if path.is_dir() else path  # which has the sums of all files of a bundle
    return hashlib.sha256(content.read_bytes()).hexdigest()


def _run_name(arguments: argparse.Namespace) -> str:
    name: str = arguments.run or f"finetuned-{arguments.file.stem}"
    if not re.fullmatch(r"[\w-]+", name):
        raise DataError(f"{name!r} cannot name a run: give --run letters, digits, - and _")
    return name


def _how_to_go_on(run: Path) -> str:
    bundle = ROOT / "bundles" / run.name
    options = f"--checkpoint {run / CHECKPOINT} --bundle {bundle} --name {run.name}"
    return f"\nTo serve it:\n  python -m models.convert.export {options}\n  dragoman serve --bundle {bundle}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Teach a finished model your own sentence pairs.")
    parser.add_argument("file", type=Path, help="UTF-8, no header, source<TAB>target on every line")
    parser.add_argument("--direction", required=True, choices=["-".join(pair) for pair in DIRECTIONS])
    parser.add_argument(
        "--init",
        type=Path,
        default=published(),
        help="weights to start from: a checkpoint, a .safetensors file or a bundle (default: %(default)s)",
    )
    parser.add_argument(
        "--run", help="name of the run's folder under DRAGOMAN_RUNS (default: finetuned-FILE)"
    )
    parser.add_argument(
        "--held-out", type=int, default=100, metavar="LINES", help="last lines, for before and after (100)"
    )
    parser.add_argument("--epochs", type=float, default=3.0, help="how often each pair is seen (3)")
    parser.add_argument(
        "--mix", type=float, default=0.0, metavar="SHARE",
        help="share of general text, if you have packed any, so that less is forgotten (0)",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.NAME=VALUE")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop then, with a checkpoint")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (default: all)")
    arguments = parser.parse_args()
    if not 0 <= arguments.mix < 1 or not 0 < arguments.epochs < math.inf:
        parser.error("want 0 <= --mix < 1 and --epochs above 0")
    return arguments


if __name__ == "__main__":
    main()
