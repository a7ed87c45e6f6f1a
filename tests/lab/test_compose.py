"""What docker-compose.yaml promises, without an engine."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import ROOT

TEXT = (ROOT / "docker-compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
AIRFLOW = {"migrate", "api-server", "scheduler", "dag-processor", "triggerer"}


def test_every_component_has_the_same_settings_and_files():
    """Where the secrets, the database or the execution address differ, every task dies."""
    assert {name for name, s in SERVICES.items() if s["image"] == "sqltune"} == AIRFLOW
    for name in AIRFLOW:
        assert SERVICES[name]["environment"] == SERVICES["scheduler"]["environment"]
        assert SERVICES[name]["volumes"] == SERVICES["scheduler"]["volumes"]
    env = SERVICES["scheduler"]["environment"]
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api-server:8080/execution/"
    assert "mlflow:5000" in SERVICES["mlflow"]["command"]
    assert env["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_required_variables_are_in_the_example_and_named():
    example = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.M))
    required = dict(re.findall(r"\$\{(\w+):\?([^}]*)\}", TEXT))
    assert required
    assert set(required) <= example
    assert all(message == f"set {name} in .env" for name, message in required.items())


@pytest.mark.parametrize("component", ["scheduler", "dag-processor", "triggerer"])
def test_components_start_after_a_healthy_api_server(component):
    """Tasks started before that fail for good; `airflow jobs check` would cost seconds of CPU a probe."""
    assert SERVICES[component]["depends_on"] == {"api-server": {"condition": "service_healthy"}}
    assert "/monitor/health" in " ".join(SERVICES["api-server"]["healthcheck"]["test"])


def test_published_ports_are_on_loopback_only():
    ports = [port for s in SERVICES.values() for port in s.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_records_are_in_a_database_of_their_own_which_migrate_creates():
    env = SERVICES["scheduler"]["environment"]
    assert env["SQLTUNE_DATABASE_URL"].endswith("@postgres/sqltune")
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].endswith("@postgres/airflow")
    assert "sqltune.cli migrate" in SERVICES["migrate"]["command"]


def test_every_component_has_the_log_store():
    assert SERVICES["triggerer"]["environment"]["SQLTUNE_LOG_STORE"].startswith(
        "${SQLTUNE_LOG_STORE:-/opt/airflow/"
    )
