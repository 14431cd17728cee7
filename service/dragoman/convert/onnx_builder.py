"""Builds an ONNX graph node by node; the weights go to one file that several graphs share.

Below *graph*, which says what the nodes compute. Every method of `Builder` adds some nodes and returns the
name of their result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from dragoman.bundle import WEIGHTS as WEIGHTS_FILE
from dragoman.convert.architecture import EPSILON, Shape
from dragoman.convert.quantization import Quantized

Array = npt.NDArray[np.generic]
Dims = list[str | int | None]  # a letter is an axis of any length
Input = tuple[int, Dims]  # type and dimensions
Output = tuple[str, int, Dims]  # the result it is, type and dimensions
EMBEDDING = "embedding"  # both a table to look pieces up and the output projection
OPSET = 24
CONTRIBUTED = "com.microsoft"  # onnxruntime's own operators
_ALIGNMENT = 64  # bytes; what the runtime may map directly


class WeightFile:
    """The one file of tensors that all graphs of a bundle share."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._placed: dict[str, tuple[int, Array]] = {}

    def place(self, name: str, array: Array) -> onnx.TensorProto:
        """Store the array once under its name and return an initializer that points to it."""
        if name not in self._placed:
            padding = -self._size % _ALIGNMENT
            self._parts += [bytes(padding), np.ascontiguousarray(array).tobytes()]
            self._placed[name] = (self._size + padding, array)
            self._size += padding + array.nbytes
        offset, stored = self._placed[name]
        tensor = onnx.TensorProto(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(stored.dtype), dims=stored.shape
        )
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", stored.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return b"".join(self._parts)


@dataclass
class Model:
    """What a graph is made of: sizes, float weights, and what is rounded to 8 bits.

    Attributes:
        quantized: The quantised form of the weights that have one.
        cache_scales: Of the keys and values of cross-attention that are kept in 8 bits, by the cache's name.
    """

    shape: Shape
    weights: dict[str, npt.NDArray[np.float32]]
    quantized: dict[str, Quantized] = field(default_factory=dict)
    cache_scales: dict[str, float] = field(default_factory=dict)


class Builder:
    """Collects nodes; every method returns the name of its result."""

    def __init__(self, model: Model, file: WeightFile) -> None:
        self._model, self._file = model, file
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node with one result (the first of `outputs`, named NAME, NAME.1, ...)."""
        name = f"{kind}_{len(self._nodes)}"
        names = [name] + [f"{name}.{index}" for index in range(1, outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return name

    def constant(self, values: object, dtype: npt.DTypeLike = np.int64) -> str:
        """Add a small constant inside the graph."""
        array = np.asarray(values, dtype)
        name = f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_{array.ravel().tolist()}"
        self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str, array: Array) -> str:
        """Add a tensor of the shared file."""
        self._initializers[name] = self._file.place(name, array)
        return name

    def norm(self, x: str, name: str) -> str:
        """Normalise the last axis by its root mean square."""
        return self.op("RMSNormalization", x, self._gain(name), axis=-1, epsilon=EPSILON)

    def add_norm(self, x: str, delta: str, name: str) -> tuple[str, str]:
        """Return the normalised sum of two tensors, and the sum, by one node."""
        normed = self.op(
            "SkipSimplifiedLayerNormalization", x, delta, self._gain(name),
            outputs=4, domain=CONTRIBUTED, epsilon=EPSILON,
        )  # fmt: skip
        return normed, f"{normed}.3"

    def _gain(self, name: str) -> str:
        return self.weight(name, self._model.weights[name])

    def linear(self, x: str, name: str) -> str:
        """Multiply the last axis by a weight, (in, out): in int8 with fixed ranges, or in float."""
        quantized = self._model.quantized.get(name)
        if quantized is None:
            return self.op("MatMul", x, self._matrix(name, name, self._model.weights[name]))
        scale = self.constant(quantized.input_scale, np.float32)
        zero = self.constant(quantized.input_zero, np.uint8)
        x = self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero)
        return self.op("MatMul", x, self._dequantized(name, quantized))

    def rounded(self, x: str, cache: str) -> str:
        """Return what is kept in a cache: signed 8 bits around 0 where it has a scale, else all."""
        scale = self._model.cache_scales.get(cache)
        if scale is None:
            return x
        return self.op("QuantizeLinear", x, self.constant(scale, np.float32), self.constant(0, np.int8))

    def embed(self, ids: str, positions: str) -> str:
        """Return the scaled embeddings of some ids, (ids,), plus their position vectors: (ids, D)."""
        root = np.float32(np.sqrt(self._model.shape.width))
        quantized = self._model.quantized.get(EMBEDDING)
        if quantized is None:
            rows = self.op("Gather", self.weight(EMBEDDING, self._model.weights[EMBEDDING].T), ids)
            factor = self.constant(root, np.float32)
        else:
            rows = self.op("Gather", self.weight(f"{EMBEDDING}.int8", quantized.weight.T), ids)
            rows = self.op("Cast", rows, to=TensorProto.FLOAT)
            factors = self.weight(f"{EMBEDDING}.factor", root * quantized.weight_scale[:, None])  # (V, 1)
            factor = self.op("Gather", factors, ids)
        return self.op("Add", self.op("Mul", rows, factor), positions)

    def _matrix(self, name: str, stored: str, array: Array) -> str:
        """Return a weight, (in, out). The embedding lies by rows, to be looked up, and is turned at load."""
        if name != EMBEDDING:
            return self.weight(stored, array)
        return self.op("Transpose", self.weight(stored, array.T), perm=[1, 0])

    def _dequantized(self, name: str, quantized: Quantized) -> str:
        weight = self._matrix(name, f"{name}.int8", quantized.weight)
        scale = self.weight(f"{name}.scale", quantized.weight_scale)
        zero = self.weight(f"{name}.zero", np.zeros(len(quantized.weight_scale), np.int8))
        return self.op("DequantizeLinear", weight, scale, zero, axis=1)

    def add(self, x: str, y: str) -> str:
        """Add two tensors."""
        return self.op("Add", x, y)

    def feed_forward(self, normed: str, name: str) -> str:
        """Return what a feed-forward sublayer adds."""
        inner = self.op("Relu", self.linear(normed, f"{name}.feed_forward.up.weight"))
        return self.linear(inner, f"{name}.feed_forward.down.weight")

    def finish(self, name: str, inputs: dict[str, Input], outputs: dict[str, Output]) -> bytes:
        """Return the serialised model; outputs map their public name to a result of this builder."""
        names = {result: public for public, (result, _, _) in outputs.items()}
        for node in self._nodes:  # rename, for a node that copies would cost time at every step
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        graph = helper.make_graph(
            self._nodes, name,
            [helper.make_tensor_value_info(key, kind, dims) for key, (kind, dims) in inputs.items()],
            [helper.make_tensor_value_info(key, kind, dims) for key, (_, kind, dims) in outputs.items()],
            list(self._initializers.values()),
        )  # fmt: skip
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=12, producer_name="dragoman"
        ).SerializeToString()
