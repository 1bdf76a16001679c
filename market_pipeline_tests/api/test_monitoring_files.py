"""deploy/prometheus and deploy/grafana, by Prometheus's own tool and against the real /metrics."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.testclient import TestClient

from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.serving import store_day
from market_pipeline_tests.canaries import KEY
from market_pipeline_tests.dagster_records import beat

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "market_pipeline.json"
# Prometheus adds these to what it scrapes.
TARGET = {"job", "instance"}
ALERT = {"alertname", "alertstate"}

_METRIC = re.compile(r"(?<![\w$])(market_pipeline_\w+|up|ALERTS)\b(?:\{([^}]*)\})?(?!\()")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*([\"'])(.*?)\3")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")

# The values of each label of each metric.
Labels = dict[str, dict[str, set[str]]]


@pytest.mark.parametrize("arguments", [
    ["check", "config", "prometheus.yml"],
    # The token's file is written when the container starts.
    ["check", "config", "--syntax-only", "compose.yml"],
    ["test", "rules", "rules_test.yml"],
], ids=lambda arguments: arguments[-1])
def test_promtool_accepts_the_files_and_the_alerts_fire_when_they_should(arguments: list[str]) -> None:
    promtool = shutil.which("promtool") or pytest.skip("there is no promtool here")
    done = subprocess.run(
        [promtool, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text("utf-8"))["groups"][0]["rules"]
    tests = (DEPLOY / "prometheus" / "rules_test.yml").read_text("utf-8")
    assert [rule["alert"] for rule in rules if rule["alert"] not in tests] == []


def test_rules_and_dashboard_use_metrics_labels_and_values_of_the_real_metrics(
    database: Database, instance: dg.DagsterInstance, api: Callable[..., TestClient]
) -> None:
    plan = {"coingecko_plan": "demo", "coingecko_api_key": KEY, "coingecko_requests_per_minute": 30}
    client = api(**plan)
    store_day(database, "BTC", 10.0)
    assert client.post("/collect-once/BTC").status_code == 200
    beat(instance, timedelta(seconds=10))
    known = labels_of(client.get("/metrics").text)
    known["up"] = {}
    known["ALERTS"] = {"severity": {"warning", "critical"}, "alertname": set(), "alertstate": {"firing"}}
    texts = [*rule_texts(), *dashboard_texts()]
    assert len(texts) > 30
    assert [(expression, wrong) for expression, used in texts for wrong in mistakes(expression, used, known)] == []
    assert mistakes('rate(market_pipeline_gone{job="x"}[5m])', set(), known) == ["market_pipeline_gone"]
    condition = 'max by (kind, day) (market_pipeline_condition{kind=~"disk-low|no-such"})'
    assert mistakes(condition, {"symbol"}, known) == ["kind=no-such", "day", "symbol"]


def labels_of(text: str) -> Labels:
    """Read the labels and their values of every sample."""
    found: Labels = {}
    for family in parse(text):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return found


def rule_texts() -> Iterator[tuple[str, set[str]]]:
    """Yield the expression of each alert, and the labels that its texts name."""
    for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["expr"], set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))


def dashboard_texts() -> Iterator[tuple[str, set[str]]]:
    """Yield the expression of each query of the dashboard, and the labels that its legend names."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in document["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"], set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
    for variable in document["templating"]["list"]:
        for metric, label in re.findall(r"label_values\((\w+), (\w+)\)", str(variable["query"])):
            yield metric, {label}


def mistakes(expression: str, used: set[str], known: Labels) -> list[str]:
    """Return the metrics, values and labels of `expression` (and the labels `used` beside it) that do not exist."""
    wrong: list[str] = []
    labels = set(TARGET)
    for metric, matchers in _METRIC.findall(expression):
        if metric not in known:
            wrong.append(metric)
            continue
        labels |= known[metric].keys()
        for label, operator, _, value in _MATCHER.findall(matchers):
            values = known[metric].get(label, set())
            if label not in labels:
                wrong.append(label)
            elif values and "$" not in value:
                alternatives = value.split("|") if "~" in operator else [value]
                wrong += [f"{label}={one}" for one in alternatives if one not in values]
    named = {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",") if label.strip()}
    return wrong + sorted(named - labels) + sorted(used - labels)
