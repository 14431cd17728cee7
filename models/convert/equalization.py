"""Channels evened out before they are rounded to 8 bits: the same function, with less to lose.

A tensor has one range for all its channels, so a wide channel takes the bits of the narrow ones. Where one weight
makes a channel and others read it, the first can be divided and the second multiplied by one number, and nothing
changes but how wide the channel is (SmoothQuant; Xiao et al., 2023).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.convert.activations import observe
from models.network.transformer import Transformer

STRENGTH = 0.5  # half of what would make all channels alike: the weights that read them are rounded too
NARROWEST = 0.01  # of the widest: one that hardly ever speaks must not be turned up until it is cut off


class Widths(NamedTuple):
    """Largest absolute values of the channels of a linear map's input, (in,), and of its output, (out,)."""

    into: Tensor
    out: Tensor


@dataclass(frozen=True)
class Seam:
    """A tensor whose C channels are made by one weight and read by others.

    Attributes:
        width: Largest absolute value of each channel, (C,).
        maker: The weight that makes them, channels first: (C,) or (C, in).
        readers: The weights that read them, channels last: (out, C).
    """

    width: Tensor
    maker: Tensor
    readers: Sequence[Tensor]

    def even_out(self) -> None:
        """Rescale the weights in place."""
        heaviness = torch.cat([reader.abs() for reader in self.readers]).amax(0)
        factors = (_not_nothing(self.width) / _not_nothing(heaviness)) ** STRENGTH
        factors /= factors.log().mean().exp()
        self.maker.div_(factors.view(-1, *[1] * (self.maker.dim() - 1)))
        for reader in self.readers:
            reader.mul_(factors)


def _not_nothing(values: Tensor) -> Tensor:
    return values.clamp_min(max(NARROWEST * float(values.max()), 1e-8))


@torch.no_grad()
def balance(network: Transformer, batches: Iterable[tuple[Tensor, Tensor]]) -> Transformer:
    """Return a network that computes the same with channels of like width, as some (source, target) batches show them."""
    network = copy.deepcopy(network)
    for seam in _seams(network, _widths(network, batches)):
        seam.even_out()
    return network


def _widths(network: Transformer, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Widths]:
    """Return the largest absolute value of each channel that goes into and comes out of every linear map."""
    widths: dict[str, Widths] = {}

    def look(name: str, *seen: Tensor) -> None:
        into, out = (values.abs().flatten(0, -2).amax(0) for values in seen)
        before = widths.get(name, Widths(into, out))
        widths[name] = Widths(torch.maximum(into, before.into), torch.maximum(out, before.out))

    observe(network, batches, look)
    return widths


def _seams(network: Transformer, widths: dict[str, Widths]) -> Iterator[Seam]:
    weights = dict(network.named_parameters())

    def seam(width: Tensor, maker: str, *readers: str) -> Seam:
        return Seam(width, weights[f"{maker}.weight"], [weights[f"{reader}.weight"] for reader in readers])

    encoder = [f"encoder.{index}" for index in range(network.shape.encoder_layers)]
    decoder = [f"decoder.{index}" for index in range(network.shape.decoder_layers)]
    for layer in encoder + decoder:
        own, inner = f"{layer}.attention", f"{layer}.feed_forward"
        parts = [f"{own}.{part}" for part in ("query", "key", "value")]
        yield seam(widths[parts[0]].into, f"{layer}.attention_norm", *parts)
        # What is rounded are weighted means of values, which have the same channels.
        yield seam(widths[f"{own}.output"].into, f"{own}.value", f"{own}.output")
        yield seam(widths[f"{inner}.up"].into, f"{layer}.feed_forward_norm", f"{inner}.up")
        # A ReLU lets positive factors through.
        yield seam(widths[f"{inner}.down"].into, f"{inner}.up", f"{inner}.down")
    for layer in decoder:
        cross = f"{layer}.cross"
        yield seam(widths[f"{cross}.query"].into, f"{layer}.cross_norm", f"{cross}.query")
        # Here the values and keys themselves are rounded, to be kept; keys meet queries in a product.
        yield seam(widths[f"{cross}.value"].out, f"{cross}.value", f"{cross}.output")
        query, key = weights[f"{cross}.query.weight"], weights[f"{cross}.key.weight"]
        yield Seam(widths[f"{cross}.key"].out, key, [query.T])
    memory = [f"{layer}.cross.{part}" for layer in decoder for part in ("key", "value")]
    yield seam(widths[memory[0]].into, "encoder_norm", *memory)
