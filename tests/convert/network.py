"""A network of random weights, small enough to be converted in a moment, and pairs that it may read."""

from __future__ import annotations

import numpy as np

from dragoman.convert.activations import Batch
from dragoman.convert.architecture import Shape, Weights

SHAPE = Shape(
    vocabulary=416, width=32, feed_forward=64, heads=2, encoder_layers=2, decoder_layers=2, max_positions=64
)


def random_weights(seed: int = 3) -> Weights:
    """Return weights of all names that the architecture has."""
    random = np.random.default_rng(seed)
    width, inner = SHAPE.width, SHAPE.feed_forward
    shapes: dict[str, tuple[int, ...]] = {"embedding": (SHAPE.vocabulary, width)}
    for layer in SHAPE.layers:
        blocks = ["attention", "cross"] if layer.startswith("decoder") else ["attention"]
        for block in blocks:
            shapes |= {
                f"{layer}.{block}.{part}": (width, width) for part in ("query", "key", "value", "output")
            }
        shapes |= {f"{layer}.feed_forward.up": (inner, width), f"{layer}.feed_forward.down": (width, inner)}
        shapes |= {f"{layer}.{norm}_norm": (width,) for norm in ("feed_forward", *blocks)}
    shapes |= {"encoder_norm": (width,), "decoder_norm": (width,)}
    return {
        f"{name}.weight": np.ones(shape, np.float32)
        if len(shape) == 1
        else (random.standard_normal(shape) * shape[1] ** -0.5).astype(np.float32)
        for name, shape in shapes.items()
    }


def batches(count: int = 3) -> list[Batch]:
    """Return batches of random pairs."""
    random = np.random.default_rng(4)
    return [
        (random.integers(10, SHAPE.vocabulary, (6, 9)), random.integers(10, SHAPE.vocabulary, (6, 7)))
        for _ in range(count)
    ]
