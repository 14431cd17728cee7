"""The weights of a bundle, converted back to those of the network.

What *export* did, in the other direction: products that were joined are parted, what was rounded to 8 bits is
scaled back. So a training whose checkpoints are lost, or were never published, goes on from what serves.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from dragoman import bundle
from dragoman.bundle import Bundle
from dragoman.convert.architecture import Shape
from dragoman.convert.onnx_builder import EMBEDDING

Float = npt.NDArray[np.float32]


def weights_of(folder: Path) -> dict[str, Tensor]:
    """Return the float weights of a bundle; those of an int8 bundle differ from the trained by its rounding.

    Raises:
        BundleError: It is missing, truncated or altered.
    """
    found = bundle.load(folder)
    shape = Shape(**found.manifest.shape)
    joined = _joined(found)
    scale = math.sqrt(shape.width // shape.heads)  # of attention scores, which lies folded in the queries
    weights = {f"{EMBEDDING}.weight": joined.pop(EMBEDDING)}
    for index, part in enumerate(np.split(joined.pop("cross.kv"), 2 * shape.decoder_layers, axis=1)):
        weights[f"decoder.{index // 2}.cross.{('key', 'value')[index % 2]}.weight"] = part.T
    for name, array in joined.items():
        if name.endswith(".attention.qkv"):
            for kind, part in zip(("query", "key", "value"), np.split(array, 3, axis=1), strict=True):
                factor = scale if kind == "query" else 1
                weights[f"{name.removesuffix('qkv')}{kind}.weight"] = part.T * factor
        elif name.endswith(".cross.query.weight"):
            weights[name] = array.T * scale
        else:
            weights[name] = array.T  # of a vector: itself
    return {name: torch.from_numpy(np.array(array, np.float32)) for name, array in weights.items()}


def description_of(folder: Path) -> dict[str, Any]:
    """Return `shape` and `guided` of the network in a bundle, as a checkpoint has them.

    Raises:
        BundleError: It is missing, truncated or altered.
    """
    manifest = bundle.load(folder).manifest
    return {"shape": manifest.shape, "guided": manifest.training["config"]["guided"]}


def _joined(found: Bundle) -> dict[str, Float]:
    """Return the matrices and gains of both graphs in float, by the name they were exported under.

    Matrices are (in, out), but for the embedding, which lies by rows.
    """
    stored: dict[str, npt.NDArray[Any]] = {}
    for name in (bundle.ENCODER, bundle.DECODER):
        graph = onnx.load(str(found.path(name))).graph
        stored |= {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    joined: dict[str, Float] = {}
    for name, array in stored.items():
        base = name.removesuffix(".int8")
        if base != name:
            scales = stored[f"{base}.scale"]
            joined[base] = array * (scales[:, None] if base == EMBEDDING else scales)
        elif name == EMBEDDING or name.endswith((".weight", ".qkv", ".kv")):
            joined[name] = array
    return joined
