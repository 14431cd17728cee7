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

from models.quantize import Quantized
from models.transformer import Shape

Array = npt.NDArray[np.generic]
Dims = list[str | int | None]  # a letter is an axis of any length
Input = tuple[int, Dims]  # type and dimensions
Output = tuple[str, int, Dims]  # the result it is, type and dimensions
EMBEDDING = "embedding"  # both a table to look pieces up and the output projection
WEIGHTS_FILE = "weights.bin"
OPSET = 23  # the first with RMSNormalization
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
    """What a graph is made of: sizes, float weights, and the quantised form of those that have one."""

    shape: Shape
    weights: dict[str, npt.NDArray[np.float32]]
    quantized: dict[str, Quantized] = field(default_factory=dict)


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
        gain = self.weight(name, self._model.weights[name])
        return self.op("RMSNormalization", x, gain, axis=-1, epsilon=1e-6)

    def linear(self, x: str, name: str) -> str:
        """Multiply the last axis by a weight, (in, out): in int8 with fixed ranges, or in float."""
        quantized = self._model.quantized.get(name)
        if quantized is None:
            return self.op("MatMul", x, self._matrix(name, name, self._model.weights[name]))
        scale = self.constant(quantized.input_scale, np.float32)
        zero = self.constant(quantized.input_zero, np.uint8)
        x = self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero)
        return self.op("MatMul", x, self._dequantized(name, quantized))

    def embed(self, ids: str, position: str) -> str:
        """Return the scaled embeddings of some ids plus their rows of the position table, (..., D)."""
        width = self._model.shape.width
        flat = self.op("Reshape", ids, self.constant([-1]))
        quantized = self._model.quantized.get(EMBEDDING)
        if quantized is None:
            table = self.weight(EMBEDDING, self._model.weights[EMBEDDING].T)  # (V, D)
            rows = self.op("Gather", table, flat)  # (ids, D)
        else:
            table = self.weight(f"{EMBEDDING}.int8", quantized.weight.T)
            scales = self.weight(f"{EMBEDDING}.scale", quantized.weight_scale)  # (V,)
            scales = self.op("Unsqueeze", self.op("Gather", scales, flat), self.constant([1]))
            rows = self.op("Cast", self.op("Gather", table, flat), to=TensorProto.FLOAT)
            rows = self.op("Mul", rows, scales)
        rows = self.op("Mul", rows, self.constant(np.sqrt(width), np.float32))
        return self.op("Add", self.op("Reshape", rows, self._like(ids, width)), position)

    def _matrix(self, name: str, stored: str, array: Array) -> str:
        """Return a weight, (in, out). The embedding lies by rows, to be looked up, and is turned at load."""
        if name != EMBEDDING:
            return self.weight(stored, array)
        return self.op("Transpose", self.weight(stored, array.T), perm=[1, 0])

    def _like(self, ids: str, width: int) -> str:
        return self.op("Concat", self.op("Shape", ids), self.constant([width]), axis=0)

    def _dequantized(self, name: str, quantized: Quantized) -> str:
        weight = self._matrix(name, f"{name}.int8", quantized.weight)
        scale = self.weight(f"{name}.scale", quantized.weight_scale)
        zero = self.weight(f"{name}.zero", np.zeros(len(quantized.weight_scale), np.int8))
        return self.op("DequantizeLinear", weight, scale, zero, axis=1)

    def split(self, x: str, parts: int) -> list[str]:
        """Cut the last axis into equal parts."""
        name = self.op("Split", x, outputs=parts, axis=-1, num_outputs=parts)
        return [name] + [f"{name}.{index}" for index in range(1, parts)]

    def add(self, x: str, y: str) -> str:
        """Add two tensors."""
        return self.op("Add", x, y)

    def feed_forward(self, x: str, name: str) -> str:
        """Return x plus its feed-forward sublayer."""
        normed = self.norm(x, f"{name}.feed_forward_norm.weight")
        inner = self.op("Relu", self.linear(normed, f"{name}.feed_forward.up.weight"))
        return self.add(x, self.linear(inner, f"{name}.feed_forward.down.weight"))

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
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=11, producer_name="dragoman"
        ).SerializeToString()
