"""The ONNX graphs of a bundle: an encoder, and one step of the decoder.

The encoder also projects its output to the keys and values of every cross-attention, once per sentence.
The decoder step writes its self-attention keys and values into the caches, in place where input and output
are bound to the same memory. All weights lie in one external file that both graphs name, so that the
embedding table, which source, target and output projection share, exists once.

Axes: B rows, T pieces of all rows together, S source positions, P cache positions, D width, H heads,
K = D / H, V vocabulary, N = top.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from dragoman.convert.architecture import Shape, sinusoids
from dragoman.convert.onnx_builder import CONTRIBUTED, Builder, Dims, Input, Model, Output, WeightFile

MASKED = np.float32(-1e9)
INT8, INT32, INT64 = TensorProto.INT8, TensorProto.INT32, TensorProto.INT64
FLOAT32 = TensorProto.FLOAT
AFTER_SOFTMAX = 2  # which attention weights are an output


def per_head(shape: Shape, axis: str) -> Dims:
    """Return the dimensions of keys or values, (B, H, axis, K)."""
    return ["B", shape.heads, axis, shape.width // shape.heads]


def cache_type(model: Model, name: str) -> int:
    """Return the type of what a cache holds."""
    return INT8 if name in model.cache_scales else FLOAT32


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
    table = build.weight("positions", sinusoids(shape.max_positions, shape.width))
    x = build.embed("source", build.op("Gather", table, "place"))  # (T, D)
    normed = build.norm(x, "encoder.0.attention_norm.weight")
    for index in range(shape.encoder_layers):
        name, last = f"encoder.{index}", index + 1 == shape.encoder_layers
        normed, x = build.add_norm(x, attention(normed, name), f"{name}.feed_forward_norm.weight")
        after = "encoder_norm.weight" if last else f"encoder.{index + 1}.attention_norm.weight"
        normed, x = build.add_norm(x, build.feed_forward(normed, name), after)
    memory = build.linear(normed, "cross.kv")  # (T, 2 * layers * D)
    outputs: dict[str, Output] = {}
    names = [f"cross_{kind}_{i}" for i in range(shape.decoder_layers) for kind in ("key", "value")]
    for name, part in zip(names, attention.unpack(memory, len(names)), strict=True):
        outputs[name] = (build.rounded(part, name), cache_type(model, name), per_head(shape, "S"))
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
    (B, S) of the head `alignment` = (layer, head), and the caches, now with this step at `position`, each as
    `new_` and its name, to be bound to the memory of the old.
    """
    shape = model.shape
    build = Builder(model, file)
    attention = _StepAttention(build, model)
    table = build.weight("positions", sinusoids(shape.max_positions, shape.width))
    x = build.embed("token", build.op("Gather", table, "position"))  # (B, D)
    x = build.op("Unsqueeze", x, build.constant([1]))  # (B, 1, D): one query a row
    normed = build.norm(x, "decoder.0.attention_norm.weight")
    outputs: dict[str, Output] = {}
    for index in range(shape.decoder_layers):
        name, last = f"decoder.{index}", index + 1 == shape.decoder_layers
        mixed, new = attention.to_itself(normed, index)
        normed, x = build.add_norm(x, mixed, f"{name}.cross_norm.weight")
        mixed, weights, same = attention.to_source(normed, index, weights=index == alignment[0])
        normed, x = build.add_norm(x, mixed, f"{name}.feed_forward_norm.weight")
        after = "decoder_norm.weight" if last else f"decoder.{index + 1}.attention_norm.weight"
        normed, x = build.add_norm(x, build.feed_forward(normed, name), after)
        outputs |= new | same
        if index == alignment[0]:
            head = build.op("Gather", weights, build.constant(alignment[1]), axis=1)  # (B, 1, S)
            outputs["attention"] = (build.op("Squeeze", head, build.constant([1])), FLOAT32, ["B", "S"])
    logits = build.linear(build.op("Squeeze", normed, build.constant([1])), "embedding")  # (B, V)
    log_probabilities = build.op("LogSoftmax", logits, axis=-1)
    top = build.op("TopK", log_probabilities, "num_top", outputs=2, axis=-1)
    outputs |= {
        "log_probabilities": (log_probabilities, FLOAT32, ["B", shape.vocabulary]),
        "top": (f"{top}.1", INT64, ["B", "N"]),
        "top_log_probability": (top, FLOAT32, ["B", "N"]),
    }
    return build.finish("decoder_step", _step_inputs(model), outputs)


class _StepAttention:
    """Both attentions of a decoder step, where every row is one query at a place of its own.

    `GroupQueryAttention`, here with as many heads of keys as of queries, reads of each row's cache what
    stands in it and no more: a long neighbour costs a row no time, and cannot change a bit of it. It writes
    the new keys and values itself, in place where past and present are the same memory.
    """

    def __init__(self, build: Builder, model: Model) -> None:
        self._build, self._model, self._shape = build, model, model.shape
        self._last_source = build.op("Sub", "source_length", build.constant(1, np.int32))  # (B,)
        self._self_room, self._cross_room = self._room("self_key_0"), self._room("cross_key_0")

    def _room(self, cache: str) -> str:
        """Return how many positions a cache has, (1,)."""
        build = self._build
        return build.op("Cast", build.op("Shape", cache, start=2, end=3), to=INT32)

    def to_itself(self, normed: str, index: int) -> tuple[str, dict[str, Output]]:
        """Return what a self-attention sublayer adds, (B, 1, D), and the caches with this step in them."""
        name = f"decoder.{index}.attention"
        qkv = self._build.linear(normed, f"{name}.qkv")  # (B, 1, 3D)
        mixed = self._attend([qkv, "", ""], f"self_{{}}_{index}", "position", self._self_room)
        new = self._new(mixed, f"self_{{}}_{index}", "P")
        return self._build.linear(mixed, f"{name}.output.weight"), new

    def to_source(self, normed: str, index: int, *, weights: bool) -> tuple[str, str, dict[str, Output]]:
        """Return what a cross-attention sublayer adds, (B, 1, D), its weights, (B, H, 1, S), and its caches."""
        build, name = self._build, f"decoder.{index}.cross"
        q = build.linear(normed, f"{name}.query.weight")
        # No new keys or values: the caches are read as they are.
        none = build.op(
            "Slice", q, build.constant([0]), build.constant([0]), build.constant([1])
        )  # (B, 0, D)
        mixed = self._attend(
            [q, none, none], f"cross_{{}}_{index}", self._last_source, self._cross_room, weights=weights
        )
        new = self._new(mixed, f"cross_{{}}_{index}", "S")
        return build.linear(mixed, f"{name}.output.weight"), f"{mixed}.3", new

    def _attend(self, given: list[str], cache: str, last: str, room: str, *, weights: bool = False) -> str:
        """Return the mixed values of all heads side by side, (B, 1, D); `last` is each row's last position."""
        heads, names = self._shape.heads, [cache.format(kind) for kind in ("key", "value")]
        wanted: dict[str, Any] = {"outputs": 4, "qk_output": AFTER_SOFTMAX} if weights else {"outputs": 3}
        given = [*given, *names, last, room]
        if scales := [self._model.cache_scales[name] for name in names if name in self._model.cache_scales]:
            given += [""] * 5  # no rotation, places, bias or sinks
            given += [self._build.constant([scale], np.float32) for scale in scales]
            wanted |= {"kv_cache_bit_width": 8, "k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR"}
        return self._build.op(
            "GroupQueryAttention", *given,
            domain=CONTRIBUTED, num_heads=heads, kv_num_heads=heads, scale=1.0, **wanted,
        )  # fmt: skip

    def _new(self, mixed: str, cache: str, axis: str) -> dict[str, Output]:
        """Name the caches that an attention leaves behind."""
        names = [cache.format(kind) for kind in ("key", "value")]
        dims = per_head(self._shape, axis)
        return {
            f"new_{name}": (f"{mixed}.{i}", cache_type(self._model, name), dims)
            for i, name in enumerate(names, 1)
        }


def _step_inputs(model: Model) -> dict[str, Input]:
    inputs: dict[str, Input] = {name: (INT32, ["B"]) for name in ("position", "source_length")}
    inputs |= {"token": (INT64, ["B"]), "num_top": (INT64, [1])}
    for index in range(model.shape.decoder_layers):
        for kind in ("key", "value"):
            for cache, axis in ((f"self_{kind}_{index}", "P"), (f"cross_{kind}_{index}", "S")):
                inputs[cache] = (cache_type(model, cache), per_head(model.shape, axis))
    return inputs
