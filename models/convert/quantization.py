"""Static int8: weights per output channel, activations by ranges measured once.

Ranges that follow the batch (dynamic quantisation) would make a translation depend on its neighbours.
Ours are collected in torch, under teacher forcing on training pairs, as histograms; each is cut where
the squared error of rounding and clipping is least. What weights are rounded to follows from which inputs go together.

Weights use 7 bits, -63 ... 63: processors without VNNI add two products in 16 bits, and 255 * 63 * 2 is the
largest sum that cannot overflow there. So every processor computes the same integers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.convert.activations import observe

Float = npt.NDArray[np.float32]
LARGEST_WEIGHT = 63
BINS = 4096
DAMPING = 0.01  # of the mean square of inputs, added to each: they were measured on few sentences
CUTS = np.geomspace(0.1, 1, 60).tolist()  # where a range may end, as parts of the widest


@dataclass(frozen=True)
class Quantized:
    """A weight in int8 and the fixed range of what it is multiplied with."""

    weight: npt.NDArray[np.int8]  # (in, out)
    weight_scale: Float  # (out,)
    input_scale: float
    input_zero: int  # of unsigned 8 bits


class Histogram:
    """A streaming histogram that widens by doubling, so that one pass over the data is enough."""

    def __init__(self) -> None:
        self._counts = torch.zeros(BINS, dtype=torch.float64)
        self._limit = 1e-3  # covers -limit ... limit

    def add(self, values: Tensor) -> None:
        """Count all values: in a sample, rare large ones and whole channels would be missed."""
        largest = float(values.abs().max())
        if not math.isfinite(largest):
            raise ValueError("the network computes values that are not finite")
        while largest > self._limit:
            inner = self._counts.view(-1, 2).sum(1)
            self._counts = nn.functional.pad(inner, (BINS // 4, BINS // 4))
            self._limit *= 2
        self._counts += torch.histc(values.float(), BINS, -self._limit, self._limit).double()

    def range(self) -> tuple[float, int]:
        """Return the scale and zero point of the unsigned 8-bit range with the least squared error."""
        low, high = self._ends()
        lows, highs = ([end * cut for cut in CUTS] for end in (low, high))
        for _ in range(2):  # each end by turns: a long tail on one side must not cost the other
            high = min(highs, key=lambda end: self._error(low, end))
            low = min(lows, key=lambda end: self._error(end, high))
        scale = (high - low) / 255
        return scale, round(-low / scale)

    def symmetric_scale(self) -> float:
        """Return the scale of the signed 8-bit range around 0 with the least squared error."""
        low, high = self._ends()
        steps = [max(-low, high) * cut / 127 for cut in CUTS]
        return min(steps, key=lambda step: self._error(-128 * step, 127 * step))

    def _centres(self) -> Tensor:
        return (torch.arange(BINS) + 0.5) * (2 * self._limit / BINS) - self._limit

    def _ends(self) -> tuple[float, float]:
        """Return between which values, 0 among them, all lie."""
        used, half = self._centres()[self._counts > 0], self._limit / BINS
        return min(0.0, float(used[0]) - half), max(0.0, float(used[-1]) + half)

    def _error(self, low: float, high: float) -> float:
        centres = self._centres()
        scale = (high - low) / 255
        zero = round(-low / scale)
        rounded = ((centres / scale).round() + zero).clamp(0, 255) - zero
        return float((self._counts * (rounded * scale - centres) ** 2).sum())


@dataclass(frozen=True)
class Measured:
    """What calibration saw.

    Attributes:
        histograms: Of the input of every linear map, by the name of its weight, of the keys and values of every
            cross-attention, by the name of the map that makes them, and of the last states, as `embedding`.
        moments: Sums of the products of inputs, (in, in), by the name of the weight.
    """

    histograms: dict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    moments: dict[str, Tensor] = field(default_factory=dict)


def measure(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Measured:
    """Measure what is rounded, under teacher forcing.

    Raises:
        ValueError: The network computes values that are not finite.
    """
    found = Measured()

    def look(name: str, given: Tensor, out: Tensor) -> None:
        weight, rows = f"{name}.weight", given.flatten(0, -2)
        found.histograms[weight].add(given)
        found.moments[weight] = found.moments.get(weight, 0) + rows.T @ rows
        if name.endswith((".cross.key", ".cross.value")):
            found.histograms[name].add(out)

    last = network.get_submodule("decoder_norm")
    with last.register_forward_hook(lambda _, __, out: found.histograms["embedding"].add(out)):
        observe(network, batches, look)
    return found


def quantize(weight: Float, histogram: Histogram, moments: Tensor | None = None) -> Quantized:
    """Quantise a weight, (in, out), for inputs as the histogram saw them; with their moments, so that errors cancel."""
    scale = np.maximum(np.abs(weight).max(0), 1e-8) / LARGEST_WEIGHT
    steps = weight / scale
    rounded = _nearest(steps) if moments is None else _round_together(steps, moments.double().numpy())
    return Quantized(rounded.astype(np.int8), scale.astype(np.float32), *histogram.range())


def _nearest(steps: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.clip(np.rint(steps), -LARGEST_WEIGHT, LARGEST_WEIGHT)


def _round_together(steps: Float, moments: npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
    """Round row after row; those to come make up for the error so far (GPTQ; Frantar et al., 2023).

    Inputs go together, so that what one weight gets too much another can get too little, and the product stays.
    """
    size = len(moments)
    moments = moments + (DAMPING * moments.diagonal().mean() + 1e-12) * np.eye(size)
    # The upper factor U of the inverse: U[i, i:] / U[i, i] is what an error in row i asks of the rows from i on.
    upper = np.linalg.cholesky(np.linalg.inv(moments)).T
    left = steps.astype(np.float64)
    rounded = np.empty_like(left)
    for i in range(size):
        rounded[i] = _nearest(left[i])
        left[i:] -= np.outer(upper[i, i:] / upper[i, i], left[i] - rounded[i])
    return rounded
