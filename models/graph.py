"""The ONNX graphs of a bundle: an encoder, and one step of the decoder.

The encoder also projects its output to the keys and values of every cross-attention, once per sentence.
The decoder step writes its self-attention keys and values into the caches, in place where input and output
are bound to the same memory. All weights lie in one external file that both graphs name, so that the
embedding table, which source, target and output projection share, exists once.

Axes: B rows, T pieces of all rows together, S source positions, P cache positions, D width, H heads,
K = D / H, V vocabulary, N = top.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from models.builder import CONTRIBUTED, Builder, Dims, Input, Model, Output, WeightFile
from models.transformer import Shape, sinusoids

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
    """Build the encoder of B sentences that lie end to end, so that no product is spent on padding.

    Inputs: `source` (T,), the pieces; `row` and `place` (T,), whose they are and where they stand in it;
    `slots` (B, S), which of the T pieces is at each place, any where there is none; `source_length` (B,).

    Outputs: `cross_key_i`, `cross_value_i` (B, H, S, K) of every decoder layer i.
    """
    shape = model.shape
    build = Builder(model, file)
    attention = _PackedAttention(build, shape)
    table = build.weight("positions", position_table(shape))
    x = build.embed("source", build.op("Gather", table, "place"))  # (T, D)
    normed = build.norm(x, "encoder.0.attention_norm.weight")
    for index in range(shape.encoder_layers):
        name, last = f"encoder.{index}", index + 1 == shape.encoder_layers
        normed, x = build.add_norm(x, attention(normed, name), f"{name}.feed_forward_norm.weight")
        after = "encoder_norm.weight" if last else f"encoder.{index + 1}.attention_norm.weight"
        normed, x = build.add_norm(x, build.feed_forward(normed, name), after)
    memory = build.linear(normed, "cross.kv")  # (T, 2 * layers * D)
    outputs: dict[str, Output] = {}
    for index, part in enumerate(attention.unpack(memory, 2 * shape.decoder_layers)):
        name = f"cross_{'value' if index % 2 else 'key'}_{index // 2}"
        outputs[name] = (part, FLOAT32, per_head(shape, "S"))
    inputs: dict[str, Input] = {name: (INT64, ["T"]) for name in ("source", "row", "place")}
    inputs |= {"slots": (INT64, ["B", "S"]), "source_length": (INT64, ["B"])}
    return build.finish("encoder", inputs, outputs)


class _PackedAttention:
    """The encoder's self-attention: pieces are dealt to padded rows, attend, and are packed again.

    Splitting, transposing and padding are one copy, by an index made once for all layers.
    """

    def __init__(self, build: Builder, shape: Shape) -> None:
        self._build, self._shape = build, shape
        self._heads = build.constant(np.arange(shape.heads)[:, None])  # (H, 1)
        width = build.op("Gather", build.op("Shape", "slots"), build.constant(1))  # S
        self._mask = mask_where(  # (B, 1, 1, S)
            build,
            build.op(
                "Less",
                build.op("Range", build.constant(0), width, build.constant(1)),
                build.op("Reshape", "source_length", build.constant([-1, 1, 1, 1])),
            ),
        )
        self._slots = build.op("Unsqueeze", "slots", build.constant([1]))  # (B, 1, S)
        row = build.op("Unsqueeze", build.op("Mul", "row", build.constant(shape.heads)), build.constant([1]))
        of_head = build.add(row, build.constant(np.arange(shape.heads)[None]))  # (T, H)
        place = build.op("Unsqueeze", "place", build.constant([1]))
        self._packed = build.add(build.op("Mul", of_head, width), place)  # (T, H), into (B * H * S)

    def __call__(self, normed: str, name: str) -> str:
        """Return what a self-attention sublayer adds, (T, D)."""
        build = self._build
        q, k, v = self.unpack(build.linear(normed, f"{name}.attention.qkv"), 3)  # (B, H, S, K) each
        scores = build.op("FusedMatMul", q, k, domain=CONTRIBUTED, transB=1)  # (B, H, S, S)
        mixed = build.op("MatMul", build.op("Softmax", build.add(scores, self._mask), axis=-1), v)
        mixed = build.op("Gather", self._rows_of_heads(mixed), self._packed)  # (T, H, K)
        mixed = build.op("Reshape", mixed, build.constant([-1, self._shape.width]))
        return build.linear(mixed, f"{name}.attention.output.weight")

    def unpack(self, x: str, parts: int) -> list[str]:
        """Return each part of the last axis, (T, parts * D), as (B, H, S, K)."""
        build = self._build
        first = build.add(
            build.op("Mul", self._slots, build.constant(parts * self._shape.heads)), self._heads
        )  # (B, H, S), into (T * parts * H)
        rows = self._rows_of_heads(x)
        of_part = [build.add(first, build.constant(part * self._shape.heads)) for part in range(parts)]
        return [build.op("Gather", rows, index) for index in of_part]

    def _rows_of_heads(self, x: str) -> str:
        head_width = self._shape.width // self._shape.heads
        return self._build.op("Reshape", x, self._build.constant([-1, head_width]))


def decoder(model: Model, file: WeightFile, alignment: tuple[int, int]) -> bytes:
    """Build one decoder step for B rows, each at a place of its own.

    Inputs: `token` (B,), the piece before; `position` (B,), how many pieces stand before it; `num_top`
    (1,), N, which may be 0; `source_length` (B,); and per layer i `self_key_i`, `self_value_i`
    (B, H, P, K), `cross_key_i`, `cross_value_i` (B, H, S, K).

    Outputs: `log_probabilities` (B, V), `top` and `top_log_probability` (B, N), best first, `attention`
    (B, S) of the head `alignment` = (layer, head), and the caches with this step at `position`:
    `new_key_i`, `new_value_i` (B, H, P, K), to be bound to the memory of the old.
    """
    shape = model.shape
    build = Builder(model, file)
    attention = _StepAttention(build, shape)
    table = build.weight("positions", position_table(shape))
    x = build.embed("token", build.op("Gather", table, "position"))  # (B, D)
    normed = build.norm(x, "decoder.0.attention_norm.weight")
    outputs: dict[str, Output] = {}
    for index in range(shape.decoder_layers):
        name, last = f"decoder.{index}", index + 1 == shape.decoder_layers
        mixed, new = attention.to_itself(normed, index)
        normed, x = build.add_norm(x, mixed, f"{name}.cross_norm.weight")
        mixed, weights = attention.to_source(normed, index)
        normed, x = build.add_norm(x, mixed, f"{name}.feed_forward_norm.weight")
        after = "decoder_norm.weight" if last else f"decoder.{index + 1}.attention_norm.weight"
        normed, x = build.add_norm(x, build.feed_forward(normed, name), after)
        outputs |= new
        if index == alignment[0]:
            head = build.op("Gather", weights, build.constant(alignment[1]), axis=1)  # (B, 1, S)
            outputs["attention"] = (build.op("Squeeze", head, build.constant([1])), FLOAT32, ["B", "S"])
    logits = build.linear(normed, "embedding")  # (B, V)
    log_probabilities = build.op("LogSoftmax", logits, axis=-1)
    top = build.op("TopK", log_probabilities, "num_top", outputs=2, axis=-1)
    outputs |= {
        "log_probabilities": (log_probabilities, FLOAT32, ["B", shape.vocabulary]),
        "top": (f"{top}.1", INT64, ["B", "N"]),
        "top_log_probability": (top, FLOAT32, ["B", "N"]),
    }
    return build.finish("decoder_step", _step_inputs(shape), outputs)


class _StepAttention:
    """Both attentions of a decoder step, where every row is one query at a place of its own."""

    def __init__(self, build: Builder, shape: Shape) -> None:
        self._build, self._shape = build, shape
        self._one_query = build.constant([0, -1, 1, shape.width // shape.heads])  # (B, H, 1, K)
        per_row = build.constant([-1, 1, 1, 1])
        position = build.op("Reshape", "position", per_row)
        length = build.op("Reshape", "source_length", per_row)
        self._self_mask = mask_where(build, build.op("LessOrEqual", self._places("self_key_0"), position))
        self._cross_mask = mask_where(build, build.op("Less", self._places("cross_key_0"), length))

    def _places(self, cache: str) -> str:
        """Return 0, 1, ... up to the positions of a cache."""
        build = self._build
        size = build.op("Gather", build.op("Shape", cache), build.constant(2))
        return build.op("Range", build.constant(0), size, build.constant(1))

    def to_itself(self, normed: str, index: int) -> tuple[str, dict[str, Output]]:
        """Return what a self-attention sublayer adds, (B, D), and the caches with this step in them."""
        build, name = self._build, f"decoder.{index}.attention"
        qkv = build.op("Reshape", build.linear(normed, f"{name}.qkv"), self._one_query)  # (B, 3H, 1, K)
        q, k, v = build.split(qkv, 3, axis=1)  # (B, H, 1, K) each
        keys, values = (
            build.op("TensorScatter", f"self_{kind}_{index}", new, "position", axis=2)
            for kind, new in (("key", k), ("value", v))
        )
        mixed, _ = self._attend(q, keys, values, self._self_mask)
        dims = per_head(self._shape, "P")
        new: dict[str, Output] = {
            f"new_key_{index}": (keys, FLOAT32, dims),
            f"new_value_{index}": (values, FLOAT32, dims),
        }
        return build.linear(mixed, f"{name}.output.weight"), new

    def to_source(self, normed: str, index: int) -> tuple[str, str]:
        """Return what a cross-attention sublayer adds, (B, D), and its weights, (B, H, 1, S)."""
        build, name = self._build, f"decoder.{index}.cross"
        q = build.op("Reshape", build.linear(normed, f"{name}.query.weight"), self._one_query)
        mixed, weights = self._attend(q, f"cross_key_{index}", f"cross_value_{index}", self._cross_mask)
        return build.linear(mixed, f"{name}.output.weight"), weights

    def _attend(self, q: str, keys: str, values: str, mask: str) -> tuple[str, str]:
        """Return the mixed values of all heads side by side, (B, D), and the weights, (B, H, 1, positions)."""
        build = self._build
        scores = build.op("FusedMatMul", q, keys, domain=CONTRIBUTED, transB=1)
        weights = build.op("Softmax", build.add(scores, mask), axis=-1)
        mixed = build.op("MatMul", weights, values)  # (B, H, 1, K)
        return build.op("Reshape", mixed, build.constant([-1, self._shape.width])), weights


def _step_inputs(shape: Shape) -> dict[str, Input]:
    inputs: dict[str, Input] = {name: (INT64, ["B"]) for name in ("token", "position", "source_length")}
    inputs["num_top"] = (INT64, [1])
    for index in range(shape.decoder_layers):
        for kind in ("key", "value"):
            inputs[f"self_{kind}_{index}"] = (FLOAT32, per_head(shape, "P"))
            inputs[f"cross_{kind}_{index}"] = (FLOAT32, per_head(shape, "S"))
    return inputs
