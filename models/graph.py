"""The ONNX graphs of a bundle: an encoder, and one step of the decoder.

The encoder also projects its output to the keys and values of every cross-attention, once per sentence.
The decoder step writes the new self-attention key and value into the caches it is given and returns them.
All weights lie in one external file that both graphs name, so that the embedding table, which source,
target and output projection share, exists once.

Axes: B rows, S source positions, P cache positions, D width, H heads, K = D / H, V vocabulary, N = top.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from models.builder import Builder, Dims, Input, Model, Output, WeightFile
from models.transformer import Shape, sinusoids
from service.text.tokenizer import PAD_ID

_END = 2**31 - 1  # of a slice that goes to the end
MASKED = np.float32(-1e9)
INT64, FLOAT32 = TensorProto.INT64, TensorProto.FLOAT


def position_table(shape: Shape) -> npt.NDArray[np.float32]:
    """Return the fixed positions, (max_positions, D)."""
    return sinusoids(shape.max_positions, shape.width).numpy().astype(np.float32)


def per_head(shape: Shape, axis: str) -> Dims:
    """Return the dimensions of keys or values, (B, H, axis, K)."""
    return ["B", shape.heads, axis, shape.width // shape.heads]


def mask_where(build: Builder, condition: str) -> str:
    """Return what is added to attention scores: nothing where the condition holds, else -1e9."""
    return build.op("Where", condition, build.constant(0, np.float32), build.constant(MASKED, np.float32))


def encoder(model: Model, file: WeightFile) -> bytes:
    """Build `source` (B, S) -> `cross_key_i`, `cross_value_i` (B, H, S, K) of every decoder layer i."""
    shape = model.shape
    build = Builder(model, file)
    length = build.op("Slice", build.op("Shape", "source"), build.constant([1]), build.constant([2]))
    table = build.weight("positions", position_table(shape))
    x = build.embed("source", build.op("Slice", table, build.constant([0]), length, build.constant([0])))
    is_piece = build.op("Not", build.op("Equal", "source", build.constant(PAD_ID)))
    mask = build.op("Unsqueeze", mask_where(build, is_piece), build.constant([1, 2]))  # (B, 1, 1, S)
    for index in range(shape.encoder_layers):
        x = _encoder_attention(build, x, mask, f"encoder.{index}", shape.heads, shape.width)
        x = build.feed_forward(x, f"encoder.{index}")

    memory = build.norm(x, "encoder_norm.weight")
    parts = build.split(build.linear(memory, "cross.kv"), 2 * shape.decoder_layers)
    outputs: dict[str, Output] = {}
    for index, part in enumerate(parts):
        split = build.op("Reshape", part, build.constant([0, 0, shape.heads, -1]))  # (B, S, H, K)
        result = build.op("Transpose", split, perm=[0, 2, 1, 3])
        outputs[f"cross_{'value' if index % 2 else 'key'}_{index // 2}"] = (
            result,
            FLOAT32,
            per_head(shape, "S"),
        )
    return build.finish("encoder", {"source": (INT64, ["B", "S"])}, outputs)


def _encoder_attention(build: Builder, x: str, mask: str, name: str, heads: int, width: int) -> str:
    """Return x, (B, S, D), plus its self-attention sublayer."""
    normed = build.norm(x, f"{name}.attention_norm.weight")
    split = build.constant([0, 0, heads, -1])
    q, k, v = (
        build.op("Reshape", part, split)
        for part in build.split(build.linear(normed, f"{name}.attention.qkv"), 3)
    )  # (B, S, H, K) each; the query comes scaled by 1 / sqrt(K)
    q = build.op("Transpose", q, perm=[0, 2, 1, 3])  # (B, H, S, K)
    k = build.op("Transpose", k, perm=[0, 2, 3, 1])  # (B, H, K, S)
    v = build.op("Transpose", v, perm=[0, 2, 1, 3])  # (B, H, S, K)
    scores = build.add(build.op("MatMul", q, k), mask)  # (B, H, S, S)
    mixed = build.op("MatMul", build.op("Softmax", scores, axis=-1), v)  # (B, H, S, K)
    mixed = build.op("Transpose", mixed, perm=[0, 2, 1, 3])  # (B, S, H, K)
    mixed = build.op("Reshape", mixed, build.constant([0, 0, width]))  # (B, S, D)
    return build.add(x, build.linear(mixed, f"{name}.attention.output.weight"))


def decoder(model: Model, file: WeightFile, alignment: tuple[int, int]) -> bytes:
    """Build one decoder step for B rows, each at a place of its own.

    Inputs: `token` (B,), the piece before; `position` (B,), how many pieces stand before it; `forced`
    (B,), the piece to take whatever the scores say, or -1; `num_top` (1,), N; `source_length` (B,); and
    per layer i `self_key_i`, `self_value_i` (B, H, P, K), `cross_key_i`, `cross_value_i` (B, H, S, K).

    Outputs: `chosen` (B,), the forced or the best piece, `chosen_log_probability` (B,), `top` (B, N) and
    `top_log_probability` (B, N), `attention` (B, S) of the head `alignment` = (layer, head), and
    `new_key_i`, `new_value_i` (B, H, 1, K), which belong into slot `position` + 1 of the caches.

    Slot 0 of a cache is zero and stands for the present step, so that its score joins those of the past
    without a copy of the cache and the number of positions stays a multiple of 8.
    """
    build = Builder(model, file)
    attention = _StepAttention(build, model.shape)
    table = build.weight("positions", position_table(model.shape))
    x = build.embed("token", build.op("Gather", table, "position"))  # (B, D)
    outputs: dict[str, Output] = {}
    for index in range(model.shape.decoder_layers):
        x, new = attention.to_itself(x, index)
        x, weights = attention.to_source(x, index)
        x = build.feed_forward(x, f"decoder.{index}")
        outputs |= new
        if index == alignment[0]:
            head = build.op("Gather", weights, build.constant(alignment[1]), axis=1)  # (B, 1, S)
            head = build.op("Squeeze", head, build.constant([1]))
            outputs["attention"] = (head, FLOAT32, ["B", "S"])
    outputs |= _choice(build, x)
    return build.finish("decoder_step", _step_inputs(model.shape), outputs)


class _StepAttention:
    """Both attentions of a decoder step, where every row is one query at a place of its own."""

    def __init__(self, build: Builder, shape: Shape) -> None:
        self._build, self._shape = build, shape
        self._column, self._row = (
            build.constant(dims) for dims in ([0, shape.heads, -1, 1], [0, shape.heads, 1, -1])
        )
        per_row = build.constant([-1, 1, 1, 1])
        position = build.op("Reshape", "position", per_row)
        length = build.op("Reshape", "source_length", per_row)
        cached, encoded = self._places("self_key_0"), self._places("cross_key_0")
        self._self_mask = mask_where(build, build.op("LessOrEqual", cached, position))  # (B, 1, P, 1)
        self._cross_mask = mask_where(build, build.op("Less", encoded, length))  # (B, 1, S, 1)

    def _places(self, cache: str) -> str:
        """Return 0, 1, ... up to the positions of a cache, as (1, 1, positions, 1)."""
        build = self._build
        size = build.op("Gather", build.op("Shape", cache), build.constant(2))
        counted = build.op("Range", build.constant(0), size, build.constant(1))
        return build.op("Reshape", counted, build.constant([1, 1, -1, 1]))

    def to_itself(self, x: str, index: int) -> tuple[str, dict[str, Output]]:
        """Return x, (B, D), plus its self-attention sublayer, and this step's key and value."""
        build, name = self._build, f"decoder.{index}.attention"
        normed = build.norm(x, f"decoder.{index}.attention_norm.weight")
        q, k, v = build.split(build.linear(normed, f"{name}.qkv"), 3)  # (B, D) each
        q = build.op("Reshape", q, self._column)  # (B, H, K, 1)
        k, v = (build.op("Reshape", part, self._row) for part in (k, v))  # (B, H, 1, K) each
        past = build.op("MatMul", f"self_key_{index}", q)  # (B, H, P, 1); slot 0 is about to be replaced
        past = build.op("Slice", past, *(build.constant([n]) for n in (1, _END, 2)))
        scores = build.op("Concat", build.op("MatMul", k, q), past, axis=2)  # (B, H, P, 1)
        weights = self._softmax(scores, self._self_mask)
        own = build.op("Slice", weights, *(build.constant([n]) for n in (0, 1, 3)))  # (B, H, 1, 1)
        mixed = build.add(build.op("MatMul", weights, f"self_value_{index}"), build.op("Mul", own, v))
        dims: Dims = ["B", self._shape.heads, 1, self._shape.width // self._shape.heads]
        new: dict[str, Output] = {
            f"new_key_{index}": (k, FLOAT32, dims),
            f"new_value_{index}": (v, FLOAT32, dims),
        }
        return build.add(x, build.linear(self._joined(mixed), f"{name}.output.weight")), new

    def _softmax(self, scores: str, mask: str) -> str:
        """Return weights, (B, H, 1, positions), of masked scores, (B, H, positions, 1)."""
        build = self._build
        return build.op("Softmax", build.op("Reshape", build.add(scores, mask), self._row), axis=-1)

    def _joined(self, mixed: str) -> str:
        """Put the heads, (B, H, 1, K), side by side, (B, D)."""
        return self._build.op("Reshape", mixed, self._build.constant([-1, self._shape.width]))

    def to_source(self, x: str, index: int) -> tuple[str, str]:
        """Return x plus its cross-attention sublayer, and the weights, (B, H, 1, S)."""
        build, name = self._build, f"decoder.{index}.cross"
        q = build.linear(build.norm(x, f"decoder.{index}.cross_norm.weight"), f"{name}.query.weight")
        scores = build.op(
            "MatMul", f"cross_key_{index}", build.op("Reshape", q, self._column)
        )  # (B, H, S, 1)
        weights = self._softmax(scores, self._cross_mask)
        mixed = build.op("MatMul", weights, f"cross_value_{index}")  # (B, H, 1, K)
        return build.add(x, build.linear(self._joined(mixed), f"{name}.output.weight")), weights


def _choice(build: Builder, x: str) -> dict[str, Output]:
    """Choose the next piece of every row from its last hidden state, (B, D)."""
    logits = build.linear(build.norm(x, "decoder_norm.weight"), "embedding")  # (B, V)
    log_probabilities = build.op("LogSoftmax", logits, axis=-1)
    top = build.op("TopK", log_probabilities, "num_top", outputs=2, axis=-1)
    best = build.op("Gather", f"{top}.1", build.constant(0), axis=1)  # (B,)
    is_free = build.op("Less", "forced", build.constant(0))
    chosen = build.op("Where", is_free, best, "forced")
    one = build.constant([1])
    chosen_log = build.op("GatherElements", log_probabilities, build.op("Unsqueeze", chosen, one), axis=1)
    return {
        "chosen": (chosen, INT64, ["B"]),
        "chosen_log_probability": (build.op("Squeeze", chosen_log, one), FLOAT32, ["B"]),
        "top": (f"{top}.1", INT64, ["B", "N"]),
        "top_log_probability": (top, FLOAT32, ["B", "N"]),
    }


def _step_inputs(shape: Shape) -> dict[str, Input]:
    inputs: dict[str, Input] = {
        name: (INT64, ["B"]) for name in ("token", "position", "forced", "source_length")
    }
    inputs["num_top"] = (INT64, [1])
    for index in range(shape.decoder_layers):
        for kind in ("key", "value"):
            inputs[f"self_{kind}_{index}"] = (FLOAT32, per_head(shape, "P"))
            inputs[f"cross_{kind}_{index}"] = (FLOAT32, per_head(shape, "S"))
    return inputs
