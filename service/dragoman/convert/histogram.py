"""A streaming histogram of activations, and the 8-bit ranges that lose least of them."""

from __future__ import annotations

import math

import numpy as np

from dragoman.convert.architecture import Float

BINS = 4096
CUTS = np.geomspace(0.1, 1, 60).tolist()  # where a range may end, as parts of the widest


class Histogram:
    """Counts values, and widens by doubling, so that one pass over the data is enough."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS)
        self._limit = 1e-3  # covers -limit ... limit

    def add(self, values: Float) -> None:
        """Count all values: in a sample, rare large ones and whole channels would be missed.

        Raises:
            ValueError: One of them is not finite.
        """
        largest = float(np.abs(values).max())
        if not math.isfinite(largest):
            raise ValueError("the network computes values that are not finite")
        while largest > self._limit:
            self.counts = np.pad(self.counts.reshape(-1, 2).sum(1), BINS // 4)
            self._limit *= 2
        limit = np.float32(self._limit)
        places = ((values.ravel() + limit) * np.float32(BINS) / (2 * limit)).astype(np.int64)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

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
        best: float = min(steps, key=lambda step: self._error(-128 * step, 127 * step))
        return best

    def _centres(self) -> Float:
        width = np.float32(2 * self._limit / BINS)
        return (np.arange(BINS, dtype=np.float32) + np.float32(0.5)) * width - np.float32(self._limit)

    def _ends(self) -> tuple[float, float]:
        """Return the smallest and largest value seen, widened to include 0."""
        used, half = self._centres()[self.counts > 0], self._limit / BINS
        return min(0.0, float(used[0]) - half), max(0.0, float(used[-1]) + half)

    def _error(self, low: float, high: float) -> float:
        """Return the squared error of rounding and clipping to the range from `low` to `high`."""
        centres = self._centres()
        scale = np.float32((high - low) / 255)
        zero = np.float32(round(-low * 255 / (high - low)))
        rounded = np.clip(np.rint(centres / scale) + zero, 0, 255) - zero
        return float((self.counts * np.square(rounded * scale - centres)).sum())
