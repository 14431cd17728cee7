"""The series that dashboards rely on."""

import re

from prometheus_client import generate_latest

from dragoman.observability.metrics import METHODS, REASONS, SERVICE, Metrics
from dragoman.types import FlagKind

OURS = ("dragoman_", "grpc_server_")
STANDARD = ("process_", "python_")  # collectors of the client library, under the names that dashboards expect
BASE_UNITS = (
    "_ratio",
    "_batch_tokens",
    "_seconds",
    "_total",
    "_info",
    "_rows",
    "_depth",
    "_sentences",
    "_cores",
    "_threads",
    "_successful",  # the usual name of whether a reload went well
)


def names(metrics: Metrics) -> set[str]:
    """Return the names of all series, as a scrape shows them."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {re.split(r"[ {]", line)[0] for line in lines if not line.startswith("#")}


def test_names(metrics: Metrics) -> None:
    """
    Every series has our prefix, that of the usual middleware or that of the process, and a base unit.
    """
    for name in names(metrics):
        bare = re.sub(r"_(bucket|sum|count)$", "", name)
        assert bare.startswith((*OURS, *STANDARD)), name
        assert bare.endswith(BASE_UNITS) or bare.startswith(STANDARD), name


def test_known_labels_start_at_zero(metrics: Metrics) -> None:
    """
    A rate can be taken of the first event: series whose labels are known beforehand exist from the start.
    """
    value = metrics.registry.get_sample_value
    for method in METHODS:
        kind = "bidi_stream" if method.startswith("Stream") else "unary"
        labels = {"grpc_type": kind, "grpc_service": SERVICE, "grpc_method": method}
        assert 0.0 == value("grpc_server_started_total", labels)
        assert 0.0 == value("grpc_server_handled_total", {**labels, "grpc_code": "RESOURCE_EXHAUSTED"})
        assert 0.0 == value("grpc_server_handling_seconds_count", labels)
    for reason in REASONS:
        assert 0.0 == value("dragoman_rejected_total", {"reason": reason})
    for doubt in set(FlagKind) - {FlagKind.OTHER}:  # which is a client's word
        assert 0.0 == value("dragoman_fidelity_flags_total", {"flag": doubt.value})


def test_pairs_start_at_zero(metrics: Metrics) -> None:
    """
    So do the counters of a direction, once it is known to be served.
    """
    metrics.add_pair("en-fr")

    for name in ("source_tokens", "target_tokens", "characters"):
        assert 0.0 == metrics.registry.get_sample_value(f"dragoman_{name}_total", {"pair": "en-fr"})


def test_every_metric_is_explained(metrics: Metrics) -> None:
    """
    Every series has a help text.
    """
    assert not [family.name for family in metrics.registry.collect() if len(family.documentation) < 10]
