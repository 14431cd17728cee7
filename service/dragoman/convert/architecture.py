"""The architecture that the graphs have: its sizes, its positions, and how its weights are named.

A pre-norm Transformer encoder-decoder (Vaswani et al., 2017) with RMSNorm, ReLU, sinusoidal positions, no biases and
one embedding table. Weights go by these names, each matrix (out, in), as checkpoints have them:

    embedding.weight                                              (V, D)
    encoder.I.{attention_norm,feed_forward_norm}.weight           (D,)
    encoder.I.attention.{query,key,value,output}.weight           (D, D)
    encoder.I.feed_forward.{up,down}.weight                       (F, D), (D, F)
    encoder_norm.weight, decoder_norm.weight                      (D,)
    decoder.I...                                                  as encoder.I, and
    decoder.I.cross_norm.weight, decoder.I.cross.{query,...}.weight
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Weights = dict[str, Float]
EPSILON = 1e-6  # of every normalisation


@dataclass(frozen=True)
class Shape:
    """The sizes of a network; stored with every checkpoint."""

    vocabulary: int
    width: int
    feed_forward: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    max_positions: int

    def to_dict(self) -> dict[str, int]:
        """Return the sizes as plain numbers, for a checkpoint or a manifest."""
        return asdict(self)

    @property
    def layers(self) -> list[str]:
        """Return the names of all layers, the encoder's first."""
        encoder = [f"encoder.{index}" for index in range(self.encoder_layers)]
        return encoder + [f"decoder.{index}" for index in range(self.decoder_layers)]

    @property
    def attention_scale(self) -> float:
        """Return what products of queries and keys are multiplied with."""
        return 1 / math.sqrt(self.width // self.heads)


def sinusoids(positions: int, width: int) -> Float:
    """Return the fixed position table, (positions, width): sines first, then cosines.

    Computed in 64 bits and rounded, so that it is the same on every machine.
    """
    exponents = np.arange(width // 2, dtype=np.float32) * np.float32(-math.log(10_000) / (width // 2 - 1))
    rates = np.exp(exponents.astype(np.float64)).astype(np.float32)
    angles = (np.arange(positions, dtype=np.float32)[:, None] * rates).astype(np.float64)  # (P, D/2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)  # (P, D)


def graph_weights(weights: Weights, shape: Shape) -> Weights:
    """Return the weights as the graphs use them: (in, out), products that share an input side by side."""
    scale = np.float32(shape.attention_scale)  # folded into the queries
    graph: Weights = {"embedding": weights["embedding.weight"].T}
    for name, weight in weights.items():
        if weight.ndim == 1:
            graph[name] = weight
        elif name.endswith((".output.weight", ".up.weight", ".down.weight")):
            graph[name] = weight.T
    for layer in shape.layers:
        query, key, value = (
            weights[f"{layer}.attention.{part}.weight"] for part in ("query", "key", "value")
        )
        graph[f"{layer}.attention.qkv"] = np.concatenate([query * scale, key, value]).T
    cross = [f"decoder.{index}.cross" for index in range(shape.decoder_layers)]
    for name in cross:
        graph[f"{name}.query.weight"] = weights[f"{name}.query.weight"].T * scale
    parts = [weights[f"{name}.{part}.weight"] for name in cross for part in ("key", "value")]
    graph["cross.kv"] = np.concatenate(parts).T
    return {name: np.ascontiguousarray(weight) for name, weight in graph.items()}
