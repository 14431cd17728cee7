"""Sessions of ONNX Runtime for the two graphs of a bundle."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dragoman.bundle import DECODER, ENCODER, WEIGHTS, Bundle
from dragoman.errors import BundleError

# Since 1.29, onnxruntime sends telemetry unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

Binding = onnxruntime.IOBinding


@dataclass(frozen=True)
class Sessions:
    """Both graphs of a model, with one copy of its weights. Any number of runners may share them."""

    encoder: onnxruntime.InferenceSession
    decoder: onnxruntime.InferenceSession


def open_sessions(bundle: Bundle, threads: int) -> Sessions:
    """Open both graphs.

    Args:
        threads: Processor threads of each run, including the caller's own.

    Raises:
        BundleError: The graphs are intact but this runtime cannot run them.
    """
    try:
        weights = bundle.read(WEIGHTS)
        return Sessions(*(_open(bundle.read(graph), weights, threads) for graph in (ENCODER, DECODER)))
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds, all of which mean the same here
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise BundleError(f"bundle {bundle.folder}: onnxruntime cannot load it: {first_line}") from None


def _open(graph: bytes, weights: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # By default, onnxruntime maps the file into memory, and writing to it in place would kill the process (SIGBUS).
    options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = (
        3  # errors only: its warnings about graph optimisation do not help an operator
    )
    # Spinning threads would use up the processor time that the container is limited to.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
