"""What a scrape shows: every promised name, a bounded number of series, figures that are really fed."""

import contextlib
import subprocess
from typing import Any

import grpc
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dragoman.observability.metrics import METHODS, SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.conftest import require_tool
from tests.rpc.contract import align_request, pair, refused, request
from tests.servers import Running, running, until

# The promise of the product; `cache_requests` is not among them, for there is no cache.
PROMISED = {
    "grpc_server_started": "counter", "grpc_server_handled": "counter", "grpc_server_handling_seconds": "histogram",
    "dragoman_queue_wait_seconds": "histogram", "dragoman_queue_depth": "gauge",
    "dragoman_running_sentences": "gauge", "dragoman_batch_rows": "histogram",
    "dragoman_batch_tokens": "histogram", "dragoman_padding_ratio": "gauge",
    "dragoman_decode_step_seconds": "histogram", "dragoman_stage_seconds": "histogram",
    "dragoman_source_tokens": "counter", "dragoman_target_tokens": "counter", "dragoman_characters": "counter",
    "dragoman_rejected": "counter", "dragoman_cancelled": "counter", "dragoman_wasted_target_tokens": "counter",
    "dragoman_fidelity_flags": "counter", "dragoman_model_info": "gauge", "dragoman_model_load_seconds": "gauge",
    "dragoman_threads": "gauge", "dragoman_cpu_limit_cores": "gauge", "process_resident_memory_bytes": "gauge",
}  # fmt: skip
# About half of them are calls, by method, code and time.
MOST_SERIES = 403
HOSTILE = ("", "xx", "de", "en\n", 'en"} 1', "x" * 1000, "\u202een", "en-fr", "../en", "%s", "EN", "es_419")


def series(server: Running) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return name and labels of every series of a scrape."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in server.metrics.registry.collect()
        for sample in family.samples
    }


async def odd_traffic(server: Running) -> None:
    """Send what nobody should: hostile languages, models and methods, bytes that are no message."""
    calls: list[Any] = []
    for text in HOSTILE:
        calls += [
            server.stub.Translate(request("Hi.", source=text, target="fr")),
            server.stub.Translate(request("Hi.", target=text, model=text)),
            server.stub.Align(align_request(pair(), model=text)),
        ]
    for number in range(20):
        method = server.channel.unary_unary(f"/{SERVICE}/Nonsense{number}")
        other = server.channel.unary_unary(f"/made.up.Service{number}/Translate")
        calls += [method(b""), other(b""), server.channel.unary_unary(f"/{SERVICE}/Translate")(b"\xff")]
    calls += [server.stub.Translate(request("Hi. " * 500), timeout=0.05)]
    for call in calls:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call


async def test_series_are_bounded() -> None:
    """
    Whatever is sent, no series is added to those that exist from the start, and of these there are at most 401.
    """
    async with running() as server:
        before = series(server)

        await odd_traffic(server)
        await server.stub.Translate(request("Hello."), metadata=(("x-request-id", "made-up"),))

        assert set() == series(server) - before
        assert len(before) <= MOST_SERIES
        assert server.value("dragoman_rejected_total", reason="INVALID_LANGUAGE_CODE") >= 5


async def test_promises() -> None:
    """
    Every name that the product promises is exported, with its type, and explained; no counter has a time of birth.
    """
    async with running() as server:
        text = generate_latest(server.metrics.registry).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert PROMISED.items() <= {name: family.type for name, family in families.items()}.items()
    assert [] == [name for name, family in families.items() if not family.documentation]
    assert "_created" not in text
    assert families["process_resident_memory_bytes"].samples[0].value > 10_000_000


async def test_promtool_accepts_them() -> None:
    """
    Prometheus' own tool finds no fault with names, units and help texts after some traffic.
    """
    tool = require_tool("promtool")
    async with running() as server:
        await server.stub.Translate(request("Hello."))
        await odd_traffic(server)
        scrape = generate_latest(server.metrics.registry)

    done = subprocess.run(
        [tool, "check", "metrics"], input=scrape, capture_output=True, check=False, timeout=30
    )

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


async def test_batches_are_measured() -> None:
    """
    What the loops read and wrote adds up: a piece for each row of each step, and every piece of every source.
    """
    async with running(decode_loops="1") as server:
        await server.stub.Translate(
            request("Hi.", "The cat sat on the mat, and slept until the morning came.")
        )
        await until(lambda: 0 == server.value("dragoman_running_sentences"))
        read = server.value("dragoman_source_tokens_total", pair="en-fr")

        def all_pieces() -> bool:  # the reply comes before the last step is counted
            return read + server.value("dragoman_batch_rows_sum") == server.value("dragoman_batch_tokens_sum")

        await until(all_pieces)
        assert 0 < server.value("dragoman_padding_ratio") < 1


async def test_doubts_are_counted() -> None:
    """
    Every flag of a reply is one more of its kind.
    """
    cut = pb.DecodingOptions(max_target_tokens=1)
    async with running() as server:
        reply = await server.stub.Translate(request("The cat sat.", "The dog ran.", decoding=cut))

        flags = [flag.kind for translation in reply.translations for flag in translation.flags]
        assert [pb.FLAG_KIND_TARGET_CUT] * 2 == flags
        assert 2.0 == server.value("dragoman_fidelity_flags_total", flag="target_cut")


async def test_unknown_methods_are_not_counted() -> None:
    """
    A method that is not of the contract leaves no trace; those that are exist from the start.
    """
    async with running() as server:
        code = (await refused(server.channel.unary_unary(f"/{SERVICE}/Nonsense")(b"")))[0]

        methods = {
            dict(labels)["grpc_method"]
            for name, labels in series(server)
            if name == "grpc_server_started_total"
        }
        assert "UNIMPLEMENTED" == code
        assert set(METHODS) == methods
