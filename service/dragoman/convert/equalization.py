"""Channels brought to like ranges before they are rounded to 8 bits: the same function, with less to lose.

A tensor has one range for all its channels, so a wide channel takes the bits of the narrow ones. Where one weight
produces a channel and others read it, the first can be divided and the second multiplied by one number, and nothing
changes but how wide the channel is (SmoothQuant; Xiao et al., 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dragoman.convert.activations import Batch, show
from dragoman.convert.architecture import Float, Shape, Weights

STRENGTH = 0.5  # half of what would make all channels alike: the weights that read them are rounded too
NARROWEST = 0.01  # of the widest: a channel that hardly ever speaks must not be turned up until it is cut off


class Widths(NamedTuple):
    """Largest absolute values of the channels of a linear map's input, (in,), and of its output, (out,)."""

    into: Float
    out: Float


@dataclass(frozen=True)
class Seam:
    """A tensor of C channels between the weight that produces them and the weights that read them.

    Attributes:
        width: Largest absolute value of each channel, (C,).
        maker: The weight that produces them, channels first: (C,) or (C, in).
        readers: The weights that read them, channels last: (out, C).
    """

    width: Float
    maker: Float
    readers: Sequence[Float]

    def equalize(self) -> None:
        """Rescale the weights in place."""
        largest = np.concatenate([np.abs(reader) for reader in self.readers]).max(0)
        factors = np.sqrt(_floored(self.width) / _floored(largest))  # to the power of STRENGTH
        factors /= np.exp(np.log(factors).mean())
        by_channel = factors.reshape(-1, *[1] * (self.maker.ndim - 1))
        np.divide(self.maker, by_channel, out=self.maker)
        for reader in self.readers:
            reader *= factors


def _floored(values: Float) -> Float:
    return np.maximum(values, np.float32(max(NARROWEST * float(values.max()), 1e-8)))


def equalize(weights: Weights, shape: Shape, batches: Iterable[Batch]) -> Weights:
    """Return weights that compute the same with channels of like width, judged by some batches."""
    equalized = {name: weight.copy() for name, weight in weights.items()}
    for seam in _seams(equalized, shape, widths(weights, shape, batches)):
        seam.equalize()
    return equalized


def widths(weights: Weights, shape: Shape, batches: Iterable[Batch]) -> dict[str, Widths]:
    """Return the largest absolute value of each channel that enters and leaves every linear map."""
    widest: dict[str, Widths] = {}

    def observe(name: str, *shown: Float) -> None:
        into, out = (np.abs(values).reshape(-1, values.shape[-1]).max(0) for values in shown)
        before = widest.get(name, Widths(into, out))
        widest[name] = Widths(np.maximum(into, before.into), np.maximum(out, before.out))

    show(weights, shape, batches, observe)
    return widest


def _seams(weights: Weights, shape: Shape, widest: dict[str, Widths]) -> Iterator[Seam]:
    def seam(width: Float, maker: str, *readers: str) -> Seam:
        return Seam(width, weights[f"{maker}.weight"], [weights[f"{reader}.weight"] for reader in readers])

    for layer in shape.layers:
        own, inner = f"{layer}.attention", f"{layer}.feed_forward"
        parts = [f"{own}.{part}" for part in ("query", "key", "value")]
        yield seam(widest[parts[0]].into, f"{layer}.attention_norm", *parts)
        # What is rounded are weighted means of values, which have the same channels.
        yield seam(widest[f"{own}.output"].into, f"{own}.value", f"{own}.output")
        yield seam(widest[f"{inner}.up"].into, f"{layer}.feed_forward_norm", f"{inner}.up")
        # A ReLU lets positive factors through.
        yield seam(widest[f"{inner}.down"].into, f"{inner}.up", f"{inner}.down")
    decoder = [f"decoder.{index}" for index in range(shape.decoder_layers)]
    for layer in decoder:
        cross = f"{layer}.cross"
        yield seam(widest[f"{cross}.query"].into, f"{layer}.cross_norm", f"{cross}.query")
        # Here the values and keys themselves are rounded, to be kept; keys meet queries in a product.
        yield seam(widest[f"{cross}.value"].out, f"{cross}.value", f"{cross}.output")
        query, key = weights[f"{cross}.query.weight"], weights[f"{cross}.key.weight"]
        yield Seam(widest[f"{cross}.key"].out, key, [query.T])
    memory = [f"{layer}.cross.{part}" for layer in decoder for part in ("key", "value")]
    yield seam(widest[memory[0]].into, "encoder_norm", *memory)
