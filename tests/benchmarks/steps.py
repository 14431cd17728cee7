"""Part (d): where the time of a step goes, and how far its products are from the machine's limit.

    make bench ARGS="-k steps"        python -m tests.benchmarks.steps [--scale 0.1]

The limit is the best rate, in multiply-adds a second, of one large int8 product in the same runtime on the same core. Beside it
stand the products of the encoder and of a decoder step, and the time of all other operators, from onnxruntime's own
profile; and, for sentences through the whole loop, what share of the time is spent outside both graphs: in Python.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from prometheus_client import CollectorRegistry

from dragoman import bundle
from dragoman.batching.decode_pool import DecodePool
from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.queue_limits import QueueLimits
from dragoman.bundle import Bundle
from dragoman.engine.model_runner import ModelRunner
from dragoman.engine.sessions import Sessions, open_sessions
from dragoman.observability.metrics import Metrics
from dragoman.text.tokenizer import Tokenizer
from tests.benchmarks import corpus, measure
from tests.benchmarks.measure import Plan

ROWS, GROUPS, RUNS, LARGE, SENTENCES = (1, 8, 32, 64), (1, 8), 200, 1024, 1000
SOURCE, PLACE = 32, 16  # pieces read, pieces written so far, of every row
PRODUCTS = {"MatMulIntegerToFloat", "QLinearMatMul"}
NUMBERS = {"tensor(float)": np.float32, "tensor(int8)": np.int8}
Feeds = dict[str, npt.NDArray[Any]]


def measured(plan: Plan) -> dict[str, Any]:
    """Return the figures of one core."""
    checked = bundle.load(plan.bundle)
    runs = plan.count(RUNS, 5)
    with measure.pinned(measure.cores_of(1)), tempfile.TemporaryDirectory() as folder:
        peak = _peak(runs, Path(folder))
        graphs = [_profile(checked, bundle.ENCODER, count, runs, peak, Path(folder)) for count in GROUPS]
        graphs += [_profile(checked, bundle.DECODER, rows, runs, peak, Path(folder)) for rows in ROWS]
        return {
            "cores": 1,
            "peak_giga_multiply_adds_per_second": round(peak / 1e9, 1),
            "pieces": {"source": SOURCE, "written": PLACE},
            "graphs": graphs,
            "loop": _shares(plan, checked),
        }


def _options(profile: Path) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return options


def _peak(runs: int, folder: Path) -> float:
    """Return the multiply-adds a second of one large int8 product."""
    weight = np.random.default_rng(1).integers(-63, 64, (LARGE, LARGE)).astype(np.int8)
    constants = {"scale": np.float32(0.1), "zero": np.uint8(128), "weight": weight, "none": np.int8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "none"], ["w"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [LARGE, LARGE]) for name in "xy")
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = _options(folder / "peak")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = np.random.default_rng(2).normal(size=(LARGE, LARGE)).astype(np.float32)
    for _ in range(max(5, runs // 4)):
        session.run(None, {"x": given})
    return LARGE**3 / (min(micros for kind, micros in _kernels(session) if kind in PRODUCTS) / 1e6)


def _kernels(session: onnxruntime.InferenceSession) -> list[tuple[str, float]]:
    """End a profile; return the kind and the microseconds of everything it saw, in order."""
    events = json.loads(Path(session.end_profiling()).read_text())
    return [
        (event["args"]["op_name"], event["dur"]) for event in events if event["name"].endswith("_kernel_time")
    ]


def _profile(checked: Bundle, name: str, rows: int, runs: int, peak: float, folder: Path) -> dict[str, Any]:
    """Return what a graph costs by kind of operator."""
    options = _options(folder / name)
    session = onnxruntime.InferenceSession(checked.path(name), options, providers=["CPUExecutionProvider"])
    is_encoder = name == bundle.ENCODER
    run = _encode(session, rows) if is_encoder else _step(session, checked, rows)
    for _ in range(runs):
        run()
    per_run = _medians(_kernels(session), runs)
    products = sum(per_run.get(kind, 0.0) for kind in PRODUCTS)
    multiplied = _multiply_adds(checked.path(name)) * rows * (SOURCE if is_encoder else 1)
    rate = multiplied / (products / 1000)
    return {
        "graph": name.removesuffix(".onnx"),
        "rows": rows,
        "milliseconds": round(sum(per_run.values()), 3),
        "million_multiply_adds": round(multiplied / 1e6, 1),
        "products": {
            "milliseconds": round(products, 3),
            "giga_multiply_adds_per_second": round(rate / 1e9, 1),
            "share_of_peak": round(rate / peak, 2),
        },
        "whole_share_of_peak": round(multiplied / (sum(per_run.values()) / 1000) / peak, 2),
        "operators_milliseconds": {kind: round(value, 3) for kind, value in per_run.items()},
    }


def _medians(kernels: list[tuple[str, float]], runs: int) -> dict[str, float]:
    """Return the milliseconds of a run by kind of operator, most first: the sums of each operator's median."""
    count = len(kernels) // runs
    found: dict[str, float] = defaultdict(float)
    for place in range(count):
        kind, _ = kernels[place]
        found[kind] += statistics.median(micros for _, micros in kernels[place::count]) / 1000
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _multiply_adds(path: Path) -> int:
    """Return the multiply-adds of all products with a weight, for one row."""
    graph = onnx.load(path, load_external_data=False).graph
    sizes = {item.name: int(np.prod(item.dims)) for item in graph.initializer if len(item.dims) == 2}
    names = {node.output[0]: node.input[0] for node in graph.node if len(node.output) == 1 and node.input}
    found = 0
    for node in graph.node:
        if node.op_type == "MatMul":
            name = node.input[1]
            while name not in sizes and name in names:  # behind its DequantizeLinear, and a Transpose
                name = names[name]
            found += sizes.get(name, 0)
    return found


def _encode(session: onnxruntime.InferenceSession, sentences: int) -> Callable[[], object]:
    total = sentences * SOURCE
    feeds: Feeds = {
        "source": np.random.default_rng(3).integers(300, 8000, total),
        "row": np.repeat(np.arange(sentences), SOURCE),
        "place": np.tile(np.arange(SOURCE), sentences),
        "slots": np.arange(total).reshape(sentences, SOURCE),
        "source_length": np.full(sentences, SOURCE),
    }
    return lambda: session.run(None, feeds)


def _step(session: onnxruntime.InferenceSession, checked: Bundle, rows: int) -> Callable[[], object]:
    """Bind a step as the runner does, with the caches where they lie."""
    shape = checked.manifest.shape
    random, binding = np.random.default_rng(4), session.io_binding()
    per_row = (rows, shape["heads"], 64, shape["width"] // shape["heads"])
    read: Feeds = {
        "token": random.integers(300, 8000, rows),
        "position": np.full(rows, PLACE, np.int32),
        "source_length": np.full(rows, SOURCE, np.int32),
        "num_top": np.array([0]),
    }
    written: Feeds = {
        "log_probabilities": np.zeros((rows, shape["vocabulary"]), np.float32),
        "attention": np.zeros((rows, per_row[2]), np.float32),
    }
    for item in session.get_inputs():
        if item.name not in read:
            kept = random.normal(size=per_row, scale=30).astype(NUMBERS[item.type])
            read[item.name] = written[f"new_{item.name}"] = kept
    for bind, arrays in ((binding.bind_input, read), (binding.bind_output, written)):
        for name, array in arrays.items():
            bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(_kept: tuple[Feeds, Feeds] = (read, written)) -> None:  # a binding keeps addresses only
        session.run_with_iobinding(binding)

    return run


class _Timed:
    """A session that notes how long its runs take."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return self._noting(found) if name.startswith("run") else found

    def _noting(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            began = time.perf_counter()
            try:
                return run(*given)
            finally:
                self.seconds += time.perf_counter() - began

        return noted


def _shares(plan: Plan, checked: Bundle) -> list[dict[str, Any]]:
    """Return which share of a loop's time is spent in each graph, and outside."""
    tokenizer = Tokenizer.from_file(checked.path(bundle.TOKENIZER))
    sentences = corpus.encode(corpus.texts(plan.count(SENTENCES, 24)), tokenizer)
    found = []
    for rows in (1, 64):
        opened = open_sessions(checked, 1)
        encoder, decoder = _Timed(opened.encoder), _Timed(opened.decoder)
        runner = ModelRunner(Sessions(encoder, decoder), checked.manifest.shape)
        pool = DecodePool(
            [runner], QueueLimits(), Metrics(CollectorRegistry()), max_running=rows, max_batch_tokens=32_768
        )
        pool.start()
        some = sentences if rows > 1 else sentences[: max(12, len(sentences) // 10)]
        _written(pool, some)  # the system hands out memory slowly, once
        encoder.seconds = decoder.seconds = 0.0
        began = time.perf_counter()
        written = _written(pool, some)
        whole = time.perf_counter() - began
        pool.close()
        shares = {"encoder": encoder.seconds / whole, "decoder": decoder.seconds / whole}
        shares["python"] = 1 - sum(shares.values())
        found.append(
            {
                "rows": rows,
                "source_tokens": sum(len(one.ids) for one in some),
                "target_tokens": written,
                "shares": {name: round(share, 3) for name, share in shares.items()},
            }
        )
    return found


def _written(pool: DecodePool, sentences: list[corpus.Sentence]) -> int:
    """Translate sentences, and return how many pieces are written."""
    requests = [
        DecodeRequest(one.ids, max_tokens=one.limit, shift=0, wants_attention=False) for one in sentences
    ]
    pool.submit(requests)
    return sum(len(decode_request.future.result().best.tokens) for decode_request in requests)


def main() -> None:
    """Read the command line and measure."""
    plan = measure.plan("steps", __doc__, sys.argv[1:])
    plan.write(measured(plan))


if __name__ == "__main__":
    main()
