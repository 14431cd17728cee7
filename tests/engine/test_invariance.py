"""Promise 1: every sentence gets bit for bit the answer it would get alone."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from dragoman import bundle
from dragoman.bundle import Bundle
from dragoman.text.tokenizer import Tokenizer
from tests.conftest import Scale
from tests.engine.crowds import ask_alone, count_differences, requests
from tests.servers import running

pytestmark = pytest.mark.timeout(900)
CROWDS, LARGEST = 10_000, 12
MASKED = np.float32(-1e9)  # what the encoder's graph adds to the scores of padding


async def differences(tokenizer: Tokenizer, folder: Path, *, cases: int, crowds: int) -> tuple[int, float]:
    """Return how many replies a crowd changed, and how many rows a decoder step had on average."""
    async with running(
        bundle=str(folder), decode_loops="1"
    ) as server:  # or each of many might have one sentence
        alone = await ask_alone(server.stub, requests(tokenizer, cases, seed=1))
        steps, rows = (server.value(f"dragoman_batch_rows_{part}") for part in ("count", "sum"))
        found = await count_differences(server.stub, alone, crowds=crowds, largest=LARGEST, seed=2)
        steps = server.value("dragoman_batch_rows_count") - steps
        rows = server.value("dragoman_batch_rows_sum") - rows
    return found, rows / steps


@pytest.mark.drill
async def test_alone_or_in_a_crowd(default_bundle: Bundle, tokenizer: Tokenizer, scale: Scale) -> None:
    """
    Not one bit of a text, a score, a link or an attention weight depends on the neighbours.
    """
    found, rows = await differences(
        tokenizer, default_bundle.folder, cases=scale(2000, least=180), crowds=scale(CROWDS)
    )

    assert 0 == found
    assert rows > 2  # there were neighbours


async def test_a_dynamic_range_is_noticed(
    default_bundle: Bundle, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """
    With ranges taken from the batch, as `quantize_dynamic` does, the drill finds differences.
    """
    folder = tmp_path / "dynamic"
    shutil.copytree(default_bundle.folder, folder)
    for name in (bundle.ENCODER, bundle.DECODER):
        make_dynamic(folder / name)
    bundle.write_manifest(folder, default_bundle.manifest)

    found, _ = await differences(tokenizer, folder, cases=40, crowds=20)

    assert found > 0


async def test_a_broken_padding_rule_is_noticed(
    default_bundle: Bundle, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """
    With padding that is attended to, a little, the drill finds differences.
    """
    folder = tmp_path / "unmasked"
    shutil.copytree(default_bundle.folder, folder)
    make_unmasked(folder / bundle.ENCODER)
    bundle.write_manifest(folder, default_bundle.manifest)

    found, _ = await differences(tokenizer, folder, cases=40, crowds=20)

    assert found > 0


def make_unmasked(path: Path) -> None:
    """Let padding through the mask of a graph, where a score is lowered by 4 instead of by a billion."""
    model = onnx.load(path, load_external_data=False)
    [mask] = [item for item in model.graph.initializer if item.raw_data == MASKED.tobytes()]
    mask.raw_data = np.float32(-4).tobytes()
    onnx.save(model, path)


def make_dynamic(path: Path) -> None:
    """Replace the fixed ranges of a graph's products by those of their input."""
    model = onnx.load(path, load_external_data=False)
    factors = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    ranges = {}  # quantised result -> the outputs that replace its scale and zero
    for index, node in enumerate(model.graph.node):
        [result, *_] = node.output
        if node.op_type == "QuantizeLinear" and result in factors:
            ranges[result] = (f"{result}.scale", f"{result}.zero")
            dynamic = helper.make_node("DynamicQuantizeLinear", [node.input[0]], [result, *ranges[result]])
            model.graph.node[index].CopyFrom(dynamic)
        elif node.op_type == "DequantizeLinear" and node.input[0] in ranges:
            node.input[1:] = ranges[node.input[0]]
    assert ranges, "the graph has no fixed ranges: the test would test nothing"
    path.write_bytes(model.SerializeToString())
