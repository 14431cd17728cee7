"""Rules, alerts, runbook and dashboard: everything but running them, which test_live.py does."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dragoman.config import Settings
from tests.conftest import require_tool
from tests.deploy.manifests import DEPLOY, ROOT, read, rendered
from tests.deploy.queries import (
    FOREIGN,
    alerts,
    dashboard,
    exported,
    panels,
    recording_rules,
    series_of,
)

MONITORING = DEPLOY / "monitoring"
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
EXPRESSIONS = {
    **recording_rules(),
    **{name: rule["expr"] for name, rule in alerts().items()},
    **dict(panels()),
}


@pytest.mark.parametrize(
    ("expression", "series"),
    [
        ('sum by (le, pod) (rate(a_bucket{x="b and c",y=~"$d"}[$__rate_interval])) / e', {"a_bucket", "e"}),
        ("(f > 14.4 * 0.001 and on (pod) g:h:rate5m) or 0 * max(i)", {"f", "g:h:rate5m", "i"}),
    ],
)
def test_series_of(expression: str, series: set[str]) -> None:
    """
    The series of an expression are told from its functions, labels, strings and keywords.
    """
    assert series == series_of(expression)


def test_series_exist() -> None:
    """
    Rules, alerts and panels read what the server exports, what the rules record, and a short list of other things.
    """
    read_by_us = {name for expression in EXPRESSIONS.values() for name in series_of(expression)}

    assert set() == read_by_us - exported() - recording_rules().keys() - FOREIGN


def test_everything_recorded_is_read() -> None:
    """
    No rule is evaluated for nobody.
    """
    adapter = read("components/autoscaling/adapter-rules.yaml")["rules"][0]["seriesQuery"]
    read_by_us = {name for expression in EXPRESSIONS.values() for name in series_of(expression)}

    assert set() == {name for name in recording_rules().keys() - read_by_us if name not in adapter}


def test_promtool_accepts_the_rules() -> None:
    """
    Prometheus' own tool finds no fault with the rule files, duplicates included.
    """
    files = sorted(MONITORING.glob("rules/*.yaml"))
    command = [require_tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *map(str, files)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("file", sorted(MONITORING.glob("tests/*.yaml")), ids=lambda file: file.stem)
def test_promtool_runs_the_tests(file: Path) -> None:
    """
    Rules and alerts answer as their own tests say.
    """
    command = [require_tool("promtool"), "test", "rules", str(file)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    """
    Some promtool test makes each alert fire.
    """
    cases = [
        case
        for file in MONITORING.glob("tests/*.yaml")
        for test in read(f"monitoring/tests/{file.name}")["tests"]
        for case in test.get("alert_rule_test", [])
    ]

    assert alerts().keys() == {case["alertname"] for case in cases if case["exp_alerts"]}


@pytest.mark.parametrize("name", alerts())
def test_runbook(name: str) -> None:
    """
    Each alert has its entry in the runbook, links to it, and says whether to wake somebody.
    """
    alert = alerts()[name]

    entry = re.search(rf"^## {name}\n(.+?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)

    assert re.fullmatch(rf"https://[^\s#]+#{name.lower()}", alert["annotations"]["runbook_url"])
    assert entry is not None
    assert all(f"**{part}**" in entry[1] for part in ("Means.", "Look.", "Do."))
    assert alert["labels"]["severity"] in ("page", "ticket")


def test_runbook_lies_elsewhere(tmp_path: Path) -> None:
    """
    `make rules RUNBOOK_URL=...` makes every alert point to one's own copy of the runbook, in the rules, their tests and for Kubernetes.
    """
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(MONITORING, tmp_path / "deploy/monitoring")
    base = "https://wiki.example.org/on-call/dragoman?view=plain&x=1"

    subprocess.run(["make", "--silent", "rules", f"RUNBOOK_URL={base}"], check=True, cwd=tmp_path)

    def urls(file: Path) -> list[str]:
        return re.findall(r"runbook_url: (\S+)", file.read_text("utf-8"))

    monitoring = tmp_path / "deploy/monitoring"
    expected = [f"{base}#{name.lower()}" for name in alerts()]
    assert expected == urls(monitoring / "rules/alerts.yaml") == urls(monitoring / "prometheus-rules.yaml")
    tested = {url for file in monitoring.glob("tests/*.yaml") for url in urls(file)}
    assert set(expected) == tested
    rules = str(monitoring / "rules/alerts.yaml")
    done = subprocess.run(
        [require_tool("promtool"), "check", "rules", rules], capture_output=True, check=False
    )
    assert 0 == done.returncode


def test_runbook_has_no_other_alerts() -> None:
    """
    An alert that is gone is gone from the runbook, too.
    """
    assert alerts().keys() == set(re.findall(r"^## (Dragoman\w+)$", RUNBOOK, re.MULTILINE))


def test_half_a_queue() -> None:
    """
    The alert on the queue's depth goes off at half of the default limit.
    """
    assert alerts()["DragomanQueueFills"]["expr"].endswith(f"> {Settings().max_queued_sentences // 2}")


def test_the_dashboard_knows_the_rows() -> None:
    """
    The panel of the batches names the default number of rows.
    """
    shown = read("monitoring/dashboard.json")["panels"]
    [panel] = [panel for panel in shown if panel.get("title") == "Sentences in the batches"]

    assert f"({Settings().max_running_sentences})" in panel["description"]


def test_kubernetes_gets_the_same_rules() -> None:
    """
    The PrometheusRules are the plain rule files (`make rules`), and the dashboard is the plain dashboard.
    """
    overlay = rendered("production")
    rules = {item["metadata"]["name"]: item["spec"] for item in overlay.all("PrometheusRule")}
    [shown] = [item["data"] for item in overlay.all("ConfigMap") if "dashboard.json" in item["data"]]

    expected = {f"dragoman-{name}": read(f"monitoring/rules/{name}.yaml") for name in ("recording", "alerts")}
    assert expected == rules
    assert (MONITORING / "dashboard.json").read_text("utf-8") == shown["dashboard.json"]


def test_dashboard_has_its_rows() -> None:
    """
    The dashboard goes from what callers feel to what explains it, and each panel says how to read it.
    """
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    others = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]

    assert ["Traffic", "Latency", "Queue", "Batch", "Tokens", "Errors", "Saturation", "Model"] == rows
    assert [] == [panel["title"] for panel in others if not panel["description"] or not panel["targets"]]
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
