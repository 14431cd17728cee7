"""Conversion without torch: the same bytes each time, and graphs that compute what the weights say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from dragoman import bundle
from dragoman.bundle import AlignmentHead
from dragoman.convert import bundle_files, calibration
from dragoman.convert.activations import LAST_STATES, show
from dragoman.convert.architecture import Float, sinusoids
from dragoman.text.tokenizer import PAD_ID
from tests.convert.network import SHAPE, batches, random_weights

ROOT = Path(__file__).parents[2]
HEAD = AlignmentHead(layer=1, head=1, shift=1, threshold=0.5, is_guided=True)
FILES = (bundle.ENCODER, bundle.DECODER, bundle.WEIGHTS)


def test_two_conversions_are_the_same(tmp_path: Path) -> None:
    """
    The same weights and pairs give the same graphs and the same 8-bit weights, byte for byte.
    """
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        model = calibration.int8_model(random_weights(), SHAPE, batches())
        bundle_files.write(model, HEAD, tmp_path / name)

    for file in FILES:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_reads_as_the_graphs_do(tmp_path: Path) -> None:
    """
    What calibration sees of keys is what the encoder's graph computes, padding or not.
    """
    weights = random_weights()
    bundle_files.write(calibration.float_model(weights, SHAPE), HEAD, tmp_path)
    (source, target), lengths = batches(1)[0], np.arange(4, 10)
    source[np.arange(9)[None] >= lengths[:, None]] = PAD_ID
    shown: dict[str, Float] = {}

    show(weights, SHAPE, [(source, target)], lambda name, _, out: shown.__setitem__(name, out))

    place = np.concatenate([np.arange(length) for length in lengths])
    starts = np.cumsum(lengths) - lengths
    slots = np.minimum(starts[:, None] + np.arange(9), lengths.sum() - 1)
    session = onnxruntime.InferenceSession(tmp_path / bundle.ENCODER, providers=["CPUExecutionProvider"])
    given = {
        "source": source[source != PAD_ID], "row": np.repeat(np.arange(6), lengths), "place": place,
        "slots": slots, "source_length": lengths,
    }  # fmt: skip
    [keys] = session.run(["cross_key_1"], given)  # (B, H, S, K)
    expected = shown["decoder.1.cross.key"].reshape(6, 9, SHAPE.heads, -1).swapaxes(1, 2)
    for row, length in enumerate(lengths):
        assert np.allclose(expected[row, :, :length], keys[row, :, :length], atol=1e-5)
    assert (6, 7, SHAPE.width) == shown[LAST_STATES].shape


def test_positions() -> None:
    """
    The position table is exact: sines and cosines of the nearest 32-bit angles, rounded once.
    """
    table = sinusoids(512, 256)

    assert np.float32 == table.dtype
    assert (512, 256) == table.shape
    assert np.array_equal(np.concatenate([np.zeros(128), np.ones(128)]), table[0])
    assert np.float32(np.sin(511.0)) == table[511, 0]


def test_needs_no_torch() -> None:
    """
    The whole room is imported without torch.
    """
    program = "import sys; sys.modules['torch'] = None; import dragoman.convert.calibration, dragoman.convert.bundle_files"

    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT / "service")
