"""The chain's metrics: sent through Airflow to a real StatsD listener, documented, and on the dashboard."""

from __future__ import annotations

import json
import re
import socket

import pytest
from airflow.sdk.observability import stats

from sqltune.metrics import METRICS, emit
from sqltune.operators.train_metrics import emit_training
from sqltune.records import installation, milestones, runs, series
from sqltune.records.types import from_timestamp
from sqltune.tasks.gate import judge
from ssh_gang.event import GangEvent
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress
from tests.conftest import ROOT
from tests.plans import run_plan
from tests.sqltune.evaluation.builders import score_of, speed_of, store
from tests.sqltune.statsd import Mappings, airflow_sends_to

DOCUMENT = ROOT / "docs" / "metrics.md"
BLOCK = re.compile(r"(<!-- metrics -->\n)(.*?)(<!-- /metrics -->)", re.S)
DASHBOARD = json.loads((ROOT / "include/grafana/sqltune.json").read_text())
MAPPINGS = Mappings(ROOT / "include/grafana/statsd-mapping.yaml")
AIRFLOWS = (
    "dagrun.duration.success.text2sql_retrain",
    "dagrun.duration.failed.text2sql_retrain",
    "dag.text2sql_retrain.train.duration",
    "ti.finish.text2sql_retrain.train.failed",
)
"""Airflow's own that the dashboard shows; `test_airflow_has_these_metrics` finds them in its registry."""


@pytest.fixture
def listener():
    """A StatsD server; what it has received, line by line, when called."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.3)

        def received() -> list[str]:
            lines = []
            try:
                while True:
                    lines += server.recv(65536).decode().splitlines()
            except TimeoutError:
                return lines

        with airflow_sends_to(server.getsockname()[1]):
            yield received


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_arrives_with_its_type(listener, metric):
    emit("gpu.2x4", metric.name, 2)
    kind, value = {"counter": ("c", "2"), "gauge": ("g", "2"), "timer": ("ms", "2000.000000")}[metric.kind]
    assert listener() == [f"airflow.sqltune.gpu_2x4.{metric.name}:{value}|{kind}"]


def test_what_is_not_known_is_not_sent(listener):
    emit("lab", "train.loss", None)
    assert listener() == []


def test_a_metric_that_cannot_be_sent_fails_nothing(monkeypatch, caplog):
    monkeypatch.setattr(stats, "gauge", lambda *_: 1 / 0)
    emit("lab", "train.loss", 1.0)
    assert "metric train.loss is not sent: ZeroDivisionError" in caplog.text


def test_a_training_sends_what_it_took(listener, records):
    plan = run_plan()
    runs.put_plan(plan)
    began = 1_700_000_000.0
    milestones.put(plan.key, "train", "try1", Milestone(kind="submitted", at=began))
    for step in (10, 20):
        progress = Progress(step=step, total=20, loss=0.5, seconds_per_step=2.0, tokens_per_second=50.0)
        series.put_iteration(plan.key, "try1", from_timestamp(began + 30 + step), progress)
    event = GangEvent(ok=True, attempt="try1", reason="", seconds=50.0, launch_skew=0.25)
    milestones.put(plan.key, "train", "try1", Milestone(kind="ended", at=began + 80, end=event))
    emit_training(plan, event, progress, resumed_from=0)
    assert listener() == [
        "airflow.sqltune.lab.train.duration:50000.000000|ms",
        "airflow.sqltune.lab.train.launch_skew:250.000000|ms",
        "airflow.sqltune.lab.train.steps_per_second:0.4|g",
        f"airflow.sqltune.lab.train.tokens_per_second:{50.0 * plan.cluster.world_size}|g",
        "airflow.sqltune.lab.train.loss:0.5|g",
        "airflow.sqltune.lab.train.goodput:0.5|g",
    ]


def test_the_gate_sends_the_latencies_that_are_known(listener, records):
    plan = run_plan().model_copy(update={"installation": installation.name()})
    runs.put_plan(plan)
    before, after = score_of(60), score_of(60, speed=speed_of(1.5))
    store(plan.key, "before", before)
    store(plan.key, "after", after)
    judge(plan.model_dump(mode="json"), before.summary, after.summary)
    sent = [line for line in listener() if ".latency." in line]
    assert sent == ["airflow.sqltune.lab.latency.after:1500.000000|ms"]


def test_the_document_lists_them(request):
    rows = [f"| `{m.name}` | {m.kind} | {m.unit} | {m.meaning} |\n" for m in METRICS]
    table = "\n| metric | type | unit | meaning |\n|---|---|---|---|\n" + "".join(rows) + "\n"
    text = DOCUMENT.read_text()
    block = BLOCK.search(text)
    assert block
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text(text[: block.start(2)] + table + text[block.end(2) :])
        return
    assert block[2] == table, "renew it with: pytest --update-golden tests/sqltune/test_metrics.py"


def test_airflow_has_these_metrics():
    from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry

    values = {"dag_id": "text2sql_retrain", "task_id": "train", "state": "failed"}
    registry = MetricsRegistry()
    found = {
        registry.get(name=name)["legacy_name"].format(**values)
        for name in ("dagrun.duration.success", "dagrun.duration.failed", "task.duration", "ti.finish")
    }
    assert found == set(AIRFLOWS)


def exported() -> set[str]:
    """Names that Prometheus sees."""
    names = set()
    for sent in [f"sqltune.lab.{m.name}" for m in METRICS] + list(AIRFLOWS):
        found = MAPPINGS.find(f"airflow.{sent}")
        assert found, f"no mapping for airflow.{sent}"
        names.add(found[0])
    return names


def test_the_dashboard_shows_every_metric_and_no_other():
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    shown = set(re.findall(r"airflow_\w+", " ".join(expressions)))
    assert shown == exported()
