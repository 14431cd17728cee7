"""Checkpoints: written whole or not at all, and never at the cost of the one before.

`python -m models.training.checkpoint CHECKPOINT FILE` writes the averaged weights alone, in half precision, to a
`.safetensors` file: what is published, and what another training, an export or a measurement can start from.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from dragoman import bundle
from models.corpora.packing import fingerprint
from models.training import from_bundle

# What a training needs to go on exactly where it stopped.
KEYS = {"shape", "guided", "config", "weights", "average", "optimisers"}
KEYS |= {"position", "tokens", "updates", "seconds", "warmed_from"}
DESCRIPTION = ("shape", "guided")  # what published weights say of their network
FACTS = ("config", "tokens", "updates", "seconds")  # and of how they came to be


class Progress(NamedTuple):
    """How far a training has come."""

    tokens: int
    updates: int
    seconds: float


class CheckpointError(Exception):
    """A checkpoint cannot be written or read; the message names the file."""


def save(state: dict[str, Any], path: Path) -> None:
    """Write the state under its name only once every byte is on the disk.

    Raises:
        CheckpointError: The disk is full or not writable. The checkpoint before it is untouched.
    """
    with _written_whole(path) as file:
        torch.save(state, file)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours into main memory; code inside it is never run.

    Raises:
        CheckpointError: The file is missing, truncated or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # torch.load raises many kinds, with essays in them; all mean the same here
        raise CheckpointError(f"{path}: truncated, or not a checkpoint") from error
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        raise CheckpointError(f"{path}: not a checkpoint of this project")
    return state


def load_average(path: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a checkpoint, or the weights of a `.safetensors` file or a bundle.

    Raises:
        CheckpointError: As for `load`.
        BundleError: The bundle is not whole.
    """
    if path.is_dir():
        return from_bundle.weights_of(path)
    if path.suffix != ".safetensors":
        return dict(load(path)["average"])
    return _published(path)[0]


def _published(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        path.open("rb").close()  # what is missing or not ours to read, the system says in fewer words
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file, or truncated ({error})") from error


def trained(path: Path) -> dict[str, Any]:
    """Return what an export needs: of a checkpoint all, of published weights their average and how it came to be.

    Raises:
        CheckpointError: As for `load`, or a `.safetensors` file that says too little.
    """
    if path.suffix != ".safetensors":
        return load(path)
    halves, metadata = _published(path)
    weights = {name: weight.float() for name, weight in halves.items()}
    try:
        state = {name: json.loads(metadata[name]) for name in (*DESCRIPTION, *FACTS)}
        state |= {name: json.loads(metadata[name]) for name in metadata.keys() & {"tokenizer"}}
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: weights that do not say how they were trained ({error})") from error
    return state | {"weights": weights, "average": weights}


def progress(path: Path) -> Progress:
    """Return how far the training of published weights or of a bundle had come; of others, or if they do not say: nowhere.

    Raises:
        CheckpointError: It is no readable file.
        BundleError: The bundle is not whole.
    """
    if path.is_dir():
        done = bundle.load(path).manifest.training
        return Progress(done["target_tokens"], done["updates"], 3600.0 * done["hours"])
    said = _published(path)[1] if path.suffix == ".safetensors" else {}
    try:
        found = {name: json.loads(said[name]) for name in Progress._fields if name in said}
    except ValueError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    return Progress(**(Progress(0, 0, 0.0)._asdict() | found))


def described(path: Path) -> dict[str, Any]:
    """Return `shape` and `guided` of the network whose weights a file holds.

    Raises:
        CheckpointError: As for `load`, or a `.safetensors` file that says nothing of them.
        BundleError: The bundle is not whole.
    """
    if path.is_dir():
        return from_bundle.description_of(path)
    if path.suffix != ".safetensors":
        state = load(path)
        return {name: state[name] for name in DESCRIPTION}
    try:
        metadata = _published(path)[1]
        return {name: json.loads(metadata[name]) for name in DESCRIPTION}
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: no weights that say what network they belong to ({error})") from error
    except CheckpointError as error:
        if not isinstance(error.__cause__, SafetensorError):
            raise
        message = f"{path}: no weights that say what network they belong to ({error.__cause__})"
        raise CheckpointError(message) from error


def check_tokenizer(path: Path, tokenizer: Path) -> None:
    """Make sure that the weights of a checkpoint, a `.safetensors` file or a bundle know the pieces of a tokenizer.

    Old checkpoints do not say whose pieces they know, and are believed.

    Raises:
        CheckpointError: As for `load`, or they know the pieces of another one.
    """
    known: str | None
    if path.is_dir():
        known = fingerprint(path / bundle.TOKENIZER)
    elif path.suffix == ".safetensors":
        known = _published(path)[1].get("tokenizer", "").strip('"') or None
    else:
        known = load(path).get("tokenizer")
    if known not in (None, fingerprint(tokenizer)):
        raise CheckpointError(
            f"{path}: these weights know the pieces of another tokenizer than {tokenizer}, "
            "set DRAGOMAN_RUNS to another folder"
        )


def save_safetensors(
    weights: dict[str, Tensor], path: Path, half: bool = True, metadata: dict[str, str] | None = None
) -> None:
    """Write weights alone, by default in half precision.

    Raises:
        CheckpointError: The disk is full or not writable, or a weight is too large for half precision.
    """
    tensors = {
        name: (weight.half() if half else weight.float()).contiguous() for name, weight in weights.items()
    }
    if broken := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        raise CheckpointError(f"{path}: not written, {broken[0]} has values that are not finite")
    with _written_whole(path) as file:
        file.write(safetensors_bytes(tensors, metadata))


@contextmanager
def _written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when it is complete, and vanishes when it is not."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not written ({str(error).splitlines()[0]})") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def main() -> None:
    """Write the averaged weights of a checkpoint in half precision."""
    parser = argparse.ArgumentParser(description="Write the averaged weights alone, in half precision.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("file", type=Path, help="where to write them (.safetensors)")
    arguments = parser.parse_args()
    try:
        state = load(arguments.checkpoint)
        told = (*DESCRIPTION, *FACTS, *(state.keys() & {"tokenizer"}))  # old checkpoints do not name theirs
        metadata = {name: json.dumps(state[name]) for name in told}
        save_safetensors(state["average"], arguments.file, metadata=metadata)
    except CheckpointError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{arguments.file}: {arguments.file.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
