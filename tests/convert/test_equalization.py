"""Channels equalized before rounding: nothing changes but how wide they are."""

from __future__ import annotations

import numpy as np
import pytest

from dragoman.convert.activations import LAST_STATES, Batch, show
from dragoman.convert.architecture import Float, Weights
from dragoman.convert.equalization import NARROWEST, STRENGTH, Seam, equalize, widths
from tests.convert.network import SHAPE, batches, random_weights

BATCHES = batches()


@pytest.fixture
def weights() -> Weights:
    """Return random weights, in which some channels are thirty times as wide as others."""
    made = random_weights()
    wide = np.ones(SHAPE.width, np.float32)
    wide[::5] = 30
    for layer in range(SHAPE.decoder_layers):
        cross = f"decoder.{layer}.cross"
        for maker in ("key", "value"):
            made[f"{cross}.{maker}.weight"] *= wide[:, None]
        made[f"{cross}.query.weight"] /= wide[:, None]
        made[f"{cross}.output.weight"] /= wide
    return made


def last_states(weights: Weights, batch: Batch) -> Float:
    """Return the states before the output, (B, T, D)."""
    shown: dict[str, Float] = {}

    def observe(name: str, given: Float, _: Float) -> None:
        shown[name] = given

    show(weights, SHAPE, [batch], observe)
    return shown[LAST_STATES]


def test_computes_the_same(weights: Weights) -> None:
    """
    The states before the output are those of before; so are the weights given.
    """
    before = {name: weight.copy() for name, weight in weights.items()}

    equalized = equalize(weights, SHAPE, BATCHES)

    for batch in BATCHES:
        assert np.allclose(last_states(weights, batch), last_states(equalized, batch), rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(weight, before[name]) for name, weight in weights.items())
    assert any(not np.array_equal(weight, before[name]) for name, weight in equalized.items())


def test_channels_come_nearer(weights: Weights) -> None:
    """
    Keys and values, which have one range for all channels, differ less in width than before.
    """

    def spread(of: Weights, name: str) -> float:
        width = widths(of, SHAPE, BATCHES)[name].out
        return float(width.max() / width.min())

    equalized = equalize(weights, SHAPE, BATCHES)

    for name in ("decoder.0.cross.key", "decoder.1.cross.value"):
        assert spread(equalized, name) < spread(weights, name) / 3


def test_a_seam() -> None:
    """
    A wide channel is divided and what reads it multiplied, by the root of how much wider it is; the product stays.
    """
    maker, reader = np.array([[16.0], [1.0]], np.float32), np.array([[1.0, 1.0]], np.float32)
    product = reader @ maker

    Seam(np.array([16.0, 1.0], np.float32), maker, [reader]).equalize()

    assert 0.5 == STRENGTH
    assert np.allclose([[8.0], [2.0]], maker, rtol=1e-6)
    assert np.allclose([[2.0, 0.5]], reader, rtol=1e-6)
    assert np.allclose(product, reader @ maker, rtol=1e-6)


def test_a_silent_channel() -> None:
    """
    A channel that never spoke is turned up by a bounded factor: it may speak yet.
    """
    maker, reader = np.ones((2, 3), np.float32), np.ones((4, 2), np.float32)

    Seam(np.array([5.0, 0.0], np.float32), maker, [reader]).equalize()

    assert float(maker.max() / maker.min()) == pytest.approx(NARROWEST**-STRENGTH)
