"""The activations of a network that reads sentence pairs under teacher forcing, in numpy.

Axes: B pairs, S source positions, T target positions, D width, H heads, K = D / H.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from dragoman.convert.architecture import EPSILON, Float, Shape, Weights, sinusoids
from dragoman.text.tokenizer import PAD_ID

Ids = npt.NDArray[np.int64]
Batch = tuple[Ids, Ids]  # source (B, S): tag, tokens, end; target (B, T): begin, tokens
Observe = Callable[
    [str, Float, Float], None
]  # name of a linear map, its input (..., in), its output (..., out)
LAST_STATES = "embedding"  # the name under which the last states, (B, T, D), are shown as an input
_MASKED = np.float32(-1e9)


def show(weights: Weights, shape: Shape, batches: Iterable[Batch], observe: Observe) -> None:
    """Show `observe` the input and the output of every linear map for each batch, padding included."""
    network = _Network(weights, shape, observe)
    for source, target in batches:
        memory, mask = network.encode(source)
        states = network.decode(memory, mask, target)
        observe(LAST_STATES, states, states)


class _Network:
    """The forward pass; every linear map is shown as it is computed."""

    def __init__(self, weights: Weights, shape: Shape, observe: Observe) -> None:
        self._weights, self._shape, self._observe = weights, shape, observe
        self._positions = sinusoids(shape.max_positions, shape.width)

    def encode(self, source: Ids) -> tuple[Float, Float]:
        """Return the memory, (B, S, D), and its additive mask, (B, 1, 1, S)."""
        mask = np.where(source == PAD_ID, _MASKED, np.float32(0))[:, None, None]
        x = self._embed(source)
        for index in range(self._shape.encoder_layers):
            layer = f"encoder.{index}"
            normed = self._norm(f"{layer}.attention_norm", x)
            x = x + self._attention(f"{layer}.attention", normed, normed, mask)
            x = x + self._feed_forward(layer, x)
        return self._norm("encoder_norm", x), mask

    def decode(self, memory: Float, mask: Float, target: Ids) -> Float:
        """Return the last states, (B, T, D)."""
        causal = np.triu(np.full((target.shape[1],) * 2, _MASKED), 1)  # (T, T)
        x = self._embed(target)
        for index in range(self._shape.decoder_layers):
            layer = f"decoder.{index}"
            normed = self._norm(f"{layer}.attention_norm", x)
            x = x + self._attention(f"{layer}.attention", normed, normed, causal)
            normed = self._norm(f"{layer}.cross_norm", x)
            x = x + self._attention(f"{layer}.cross", normed, memory, mask)
            x = x + self._feed_forward(layer, x)
        return self._norm("decoder_norm", x)

    def _embed(self, ids: Ids) -> Float:
        root = np.float32(np.sqrt(self._shape.width))
        return self._weights["embedding.weight"][ids] * root + self._positions[: ids.shape[1]]

    def _norm(self, name: str, x: Float) -> Float:
        mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
        normed: Float = x / np.sqrt(mean_square + np.float32(EPSILON)) * self._weights[f"{name}.weight"]
        return normed

    def _linear(self, name: str, x: Float) -> Float:
        y: Float = x @ self._weights[f"{name}.weight"].T
        self._observe(name, x, y)
        return y

    def _attention(self, name: str, x: Float, memory: Float, mask: Float) -> Float:
        q = self._split(self._linear(f"{name}.query", x))  # (B, H, T, K)
        k = self._split(self._linear(f"{name}.key", memory))  # (B, H, S, K)
        v = self._split(self._linear(f"{name}.value", memory))  # (B, H, S, K)
        scores = q @ k.swapaxes(-1, -2) * np.float32(self._shape.attention_scale) + mask  # (B, H, T, S)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v  # (B, H, T, K)
        return self._linear(f"{name}.output", mixed.swapaxes(1, 2).reshape(x.shape))

    def _split(self, x: Float) -> Float:
        return x.reshape(*x.shape[:2], self._shape.heads, -1).swapaxes(1, 2)

    def _feed_forward(self, layer: str, x: Float) -> Float:
        normed = self._norm(f"{layer}.feed_forward_norm", x)
        inner = np.maximum(self._linear(f"{layer}.feed_forward.up", normed), 0)
        return self._linear(f"{layer}.feed_forward.down", inner)
