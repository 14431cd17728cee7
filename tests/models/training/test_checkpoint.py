"""Checkpoints: whole or not at all, never at the cost of the one before, and never running code."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors import safe_open
from torch import Tensor

from models.network.transformer import Transformer
from models.training import checkpoint
from models.training.checkpoint import CheckpointError
from tests.models.toy import GUIDED, ROOT, SHAPE, run_module


def state(**changes: Any) -> dict[str, Any]:
    """Return a checkpoint's content."""
    torch.manual_seed(1)
    weights = Transformer(SHAPE, GUIDED).state_dict()
    numbers = dict.fromkeys(("position", "tokens", "updates", "seconds", "warmed_from"), 0)
    content = {
        "shape": SHAPE.to_dict(), "guided": [], "config": {}, "weights": weights,
        "average": {name: value + 1 for name, value in weights.items()}, "optimisers": [],
    }  # fmt: skip
    return content | numbers | changes


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Tell whether two sets of weights are the same, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    """
    What is saved is loaded, in a folder that did not exist, and nothing else is left there.
    """
    path = tmp_path / "new" / "checkpoint.pt"
    saved = state(updates=7)

    checkpoint.save(saved, path)

    loaded = checkpoint.load(path)
    assert 7 == loaded["updates"]
    assert equal(saved["weights"], loaded["weights"])
    assert [path] == list(path.parent.iterdir())


def test_a_full_disk_costs_nothing(tmp_path: Path) -> None:
    """
    When the disk is full in the middle of writing, the error names the file and the old one is intact.
    """
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(state(updates=1), path)
    program = """
import resource, sys, torch
from pathlib import Path
from models.training import checkpoint
path = Path(sys.argv[1])
state = checkpoint.load(path) | {"updates": 2}
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoint.save(state, path)
except checkpoint.CheckpointError as error:
    print(error)
try:
    checkpoint.save_safetensors(state["average"], path.with_name("w.safetensors"))
except checkpoint.CheckpointError as error:
    print(error)
"""

    result = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert [str(path), str(tmp_path / "w.safetensors")] == [
        line.split(": not written")[0] for line in result.stdout.splitlines()
    ]
    assert 1 == checkpoint.load(path)["updates"]
    assert [path] == list(tmp_path.iterdir())


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    """
    Where no folder can be made, the error is ours and names the checkpoint.
    """
    (tmp_path / "file").write_text("")

    with pytest.raises(CheckpointError, match=r"file.checkpoint\.pt: not written"):
        checkpoint.save(state(), tmp_path / "file" / "checkpoint.pt")


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_refuses_a_truncated_file(tmp_path: Path, kept: int) -> None:
    """
    A checkpoint cut short anywhere is refused in one line with its name.
    """
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(state(), path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(CheckpointError, match=r"checkpoint\.pt") as caught:
        checkpoint.load(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, torch.zeros(2)], ids=["list", "part", "tensor"])
def test_refuses_what_is_not_ours(tmp_path: Path, content: object) -> None:
    """
    A file of torch that is no checkpoint of this project is refused.
    """
    path = tmp_path / "other.pt"
    torch.save(content, path)

    with pytest.raises(CheckpointError, match="not a checkpoint of this project"):
        checkpoint.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """
    No file is an error that says so.
    """
    for name in ("no.pt", "no.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name}: No such file"):
            checkpoint.load_average(tmp_path / name)


class Trap:
    """Leaves a trace if unpickling runs it."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("as_torch", [True, False], ids=["torch file", "bare pickle"])
def test_code_inside_is_never_run(tmp_path: Path, as_torch: bool) -> None:
    """
    A file that carries code is refused, and the code has not run.
    """
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    if as_torch:
        torch.save(state(weights=Trap(trace)), path)
    else:
        path.write_bytes(pickle.dumps(Trap(trace)))

    with pytest.raises(CheckpointError):
        checkpoint.load(path)

    assert not trace.exists()


def test_the_average_is_what_is_published(tmp_path: Path) -> None:
    """
    `load_average` returns the averaged weights, not the last ones.
    """
    saved = state()
    checkpoint.save(saved, tmp_path / "checkpoint.pt")

    assert equal(saved["average"], checkpoint.load_average(tmp_path / "checkpoint.pt"))


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read tensors and strings as any user of the format does."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("half", [True, False])
def test_safetensors_come_back(tmp_path: Path, half: bool) -> None:
    """
    Weights written alone come back in their precision, with the strings beside them.
    """
    weights = {
        "b": torch.randn(3, 5),
        "a": torch.randn(7),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(2.0),
    }
    path = tmp_path / "w.safetensors"

    checkpoint.save_safetensors(weights, path, half, {"shape": "{}"})

    expected = {name: w.half() if half else w for name, w in weights.items()}
    assert equal(expected, checkpoint.load_average(path))
    assert {"shape": "{}"} == read(path)[1]


def test_safetensors_layout_is_the_standards(tmp_path: Path) -> None:
    """
    The bytes are what any reader of the format expects: length, JSON padded to 8 bytes, numbers.
    """
    path = tmp_path / "w.safetensors"
    checkpoint.save_safetensors({"w": torch.tensor([[1.0, 2.0]])}, path, half=False)
    content = path.read_bytes()

    (length,) = struct.unpack("<Q", content[:8])

    assert 0 == length % 8
    entry = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
    assert {"w": entry} == json.loads(content[8 : 8 + length])
    assert struct.pack("<2f", 1, 2) == content[8 + length :]


def test_reads_brain_floats(tmp_path: Path) -> None:
    """
    BF16 is read as such: half of a float32, the high one.
    """
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    numbers = struct.pack("<f", 1.5)[2:] + struct.pack("<f", -2.0)[2:]

    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    tensors = checkpoint.load_average(path)

    assert torch.bfloat16 == tensors["w"].dtype
    assert [1.5, -2.0] == tensors["w"].tolist()


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        b"[1]",
        b"{",
        b"[" * 100_000,
        b"\xff\xff",
        b'{"w": 1}',
        b'{"w": {"dtype": "F32"}}',
        b'{"__metadata__": {"a": 1}}',
        json.dumps({"w": ENTRY | {"dtype": "F99"}}).encode(),
        json.dumps({"w": ENTRY | {"dtype": ["F32"]}}).encode(),
        json.dumps({"w": ENTRY | {"shape": [3]}}).encode(),
        json.dumps({"w": ENTRY | {"shape": [-2]}}).encode(),
        json.dumps({"w": ENTRY | {"shape": [True, 2]}}).encode(),
        json.dumps({"w": ENTRY | {"data_offsets": [8, 0]}}).encode(),
        json.dumps({"w": ENTRY | {"data_offsets": [4, 12]}}).encode(),
        json.dumps({"w": ENTRY, "v": ENTRY}).encode(),
        b"{}",
    ],
)
def test_refuses_a_header_that_lies(tmp_path: Path, header: bytes) -> None:
    """
    A header that is malformed, or does not describe exactly the bytes behind it, is refused by name.
    """
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))

    with pytest.raises(CheckpointError, match=r"w\.safetensors: not a readable safetensors file"):
        checkpoint.load_average(path)


@pytest.mark.parametrize("content", [b"", b"\x01" * 7, struct.pack("<Q", 2**60) + b"{}"])
def test_refuses_truncated_safetensors(tmp_path: Path, content: bytes) -> None:
    """
    A file that ends before its header does is refused, whatever length it claims.
    """
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match="truncated"):
        checkpoint.load_average(path)


def test_weights_too_large_for_half_precision_are_not_written(tmp_path: Path) -> None:
    """
    A weight that half precision cannot hold is an error, not infinity.
    """
    with pytest.raises(CheckpointError, match="w has values that are not finite"):
        checkpoint.save_safetensors({"w": torch.tensor([1e6])}, tmp_path / "w.safetensors")

    assert [] == list(tmp_path.iterdir())


def test_published_weights_name_their_tokenizer(tmp_path: Path) -> None:
    """
    If the checkpoint does; weights that say nothing of their training cannot be exported.
    """
    checkpoint.save(state(tokenizer="abc"), tmp_path / "checkpoint.pt")
    run_module(
        "models.training.checkpoint", tmp_path / "checkpoint.pt", tmp_path / "w.safetensors", environ={}
    )
    checkpoint.save_safetensors(
        {"a": torch.zeros(1)}, tmp_path / "bare.safetensors", metadata={"shape": "{}"}
    )

    assert "abc" == checkpoint.trained(tmp_path / "w.safetensors")["tokenizer"]
    with pytest.raises(CheckpointError, match="do not say how they were trained"):
        checkpoint.trained(tmp_path / "bare.safetensors")


def test_publishing_from_the_command_line(tmp_path: Path) -> None:
    """
    `python -m models.training.checkpoint` writes the averaged weights in half precision with shape and guided heads.
    """
    saved = state()
    checkpoint.save(saved, tmp_path / "checkpoint.pt")

    result = run_module(
        "models.training.checkpoint", tmp_path / "checkpoint.pt", tmp_path / "w.safetensors", environ={}
    )

    assert 0 == result.returncode, result.stderr
    tensors, metadata = read(tmp_path / "w.safetensors")
    assert equal({name: value.half() for name, value in saved["average"].items()}, tensors)
    assert SHAPE.to_dict() == json.loads(metadata["shape"])
    assert [] == json.loads(metadata["guided"])
    published = checkpoint.trained(tmp_path / "w.safetensors")
    for name in ("shape", "guided", "config", "tokens", "updates", "seconds"):
        assert saved[name] == published[name]
    assert "tokenizer" not in published  # a checkpoint from before they named it
    assert equal(
        {name: value.half().float() for name, value in saved["average"].items()}, published["average"]
    )
    for name in ("checkpoint.pt", "w.safetensors"):
        assert {"shape": SHAPE.to_dict(), "guided": []} == checkpoint.described(tmp_path / name)
