"""Train a network: `python -m models.training.train models/configs/tiny.toml`.

Third stop of training, after tokenizer and packing. One process on CPU or GPU, or several under
`torchrun`. Stops on SIGTERM, on Ctrl-C and after `--minutes` with a checkpoint, survives kill -9 with the
last one, and goes on from it to the same numbers as if it had never stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dragoman.errors import StartupError
from dragoman.text.tokenizer import Tokenizer
from models.corpora import reserved
from models.corpora.batches import Batch, Batches
from models.corpora.packing import DataError, check_mark, check_size, fingerprint
from models.network.embeddings import bilingual, count
from models.network.transformer import Transformer, losses
from models.paths import data_folder, packed_folder, runs_folder, tokenizer_path
from models.training import checkpoint, settings
from models.training.checkpoint import CheckpointError
from models.training.progress import Progress
from models.training.settings import Settings, SettingsError
from models.training.trainer import Trainer, Worker
from models.training.validation import Validation

EMBEDDING_PAIRS = 60_000  # of each corpus, for the bilingual start
MAX_LOADERS = 8  # processes that prepare batches while the accelerator computes
CHECKPOINT = "checkpoint.pt"

Validate = Callable[[Transformer, dict[str, Tensor]], dict[str, float]]  # network, averaged weights


class Stream(IterableDataset[tuple[int, Batch]]):
    """The batches from a position on, dealt out in turn to loader processes so that their order stays."""

    def __init__(self, batches: Batches, position: int) -> None:
        self._batches, self._position = batches, position

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for position, plan in itertools.islice(self._batches.plans(self._position), first, None, step):
            yield position, self._batches.collate(plan)


class Stop:
    """Says when to stop: on SIGTERM, on Ctrl-C, or when the time is over."""

    ECHO_SECONDS = 5.0  # `torchrun` hands on the signal that its whole group has had already

    def __init__(self, minutes: float) -> None:
        self._deadline = time.monotonic() + 60 * minutes
        self._asked: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _: object) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        elif now > self._asked + self.ECHO_SECONDS:  # whoever asks twice means at once
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def __bool__(self) -> bool:
        return self._asked is not None or time.monotonic() > self._deadline


class Every:
    """A clock for what is due again and again, and may take a while itself."""

    def __init__(self, minutes: float) -> None:
        self._minutes, self._last = minutes, time.monotonic()

    def is_due(self) -> bool:
        """Tell whether the minutes have passed."""
        return time.monotonic() - self._last >= 60 * self._minutes

    def restart(self) -> None:
        """Count from now."""
        self._last = time.monotonic()


def train(
    config: Settings, run: Path, stop: Stop, init: Path | None = None,
    *, counts_on: bool = False, fused: bool = True, validation: Validate | None = None,
) -> None:  # fmt: skip
    """Train until the configured number of tokens, or until told to stop.

    Args:
        run: Folder of this run; a checkpoint in it is resumed.
        init: Weights to start from when there is no checkpoint yet: of a checkpoint, a `.safetensors` file or a
            bundle.
        counts_on: The tokens and hours behind published weights count as those of this run, which goes on where they stopped.
        fused: Compile the network first, on an accelerator: two minutes. Processors gain nothing by it.
        validation: What measures the weights now and then (default: the development sets).

    Raises:
        CheckpointError, DataError, SettingsError, BundleError: As their messages say; the last checkpoint is
            intact.
    """
    worker = Worker(config.training.precision)
    try:
        tokenizer = check_size(tokenizer_path(), config.model.vocabulary)
        check_mark(packed_folder(), tokenizer_path())
        validation = validation or Validation(data_folder() / "dev", tokenizer)
        trainer = Trainer(config, worker, fingerprint(tokenizer_path()))
        _prepare(trainer, run / CHECKPOINT, init, counts_on=counts_on)
        stream = _stream(trainer, tokenizer)
        if worker.rank == 0:
            (run / "config.json").write_text(json.dumps(config.to_dict(), indent=1))
        _pool(trainer, stream, validation, run, stop, fused)
    finally:
        worker.close()


def _prepare(trainer: Trainer, path: Path, init: Path | None, *, counts_on: bool) -> None:
    """Resume, or start from given weights, or from bilingual embeddings."""
    if path.exists():
        trainer.restore(checkpoint.load(path))
    elif init is not None:
        checkpoint.check_tokenizer(init, tokenizer_path())
        known = reserved.widened(checkpoint.load_average(init), trainer.config.model.vocabulary)
        trainer.start_from(known, str(init))
        if counts_on:
            trainer.count_on(checkpoint.progress(init))
    else:
        weights = trainer.network.state_dict()
        if trainer.worker.rank == 0:
            names = list(trainer.config.data.weights)
            counts = count(packed_folder(), names, trainer.config.model.vocabulary, EMBEDDING_PAIRS)
            weights["embedding.weight"] = bilingual(counts, trainer.config.model.width)
        trainer.start_from(weights, "bilingual embeddings")


def _stream(trainer: Trainer, tokenizer: Tokenizer) -> Iterator[tuple[int, Batch]]:
    data, worker = trainer.config.data, trainer.worker
    batches = Batches(
        packed_folder(), tokenizer, data.weights,
        batch_tokens=data.batch_tokens, max_tokens=data.max_tokens, seed=data.seed,
        rank=worker.rank, world=worker.world, multiple=settings.PADDED_TO if worker.on_gpu else 1,
    )  # fmt: skip
    loader = DataLoader(
        Stream(batches, trainer.position),
        batch_size=None,  # they come as batches
        num_workers=min(MAX_LOADERS, len(os.sched_getaffinity(0))) if worker.on_gpu else 0,
        worker_init_fn=_leave_signals,
    )
    return iter(loader)


def _leave_signals(_: int) -> None:
    """Let the training alone decide when to stop: a signal to the whole group must not end its loaders."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _pool(
    trainer: Trainer, stream: Iterator[tuple[int, Batch]], validation: Validate,
    run: Path, stop: Stop, fused: bool,
) -> None:  # fmt: skip
    """Update until all tokens are seen; save and evaluate by the clock, and once more at the end."""
    training, worker = trainer.config.training, trainer.worker
    compute = torch.compile(losses, dynamic=True) if fused and worker.on_gpu else losses
    with Progress(run, training.total_tokens, trainer.tokens, quiet=worker.rank > 0) as progress:
        saving = Every(training.minutes_between_checkpoints)
        evaluating = Every(training.minutes_between_evaluations)
        while trainer.tokens < training.total_tokens and not worker.any(bool(stop)):
            began = time.monotonic()
            measured = trainer.update([next(stream) for _ in range(trainer.num_batches())], compute)
            trainer.seconds += time.monotonic() - began
            if not math.isfinite(sum(measured.values())):
                raise DataError(f"the loss is {measured} after {trainer.tokens:,} tokens: lower the rates")
            progress.update(trainer.tokens, trainer.updates, trainer.seconds, measured)
            if worker.rank == 0 and saving.is_due():
                _save_or_warn(trainer, run / CHECKPOINT, progress)
                saving.restart()
            if worker.rank == 0 and evaluating.is_due():
                progress.record({"tokens": trainer.tokens, **validation(trainer.network, trainer.average)})
                evaluating.restart()
        if worker.rank == 0:
            checkpoint.save(trainer.state(), run / CHECKPOINT)
            if trainer.tokens >= training.total_tokens:
                progress.record({"tokens": trainer.tokens, **validation(trainer.network, trainer.average)})


def _save_or_warn(trainer: Trainer, path: Path, progress: Progress) -> None:
    """Save; a full disk is no reason to lose the hours since, so warn and try again later."""
    try:
        checkpoint.save(trainer.state(), path)
    except CheckpointError as error:
        progress.warn(str(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a translation model.")
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--run", help="name of the run's folder under DRAGOMAN_RUNS (default: the file's name)"
    )
    parser.add_argument(
        "--init",
        type=Path,
        help="start from these weights; from a bundle or a published file: go on counting, too",
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.NAME=VALUE")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop then, with a checkpoint (default: never)"
    )
    parser.add_argument("--threads", type=int, default=0, help="processor threads (default: all)")
    parser.add_argument("--eager", action="store_true", help="do not compile the network on an accelerator")
    return parser.parse_args()


def main() -> None:
    """Read the command line and train."""
    arguments = _arguments()
    stop = Stop(arguments.minutes)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        config = settings.read(arguments.config, arguments.set)
        run = runs_folder() / (arguments.run or arguments.config.stem)
        run.mkdir(parents=True, exist_ok=True)
        train(config, run, stop, arguments.init, counts_on=True, fused=not arguments.eager)
    except (SettingsError, CheckpointError, DataError, StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
