"""Static int8: weights per output channel, activations by ranges measured once.

Ranges that follow the batch (dynamic quantisation) would make a translation depend on its neighbours. What weights are
rounded to follows from which inputs go together.

Weights use 7 bits, -63 ... 63: processors without VNNI add two products in 16 bits, and 255 * 63 * 2 is the
largest sum that cannot overflow there. So every processor computes the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dragoman.convert.architecture import Float
from dragoman.convert.histogram import Histogram

LARGEST_WEIGHT = 63
DAMPING = 0.01  # of the mean square of inputs, added to each: they were measured on few sentences


@dataclass(frozen=True)
class Quantized:
    """A weight in int8 and the fixed range of what it is multiplied with."""

    weight: npt.NDArray[np.int8]  # (in, out)
    weight_scale: Float  # (out,)
    input_scale: float
    input_zero: int  # of unsigned 8 bits


def quantize(weight: Float, histogram: Histogram, moments: Float | None = None) -> Quantized:
    """Quantise a weight, (in, out), for inputs as the histogram saw them; with their moments, so that errors cancel."""
    scale = np.maximum(np.abs(weight).max(0), 1e-8) / LARGEST_WEIGHT
    steps = weight / scale
    rounded = _nearest(steps) if moments is None else _round_together(steps, moments.astype(np.float64))
    return Quantized(rounded.astype(np.int8), scale.astype(np.float32), *histogram.range())


def _nearest(steps: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    rounded: npt.NDArray[np.floating] = np.clip(np.rint(steps), -LARGEST_WEIGHT, LARGEST_WEIGHT)
    return rounded


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
