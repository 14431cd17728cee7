"""Which series a PromQL expression reads, and which the server exports."""

import json
import re
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry

from dragoman.observability.metrics import Metrics
from tests.deploy.manifests import DEPLOY, read

# Of Prometheus itself, the kubelet, kube-state-metrics, and the component edge-proxy (test_edge_proxy.py).
FOREIGN = {
    "up", "container_memory_working_set_bytes", "kube_pod_container_resource_limits",
    "haproxy_frontend_requests_denied_total", "haproxy_frontend_denied_connections_total",
}  # fmt: skip
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_NO_SERIES = (
    r'"[^"]*"',  # strings
    r"\{[^{}]*\}",  # matchers
    r"\[[^\]]*\]",  # ranges
    r"\b(?:by|on|without|ignoring)\s*\([^)]*\)",  # labels
)
_KEYWORDS = {"and", "or", "unless", "by", "bool", "offset"}


def series_of(expression: str) -> set[str]:
    """Return the names of the series that an expression reads."""
    for pattern in _NO_SERIES:
        expression = re.sub(pattern, " ", expression)
    names: set[str] = set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*(?!\w*\s*\()", expression))
    return names - _KEYWORDS


def exported() -> set[str]:
    """Return the names of all series that the server exports."""
    families = Metrics(CollectorRegistry()).registry.collect()
    return {family.name + suffix for family in families for suffix in _SUFFIXES[family.type]}


def recording_rules() -> dict[str, str]:
    """Return the expression of each recorded series."""
    groups = read("monitoring/rules/recording.yaml")["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    groups = read("monitoring/rules/alerts.yaml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    found: dict[str, Any] = json.loads((DEPLOY / "monitoring/dashboard.json").read_text("utf-8"))
    return found


def panels() -> Iterator[tuple[str, str]]:
    """Yield title and expression of every query of the dashboard."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]
