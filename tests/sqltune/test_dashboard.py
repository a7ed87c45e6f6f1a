"""The dashboard in a real Prometheus: every query of every panel shows what Airflow has sent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml
from airflow.sdk.observability import stats

from sqltune.metrics import METRICS, emit
from tests.conftest import ROOT, free_port
from tests.sqltune.statsd import Exporter, airflow_sends_to, running_exporter
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
FOLDER = ROOT / "include" / "grafana"
MAPPING = FOLDER / "statsd-mapping.yaml"
DASHBOARD = json.loads((FOLDER / "sqltune.json").read_text())
PANELS = DASHBOARD["panels"]
QUERIES = {f"{panel['title']} {t['refId']}": t["expr"] for panel in PANELS for t in panel["targets"]}
VARIABLES = {"$cluster": ".*"}
"""As Grafana fills them in where all clusters are chosen."""
NIGHT = 30.0
"""Seconds of everything that has a duration, and value of every other metric."""
DAG = {"dag_id": "text2sql_retrain"}


class Prometheus:
    """A Prometheus, asked as Grafana does."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[float]:
        """Values of an instant query's series."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False)
        assert answer.status_code == 200, answer.text
        return [float(series["value"][1]) for series in answer.json()["data"]["result"]]

    def label_values(self, metric: str, label: str) -> list[str]:
        """What Grafana's `label_values` offers."""
        address = f"{self.url}/api/v1/label/{label}/values"
        return list(httpx.get(address, params={"match[]": metric}, trust_env=False).json()["data"])

    def is_ready(self) -> bool:
        """Whether it answers."""
        return httpx.get(f"{self.url}/-/ready", trust_env=False).status_code == 200


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    with running_exporter(MAPPING) as started:
        yield started


@pytest.fixture(scope="module")
def prometheus(exporter, tmp_path_factory) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus is here: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    target = {"job_name": "airflow", "static_configs": [{"targets": [f"127.0.0.1:{exporter.http}"]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [target]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    started = Prometheus(f"http://{address}")
    try:
        wait_until(started.is_ready, 60, (folder / "log").read_text, not_yet=httpx.TransportError)
        yield started
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def shown(exporter, prometheus) -> dict[str, list[float]]:
    """What each query shows after one night, in which everything happened once."""
    with airflow_sends_to(exporter.udp):
        for metric in METRICS:
            emit("gpu.2x4", metric.name, NIGHT)
        for name in ("dagrun.duration.success", "dagrun.duration.failed"):
            stats.timing(name, NIGHT * 1000, tags=DAG | {"run_type": "scheduled"})
        stats.timing("task.duration", NIGHT * 1000, tags=DAG | {"task_id": "before.serve"})
        stats.incr("ti.finish", tags=DAG | {"task_id": "train", "state": "failed"})
        wait_until(lambda: prometheus.query("airflow_ti_finish"), 60)
        # Two scrapes, as a rate has two ends.
        wait_until(lambda: prometheus.query("count_over_time(airflow_ti_finish[1m]) >= 3"), 60)
    return {name: prometheus.query(filled(expression)) for name, expression in QUERIES.items()}


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_shows_the_first_night(shown, name):
    expected = {"Tasks that failed, a day A": 1.0, "GPU-hours, a week A": NIGHT / 3600}
    assert shown[name] == [pytest.approx(expected.get(name, NIGHT))]


def test_the_clusters_are_offered(prometheus, shown):
    (variable,) = [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    (metric, label) = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()
    assert variable["name"] == label
    assert prometheus.label_values(metric, label) == ["gpu_2x4"]


def test_no_name_has_two_types(exporter, shown):
    assert exporter.conflicts == []


def test_a_nights_durations_are_shown_until_the_next_one():
    """The exporter's summaries forget after ten minutes by default, and show NaN from then on."""
    defaults = yaml.safe_load(MAPPING.read_text())["defaults"]
    # Without the type, options under `defaults` are not taken over.
    assert defaults["observer_type"] == "summary"
    # In five steps (`age_buckets`): a value counts for four fifths of it at least.
    hours = int(defaults["summary_options"]["max_age"].removesuffix("h"))
    assert hours * 4 / 5 >= 24


def test_a_week_counts_each_event_once_also_after_the_exporter_was_restarted(tmp_path):
    """Models are held back on days 2, 12 and 25; on day 20, the exporter starts anew and has no series."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool is here: apt-get install prometheus")
    day = 24 * 60 // 5
    values = f"_x{2 * day - 1} 1x{10 * day - 1} 2x{8 * day - 1} _x{5 * day - 1} 1x{5 * day}"
    expression = f"sum(round({filled(QUERIES['Verdicts and promotions, a week B'])}, 0.1))"
    counts = {3: 1, 11: 0, 13: 1, 22: 0, 26: 1, 28: 1}
    tested = {
        "interval": "5m",
        "input_series": [
            {"series": 'airflow_sqltune_verdict_held_back{cluster="lab"}', "values": values},
        ],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{at}d",
                "exp_samples": [{"labels": "{}", "value": count}],
            }
            for at, count in counts.items()
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [tested]}))
    command = [program, "test", "rules", tmp_path / "test.yml"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_exporter_accepts_the_mapping():
    program = shutil.which("statsd_exporter")
    if program is None:
        pytest.skip("no statsd_exporter is here: github.com/prometheus/statsd_exporter")
    command = [program, "--check-config", f"--statsd.mapping-config={MAPPING}"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
