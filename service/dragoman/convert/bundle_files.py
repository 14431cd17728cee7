"""The files of a bundle that hold the network: both graphs and their weights."""

from __future__ import annotations

from pathlib import Path

from dragoman import bundle
from dragoman.bundle import AlignmentHead
from dragoman.convert import onnx_graphs
from dragoman.convert.onnx_builder import Model, WeightFile


def write(model: Model, head: AlignmentHead, folder: Path) -> None:
    """Write both graphs and the weights that they share into a folder."""
    weights = WeightFile()
    encoder = onnx_graphs.encoder(model, weights)
    decoder = onnx_graphs.decoder(model, weights, (head.layer, head.head))
    (folder / bundle.ENCODER).write_bytes(encoder)
    (folder / bundle.DECODER).write_bytes(decoder)
    (folder / bundle.WEIGHTS).write_bytes(weights.to_bytes())
