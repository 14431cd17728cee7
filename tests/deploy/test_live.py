"""A real Prometheus reads a real server under load: every panel, rule and metric of the autoscaler has something to say."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.deploy.live import Files, Load, Prometheus, prometheus, server
from tests.deploy.manifests import read
from tests.deploy.queries import alerts, panels, recording_rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
_PATIENCE_SECONDS = 80.0
# What Grafana would fill in.
_VARIABLES = {"$namespace": "test|other", "$pod": ".*", "$__rate_interval": "10s"}


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Return a Prometheus that watches a busy server."""
    require_tool("prometheus")  # before the server is started in vain
    folder: Path = tmp_path_factory.mktemp("live")
    files = Files(folder)
    with (
        server(folder, files) as (port, metrics_port),
        prometheus(folder, metrics_port) as running,
        Load(port, files),
    ):
        yield running


def filled_in(expression: str) -> str:
    """Return a panel's expression as Grafana would send it."""
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def has_a_value(watching: Prometheus, expression: str) -> bool:
    """Tell whether an expression has a value other than zero."""
    return any(value != 0 and math.isfinite(value) for value in watching.values(expression))


def test_every_query_has_a_value(watching: Prometheus) -> None:
    """
    Every panel, every recorded series and the autoscaler's query return a value other than zero at some moment of a load.
    """
    [adapter] = read("components/autoscaling/adapter-rules.yaml")["rules"]
    scaling = adapter["metricsQuery"].replace("<<.Series>>", adapter["seriesQuery"].split('"')[1])
    scaling = scaling.replace("<<.LabelMatchers>>", 'namespace="test"').replace("<<.GroupBy>>", "pod")
    shown = {title: filled_in(query) for title, query in panels()}
    silent = {"autoscaler": scaling, **{name: name for name in recording_rules()}, **shown}

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while silent and time.monotonic() < deadline:
        silent = {name: query for name, query in silent.items() if not has_a_value(watching, query)}
        time.sleep(0.5)

    assert {} == silent


def test_every_rule_is_healthy(watching: Prometheus) -> None:
    """
    Prometheus evaluates all rules and alerts without an error, and a server that answers is not called down.
    """
    time.sleep(2)  # each has been evaluated then
    rules = {rule["name"]: rule for group in watching.get("rules")["groups"] for rule in group["rules"]}

    assert recording_rules().keys() | alerts().keys() == rules.keys()
    assert {"ok"} == {rule["health"] for rule in rules.values()}
    # One late answer makes an alert pending; that is what its minutes are for.
    assert "firing" not in {rules[name]["state"] for name in ("DragomanTargetDown", "DragomanAbsent")}
