"""Calibration: the ranges of a network's activations on some sentence pairs, and the model in int8 that follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from dragoman.convert.activations import LAST_STATES, Batch, show
from dragoman.convert.architecture import Float, Shape, Weights, graph_weights
from dragoman.convert.equalization import equalize
from dragoman.convert.histogram import Histogram
from dragoman.convert.onnx_builder import Model
from dragoman.convert.quantization import quantize


@dataclass(frozen=True)
class Measured:
    """What calibration observed.

    Attributes:
        histograms: Of the input of every linear map, by the name of its weight, of the keys and values of every
            cross-attention, by the name of the map that makes them, and of the last states, as `embedding`.
        moments: Sums of the products of inputs, (in, in), by the name of the weight.
    """

    histograms: dict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    moments: dict[str, Float] = field(default_factory=dict)


def measure(weights: Weights, shape: Shape, batches: Iterable[Batch]) -> Measured:
    """Measure what is rounded, under teacher forcing.

    Raises:
        ValueError: The network computes values that are not finite.
    """
    measured = Measured()

    def observe(name: str, given: Float, out: Float) -> None:
        if name == LAST_STATES:
            measured.histograms[name].add(given)
            return
        weight, rows = f"{name}.weight", given.reshape(-1, given.shape[-1])
        measured.histograms[weight].add(given)
        measured.moments[weight] = measured.moments.get(weight, np.float32(0)) + rows.T @ rows
        if name.endswith((".cross.key", ".cross.value")):
            measured.histograms[name].add(out)

    show(weights, shape, batches, observe)
    return measured


def int8_model(weights: Weights, shape: Shape, batches: Iterable[Batch]) -> Model:
    """Return a model whose products, and keys and values of the source, are in 8 bits.

    The ranges are measured on some batches, once channels are equalized. The same weights and batches give the same
    model, bit for bit, on one kind of processor.

    Raises:
        ValueError: The network computes values that are not finite.
    """
    shown = list(batches)
    weights = equalize(weights, shape, shown)
    measured = measure(weights, shape, shown)
    matrices, quantized = graph_weights(weights, shape), {}
    for name, matrix in matrices.items():
        if matrix.ndim == 2:
            source = _measured_name(name)
            quantized[name] = quantize(matrix, measured.histograms[source], measured.moments.get(source))
    scales = {
        f"cross_{kind}_{index}": measured.histograms[f"decoder.{index}.cross.{kind}"].symmetric_scale()
        for index in range(shape.decoder_layers)
        for kind in ("key", "value")
    }
    return Model(shape, matrices, quantized, scales)


def float_model(weights: Weights, shape: Shape) -> Model:
    """Return a model in 32-bit floats."""
    return Model(shape, graph_weights(weights, shape))


def _measured_name(matrix: str) -> str:
    """Return the name under which the input of a matrix was measured; joined matrices have one input."""
    name = matrix.replace(".attention.qkv", ".attention.query.weight")
    return name.replace("cross.kv", "decoder.0.cross.key.weight")
