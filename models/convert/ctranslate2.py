"""Write a checkpoint as a CTranslate2 model: `python -m models.convert.ctranslate2 --output DIRECTORY`.

The same weights in another engine, for users of that engine and for side-by-side measurements. Tokens
are our pieces: encode with `dragoman.text`, put the target's tag first and `</s>` last.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import transformer_spec

from dragoman.convert.architecture import EPSILON, Weights, sinusoids
from dragoman.text.tokenizer import BOS_ID, EOS_ID, UNKNOWN_ID, Tokenizer
from models.convert.export import averaged_network, named_weights
from models.network.transformer import Transformer
from models.paths import PUBLISHED, tokenizer_path
from models.training import checkpoint


def to_spec(network: Transformer, tokenizer: Tokenizer) -> transformer_spec.TransformerSpec:
    """Return the specification that CTranslate2 serialises, with our weights in it."""
    shape = network.shape
    weights = named_weights(network)
    spec = transformer_spec.TransformerSpec.from_config(
        (shape.encoder_layers, shape.decoder_layers), shape.heads, pre_norm=True, rms_norm=True
    )
    for side in (spec.encoder, spec.decoder):
        side.position_encodings.encodings = sinusoids(shape.max_positions, shape.width)
    spec.encoder.embeddings[0].weight = weights["embedding.weight"]
    spec.decoder.embeddings.weight = weights["embedding.weight"]
    spec.decoder.projection.weight = weights["embedding.weight"]
    spec.encoder.layer_norm.gamma = weights["encoder_norm.weight"]
    spec.decoder.layer_norm.gamma = weights["decoder_norm.weight"]
    for index, layer in enumerate(spec.encoder.layer):
        name = f"encoder.{index}"
        _self_attention(layer.self_attention, name, weights)
        _feed_forward(layer.ffn, name, weights)
    for index, layer in enumerate(spec.decoder.layer):
        name = f"decoder.{index}"
        _self_attention(layer.self_attention, name, weights)
        _cross_attention(layer.attention, name, weights)
        _feed_forward(layer.ffn, name, weights)
    pieces = [tokenizer.piece(id_) for id_ in range(tokenizer.vocabulary_size)]
    spec.register_source_vocabulary(pieces)
    spec.register_target_vocabulary(pieces)
    spec.config.bos_token, spec.config.eos_token = pieces[BOS_ID], pieces[EOS_ID]
    spec.config.unk_token, spec.config.decoder_start_token = pieces[UNKNOWN_ID], pieces[BOS_ID]
    spec.config.layer_norm_epsilon = EPSILON
    spec.config.add_source_bos = spec.config.add_source_eos = False
    return spec


def _self_attention(spec: Any, name: str, weights: Weights) -> None:
    parts = [weights[f"{name}.attention.{part}.weight"] for part in ("query", "key", "value")]
    spec.layer_norm.gamma = weights[f"{name}.attention_norm.weight"]
    spec.linear[0].weight = np.concatenate(parts)
    spec.linear[1].weight = weights[f"{name}.attention.output.weight"]


def _cross_attention(spec: Any, name: str, weights: Weights) -> None:
    spec.layer_norm.gamma = weights[f"{name}.cross_norm.weight"]
    spec.linear[0].weight = weights[f"{name}.cross.query.weight"]
    spec.linear[1].weight = np.concatenate(
        [weights[f"{name}.cross.{part}.weight"] for part in ("key", "value")]
    )
    spec.linear[2].weight = weights[f"{name}.cross.output.weight"]


def _feed_forward(spec: Any, name: str, weights: Weights) -> None:
    spec.layer_norm.gamma = weights[f"{name}.feed_forward_norm.weight"]
    spec.linear_0.weight = weights[f"{name}.feed_forward.up.weight"]
    spec.linear_1.weight = weights[f"{name}.feed_forward.down.weight"]


def write(state: dict[str, Any], tokenizer: Tokenizer, folder: Path, quantization: str | None) -> None:
    """Write the model's directory, replacing what is there."""
    spec = to_spec(averaged_network(state), tokenizer)
    spec.validate()
    if quantization is not None:
        spec.optimize(quantization)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description="Write a checkpoint as a CTranslate2 model.")
    parser.add_argument(
        "--checkpoint", type=Path, default=PUBLISHED, help="or weights (default: the published ones)"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quantization", choices=sorted(ctranslate2.specs.model_spec.ACCEPTED_MODEL_TYPES))
    arguments = parser.parse_args()
    try:
        state = checkpoint.trained(arguments.checkpoint)
        write(state, Tokenizer.from_file(tokenizer_path()), arguments.output, arguments.quantization)
    except (checkpoint.CheckpointError, OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{arguments.output}: CTranslate2 {ctranslate2.__version__}, {arguments.quantization or 'float32'}")


if __name__ == "__main__":
    main()
