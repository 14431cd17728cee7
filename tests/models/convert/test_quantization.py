"""Static int8: ranges that lose least, and zero that stays zero."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from models.convert.quantization import LARGEST_WEIGHT, Histogram, measure, quantize


def error(values: Tensor, scale: float, zero: int) -> float:
    """Return the mean squared error of rounding values to unsigned 8 bits."""
    rounded = ((values / scale).round() + zero).clamp(0, 255) - zero
    return float((rounded * scale - values).square().mean())


def draw(kind: str) -> Tensor:
    """Return 200,000 values of a known distribution."""
    generator = torch.Generator().manual_seed(5)
    normal = torch.randn(200_000, generator=generator)
    if kind == "laplace":
        return normal.sign() * torch.empty_like(normal).exponential_(generator=generator)
    return {"normal": normal, "relu": normal.relu(), "shifted": normal + 3, "outlier": normal}[kind]


@pytest.mark.parametrize("kind", ["normal", "relu", "shifted", "laplace"])
def test_no_other_cut_loses_less(kind: str) -> None:
    """
    The chosen range has, up to two per cent, the least squared error of all ways to cut the values' own.
    """
    values = draw(kind)
    histogram = Histogram()
    for part in values.split(50_000):
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

    largest = values.abs().max().item()
    others = [error(values, largest * cut / 127, 128) for cut in np.linspace(0.1, 1.0, 60)]
    assert found <= 1.02 * min(others)


def test_one_outlier_does_not_ruin_the_rest() -> None:
    """
    With one value ten times larger than all others, that end of the range is cut, and not the other.
    """
    histogram = Histogram()
    histogram.add(torch.cat([draw("normal").clamp(-3, 3).repeat(50), torch.tensor([30.0])]))

    scale, zero = histogram.range()

    assert -zero * scale == pytest.approx(-3, rel=0.1)
    assert (255 - zero) * scale < 15


def test_widening_keeps_what_was_counted() -> None:
    """
    Small values seen first still count when large ones come, and no value falls out.
    """
    small, large = 0.002 * draw("normal"), 50 * draw("normal")
    piecewise, at_once = Histogram(), Histogram()

    piecewise.add(small)
    piecewise.add(large)
    at_once.add(torch.cat([large, small]))

    assert len(small) + len(large) == float(piecewise._counts.sum())
    assert piecewise.range()[0] == pytest.approx(at_once.range()[0], rel=0.03)


def test_sees_every_channel() -> None:
    """
    An outlier channel counts wherever it lies.
    """
    for channel in range(8):
        values = torch.zeros(100, 64)
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
    assert 0 == error(torch.zeros(1), scale, zero)
    assert (kind == "relu") == (zero == 0)


def test_refuses_what_is_not_finite() -> None:
    """
    A network that computes infinity or NaN is an error, not a range.
    """
    for bad in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="not finite"):
            Histogram().add(torch.tensor([1.0, bad]))


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
    generator = torch.Generator().manual_seed(8)
    hidden = torch.randn(4000, 8, generator=generator)
    inputs = hidden @ torch.randn(8, 64, generator=generator) + 0.3 * torch.randn(
        4000, 64, generator=generator
    )
    weight = torch.randn(64, 16, generator=generator).numpy()
    histogram = Histogram()
    histogram.add(inputs)

    def loss(moments: Tensor | None) -> float:
        found = quantize(weight, histogram, moments)
        assert np.abs(found.weight).max() <= LARGEST_WEIGHT
        return float(np.square(inputs.numpy() @ (found.weight * found.weight_scale - weight)).mean())

    assert loss(inputs.T @ inputs) < loss(None) / 3


def test_inputs_that_are_always_zero() -> None:
    """
    Without any input to go by, each weight goes to its nearest.
    """
    weight = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    histogram = Histogram()
    histogram.add(torch.zeros(5, 4))

    plain, told = quantize(weight, histogram), quantize(weight, histogram, torch.zeros(4, 4))

    assert np.array_equal(plain.weight, told.weight)


def test_measures_every_product_and_leaves_no_hook() -> None:
    """
    Each linear map gets a histogram of its input, and the network is as before.

    The maps that make keys and values of the source get one of their output, too.
    """

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.decoder_norm = nn.Linear(4, 4), nn.Identity()
            self.layer = nn.ModuleDict({"cross": nn.ModuleDict({"key": nn.Linear(4, 4)})})

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            return self.decoder_norm(self.get_submodule("layer.cross.key")(self.first(source)) + target)

    network = Two()

    found = measure(network, [(torch.ones(2, 4), torch.ones(2, 4))])

    assert {"first.weight", "layer.cross.key.weight", "layer.cross.key", "embedding"} == set(found.histograms)
    assert {"first.weight", "layer.cross.key.weight"} == set(found.moments)
    assert torch.equal(torch.full((4, 4), 2.0), found.moments["first.weight"])  # two rows of ones
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
