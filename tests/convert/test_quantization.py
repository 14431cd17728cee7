"""Static int8: ranges that lose least, and zero that stays zero."""

from __future__ import annotations

import numpy as np
import pytest

from dragoman.convert.architecture import Float
from dragoman.convert.calibration import measure
from dragoman.convert.histogram import Histogram
from dragoman.convert.quantization import LARGEST_WEIGHT, quantize
from tests.convert.network import SHAPE, batches, random_weights


def error(values: Float, scale: float, zero: int) -> float:
    """Return the mean squared error of rounding values to unsigned 8 bits."""
    rounded = np.clip(np.rint(values / np.float32(scale)) + zero, 0, 255) - zero
    return float(np.square(rounded * scale - values).mean())


def draw(kind: str) -> Float:
    """Return 200,000 values of a known distribution."""
    generator = np.random.default_rng(5)
    normal = generator.standard_normal(200_000, np.float32)
    if kind == "laplace":
        return generator.laplace(size=200_000).astype(np.float32)
    return {"normal": normal, "relu": np.maximum(normal, 0), "shifted": normal + 3, "outlier": normal}[kind]


@pytest.mark.parametrize("kind", ["normal", "relu", "shifted", "laplace"])
def test_no_other_cut_loses_less(kind: str) -> None:
    """
    The chosen range has, up to two per cent, the least squared error of all ways to cut the values' own.
    """
    values = draw(kind)
    histogram = Histogram()
    for part in np.split(values, 4):
        histogram.add(part)

    found = error(values, *histogram.range())

    low, high = min(0.0, values.min().item()), max(0.0, values.max().item())
    others = []
    for cut in np.linspace(0.1, 1.0, 60):
        scale = (high - low) * cut / 255
        others.append(error(values, scale, round(-low * cut / scale)))
    assert found <= 1.02 * min(others)


@pytest.mark.parametrize("kind", ["normal", "relu", "laplace"])
def test_no_other_symmetric_cut_loses_less(kind: str) -> None:
    """
    Signed 8 bits around 0 are cut likewise, where the squared error is least.
    """
    values = draw(kind)
    histogram = Histogram()
    histogram.add(values)

    found = error(values, histogram.symmetric_scale(), 128)

    largest = float(np.abs(values).max())
    others = [error(values, largest * cut / 127, 128) for cut in np.linspace(0.1, 1.0, 60)]
    assert found <= 1.02 * min(others)


def test_one_outlier_does_not_ruin_the_rest() -> None:
    """
    With one value ten times larger than all others, that end of the range is cut, and not the other.
    """
    histogram = Histogram()
    histogram.add(np.append(np.tile(draw("normal").clip(-3, 3), 50), np.float32(30)))

    scale, zero = histogram.range()

    assert -zero * scale == pytest.approx(-3, rel=0.1)
    assert (255 - zero) * scale < 15


def test_widening_keeps_what_was_counted() -> None:
    """
    Small values seen first still count when large ones come, and no value falls out.
    """
    small, large = np.float32(0.002) * draw("normal"), np.float32(50) * draw("normal")
    piecewise, at_once = Histogram(), Histogram()

    piecewise.add(small)
    piecewise.add(large)
    at_once.add(np.concatenate([large, small]))

    assert len(small) + len(large) == float(piecewise.counts.sum())
    assert piecewise.range()[0] == pytest.approx(at_once.range()[0], rel=0.03)


def test_sees_every_channel() -> None:
    """
    An outlier channel counts wherever it lies.
    """
    for channel in range(8):
        values = np.zeros((100, 64), np.float32)
        values[:, channel] = 10.0
        histogram = Histogram()
        histogram.add(values)
        scale, _ = histogram.range()
        assert 255 * scale == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("kind", ["normal", "relu", "shifted"])
def test_zero_is_exact(kind: str) -> None:
    """
    Zero, which padding and ReLU produce, has a place of its own in every range.
    """
    histogram = Histogram()
    histogram.add(draw(kind))

    scale, zero = histogram.range()

    assert 0 <= zero <= 255
    assert 0 == error(np.zeros(1, np.float32), scale, zero)
    assert (kind == "relu") == (zero == 0)


def test_refuses_what_is_not_finite() -> None:
    """
    A network that computes infinity or NaN is an error, not a range.
    """
    for bad in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="not finite"):
            Histogram().add(np.array([1.0, bad], np.float32))


def test_weights_keep_to_seven_bits() -> None:
    """
    Every channel uses its own scale up to 63 in magnitude, and returns within half a step of its weights.
    """
    weight = np.random.default_rng(1).normal(size=(32, 5)).astype(np.float32) * [1, 10, 0.1, 1e-3, 0]
    histogram = Histogram()
    histogram.add(draw("normal"))

    quantized = quantize(weight.astype(np.float32), histogram)

    assert np.int8 == quantized.weight.dtype
    assert [LARGEST_WEIGHT] * 4 + [0] == np.abs(quantized.weight).max(0).tolist()
    assert np.all(
        np.abs(quantized.weight * quantized.weight_scale - weight) <= quantized.weight_scale * 0.501
    )


def test_rounding_errors_cancel() -> None:
    """
    Where inputs go together, products come nearer to the exact ones than by rounding each weight to its nearest.
    """
    generator = np.random.default_rng(8)
    hidden = generator.standard_normal((4000, 8), np.float32)
    inputs = hidden @ generator.standard_normal((8, 64), np.float32)
    inputs += np.float32(0.3) * generator.standard_normal((4000, 64), np.float32)
    weight = generator.standard_normal((64, 16), np.float32)
    histogram = Histogram()
    histogram.add(inputs)

    def loss(moments: Float | None) -> float:
        found = quantize(weight, histogram, moments)
        assert np.abs(found.weight).max() <= LARGEST_WEIGHT
        return float(np.square(inputs @ (found.weight * found.weight_scale - weight)).mean())

    assert loss(inputs.T @ inputs) < loss(None) / 3


def test_inputs_that_are_always_zero() -> None:
    """
    Without any input to go by, each weight goes to its nearest.
    """
    weight = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    histogram = Histogram()
    histogram.add(np.zeros((5, 4), np.float32))

    plain, told = quantize(weight, histogram), quantize(weight, histogram, np.zeros((4, 4), np.float32))

    assert np.array_equal(plain.weight, told.weight)


def test_measures_every_product() -> None:
    """
    Each linear map gets a histogram and the moments of its input, and the weights are as before.

    The maps that make keys and values of the source get a histogram of their output, too, and so do the last states.
    """
    weights = random_weights()
    before = {name: weight.copy() for name, weight in weights.items()}
    matrices = {name for name, weight in weights.items() if weight.ndim == 2} - {"embedding.weight"}
    kept = {f"decoder.{i}.cross.{kind}" for i in range(SHAPE.decoder_layers) for kind in ("key", "value")}

    measured = measure(weights, SHAPE, batches(2))

    assert matrices | kept | {"embedding"} == set(measured.histograms)
    assert matrices == set(measured.moments)
    for name, moments in measured.moments.items():
        assert (weights[name].shape[1],) * 2 == moments.shape
        assert np.all(moments.diagonal() >= 0)
    assert all(np.array_equal(weight, before[name]) for name, weight in weights.items())
