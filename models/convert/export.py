"""Write a checkpoint as a bundle: `python -m models.convert.export --checkpoint FILE --bundle DIRECTORY`.

Fourth stop of training. The averaged weights become ONNX graphs of our own making, in float or in
statically calibrated int8, with everything that serving needs beside them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from dragoman import bundle
from dragoman.bundle import AlignmentHead, Manifest
from dragoman.convert import bundle_files, calibration
from dragoman.convert.activations import Batch
from dragoman.convert.architecture import Weights
from dragoman.convert.onnx_builder import Model
from dragoman.errors import StartupError
from dragoman.text.tokenizer import Tokenizer
from models.convert.known_answers import add_known_answers
from models.corpora.batches import Batches
from models.corpora.packing import DataError, check_mark, check_size, fingerprint, languages_of
from models.evaluation.model_card import model_card
from models.network.transformer import Transformer, network_from
from models.paths import ROOT, packed_folder, runs_folder, tokenizer_path
from models.training import checkpoint
from models.training.checkpoint import CheckpointError
from models.training.validation import DIRECTIONS

CORE_WATTS = 10.0  # a guess at a busy core of a server, its share of the rest included
CALIBRATION_BATCHES = 12  # of 3,000 target positions each; the ranges hardly move any more


def averaged_network(state: dict[str, Any]) -> Transformer:
    """Return the network of a checkpoint with its averaged weights, ready to translate.

    Raises:
        CheckpointError: The weights are not those of the shape beside them, or not finite.
    """
    try:
        network = network_from(state | {"weights": state["weights"] | state["average"]}).eval()
    except (RuntimeError, TypeError) as error:
        raise CheckpointError("the checkpoint's weights and shape do not belong together") from error
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        raise CheckpointError("the checkpoint's weights are not finite: training had failed")
    return network


def named_weights(network: Transformer) -> Weights:
    """Return the weights of a network by name, as `dragoman.convert` takes them."""
    return {name: weight.detach().float().numpy() for name, weight in network.named_parameters()}


def int8_model(network: Transformer, batches: Iterable[Batch]) -> Model:
    """Return the model in 8 bits.

    Raises:
        CheckpointError: The network computes values that are not finite.
    """
    try:
        return calibration.int8_model(named_weights(network), network.shape, batches)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint cannot be calibrated: {error}") from error


def calibration_batches(config: dict[str, Any], tokenizer: Tokenizer) -> Iterator[Batch]:
    """Yield (source, target) ids of training pairs, drawn with a seed that training does not use."""
    batches = Batches(
        packed_folder(), tokenizer, config["data"]["weights"],
        batch_tokens=3072, max_tokens=config["data"]["max_tokens"], seed=config["data"]["seed"] + 1000,
    )  # fmt: skip
    for _, plan in islice(batches.plans(0), CALIBRATION_BATCHES):
        batch = batches.collate(plan)
        yield batch.source, batch.target_in


def alignment_head(network: Transformer, threshold: float) -> AlignmentHead:
    """Choose the head that says where a piece comes from.

    The last guided head that sees its own piece is the most exact; without any, the last layer's first head.
    """
    guided = max(network.guided, key=lambda guide: (guide.shift, guide.layer), default=None)
    if guided is None:
        return AlignmentHead(network.shape.decoder_layers - 1, 0, 0, threshold, is_guided=False)
    return AlignmentHead(guided.layer, guided.head, guided.shift, threshold, is_guided=True)


def export(
    state: dict[str, Any],
    tokenizer_file: Path,
    target: Path,
    *,
    precision: str,
    name: str,
    version: str,
    threshold: float,
    watts: float = CORE_WATTS,
) -> None:
    """Write a whole bundle; the directory appears, or changes, only when it is complete and checked.

    Raises:
        CheckpointError, DataError: As their messages say; a bundle that was there is untouched.
    """
    network = averaged_network(state)
    tokenizer = check_size(tokenizer_file, network.shape.vocabulary)
    if state.get("tokenizer") not in (None, fingerprint(tokenizer_file)):
        raise DataError(f"{tokenizer_file}: the network was trained with another tokenizer")
    if precision == "int8":
        check_mark(packed_folder(), tokenizer_file)
        model = int8_model(network, calibration_batches(state["config"], tokenizer))
    else:
        model = calibration.float_model(named_weights(network), network.shape)
    head = alignment_head(network, threshold)
    manifest = described(state, network, head, precision=precision, name=name, version=version, watts=watts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch, "bundle")
        folder.mkdir()
        bundle_files.write(model, manifest.alignment, folder)
        shutil.copyfile(tokenizer_file, folder / bundle.TOKENIZER)
        (folder / bundle.CARD).write_text(model_card(manifest), encoding="utf-8")
        bundle.write_manifest(folder, manifest)
        add_known_answers(folder)
        exchange(folder, target, Path(scratch, "old"))


def described(
    state: dict[str, Any],
    network: Transformer,
    head: AlignmentHead,
    *,
    precision: str,
    name: str,
    version: str,
    watts: float = CORE_WATTS,
) -> Manifest:
    """Return what a bundle says about itself; its scores and checksums come later."""
    corpora = (
        state["config"].get("data", {}).get("weights", ())
    )  # none of weights that only wait to be fine-tuned
    return Manifest(
        format_version=bundle.FORMAT_VERSION,
        name=name,
        version=version,
        pairs=trained_pairs(corpora),
        precision=precision,
        shape=network.shape.to_dict(),
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
        alignment=head,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training=training_summary(state, watts),
        scores={},
        files={},
    )


def trained_pairs(corpora: Iterable[str]) -> list[list[str]]:
    """Return the directions that a network is for: those with English, and others if corpora of these names teach them.

    >>> trained_pairs(["tatoeba.en-fr", "joined.es-fr"])[4:]
    [['es', 'fr'], ['fr', 'es']]
    """
    taught = {languages_of(name)[:2] for name in corpora if languages_of(name)[2]}
    return [list(pair) for pair in DIRECTIONS if "en" in pair or taught & {pair, pair[::-1]}]


def exchange(new: Path, target: Path, old: Path) -> None:
    """Put a directory in the place of another, which is moved aside, and back if that fails."""
    if target.exists():
        target.replace(old)
    try:
        new.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise


def add_results(
    folder: Path, *, scores: dict[str, Any] | None = None, checks: dict[str, Any] | None = None
) -> None:
    """Write into a finished bundle's manifest and card what was measured.

    Args:
        scores: By development set, beside those of other sets that are there.
        checks: Likewise, by kind.
    """
    before = bundle.load(folder).manifest
    manifest = replace(before, scores=before.scores | (scores or {}), checks=before.checks | (checks or {}))
    (folder / bundle.CARD).write_text(model_card(manifest), encoding="utf-8")
    bundle.write_manifest(folder, manifest)


def training_summary(state: dict[str, Any], watts: float) -> dict[str, Any]:
    """Say how the weights came to be; `watts` is what the processor is assumed to have taken meanwhile."""
    return {
        "target_tokens": state["tokens"],
        "updates": state["updates"],
        "hours": round(state["seconds"] / 3600, 2),
        "watts": watts,
        "config": state["config"],
    }


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Write a checkpoint as a bundle.")
    parser.add_argument("--checkpoint", type=Path, default=runs_folder() / "tiny" / "checkpoint.pt")
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles" / "default")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--name", default="tiny")
    parser.add_argument("--version", default=datetime.now(UTC).strftime("%Y%m%d"))
    parser.add_argument(
        "--watts", type=float, default=CORE_WATTS, help="of what trained, for the card (default: a core's 10)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="attention from which on words are linked (0.5: least AER)",
    )
    arguments = parser.parse_args()
    try:
        export(
            checkpoint.trained(arguments.checkpoint), tokenizer_path(), arguments.bundle, precision=arguments.precision,
            name=arguments.name, version=arguments.version, threshold=arguments.threshold, watts=arguments.watts,
        )  # fmt: skip
    except (CheckpointError, DataError, StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    size = sum(path.stat().st_size for path in arguments.bundle.iterdir())
    print(f"{arguments.bundle}: {arguments.precision}, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
