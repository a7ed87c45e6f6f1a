"""What deploy/helm promises, without a cluster and without the chart."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from tests.conftest import ROOT

TEXT = (ROOT / "deploy/helm/values.yaml").read_text()
VALUES = yaml.safe_load(TEXT)
CHART = yaml.safe_load((Path(__file__).parent / "airflow_chart_keys.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
DOCS = (ROOT / "docs/kubernetes.md").read_text()
COMPONENTS = ["apiServer", "scheduler", "dagProcessor", "triggerer", "workers.celery", "workers.kubernetes"]
CHART_READS = {
    "fernetKeySecretName": "fernet-key",
    "apiSecretKeySecretName": "api-secret-key",
    "jwtSecretName": "jwt-secret",
    "data.metadataSecretName": "connection",
    "data.brokerUrlSecretName": "connection",
    "redis.passwordSecretName": "password",
}
"""The key that the chart reads in the Secret of that value."""
ELSEWHERE = {
    "AIRFLOW__CORE__EXECUTOR": "executor",
    "AIRFLOW__CORE__FERNET_KEY_CMD": "fernetKeySecretName",
    "AIRFLOW__API__SECRET_KEY_CMD": "apiSecretKeySecretName",
    "AIRFLOW__API_AUTH__JWT_SECRET_CMD": "jwtSecretName",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": "data.metadataSecretName",
    "AIRFLOW__CELERY__BROKER_URL_CMD": "data.brokerUrlSecretName",
    # Airflow derives it from the database's address, the same one.
    "AIRFLOW__CELERY__RESULT_BACKEND_CMD": "data.metadataSecretName",
}
"""Compose's settings that the chart makes of a value of its own."""
NOT_HERE = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "users are FAB's",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "users are FAB's",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "the chart's probe asks the database",
}
"""Compose's settings that have no place on Kubernetes, and why."""


def at(path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = VALUES
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def unknown(values: dict[str, Any], chart: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of values that the chart does not have."""
    for key, value in values.items():
        if key not in chart or (isinstance(value, dict) and chart[key] is None):
            yield path + key
        elif isinstance(value, dict) and chart[key] != "any":
            yield from unknown(value, chart[key], f"{path}{key}.")


def settings() -> set[str]:
    """Names of the variables that the values set somewhere, those of `config` as Airflow's variables."""
    entries = [*VALUES["env"], *yaml.safe_load(VALUES["extraEnv"])]
    entries += [entry for component in COMPONENTS for entry in at(f"{component}.env") or []]
    config = {f"AIRFLOW__{s.upper()}__{k.upper()}" for s, keys in VALUES["config"].items() for k in keys}
    return config | {e["name"] for e in entries} | {e["envName"] for e in VALUES["secret"]}


def secrets() -> dict[str, set[str]]:
    """The keys of each Secret that the values refer to."""
    found = {(at(path), key) for path, key in CHART_READS.items()}
    found |= {(e["secretName"], e["secretKey"]) for e in VALUES["secret"]}
    for component in [*COMPONENTS, "createUserJob"]:
        for entry in at(f"{component}.env") or []:
            reference = entry["valueFrom"]["secretKeyRef"]
            found.add((reference["name"], reference["key"]))
        for volume in at(f"{component}.extraVolumes") or []:
            found |= {(volume["secret"]["secretName"], i["key"]) for i in volume["secret"].get("items", [])}
    return {name: {k for n, k in found if n == name} for name, _ in found}


def test_every_key_is_one_of_the_charts():
    assert list(unknown(VALUES, CHART)) == []


def test_a_key_that_the_chart_does_not_have_is_found():
    wrong = {"scheduler": {"startupProb": {}, "resources": {"limits": {}}}, "executr": "", "uid": {"a": 1}}
    assert list(unknown(wrong, CHART)) == ["scheduler.startupProb", "executr", "uid"]


@pytest.mark.parametrize("name", COMPOSE["x-airflow"]["environment"])
def test_a_setting_of_compose_has_its_place(name):
    there = {name, name.removesuffix("_CMD")} & settings()
    elsewhere = name in ELSEWHERE and bool(at(ELSEWHERE[name]))
    assert [bool(there), elsewhere, name in NOT_HERE].count(True) == 1


def test_no_list_names_a_setting_that_compose_no_longer_has():
    assert set(COMPOSE["x-airflow"]["environment"]) >= ELSEWHERE.keys() | NOT_HERE.keys()


def test_what_compose_and_the_values_say_twice_is_the_same():
    environment = COMPOSE["x-airflow"]["environment"]
    for section, keys in VALUES["config"].items():
        for key, value in keys.items():
            name = f"AIRFLOW__{section.upper()}__{key.upper()}"
            if name in environment:
                assert str(value) == re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", environment[name]), name


def test_no_secret_has_a_value():
    """A literal in the values is in `helm get values`, and in the repository of whoever deploys."""
    literal = re.compile(r"(?i)(password|secret|_key|token|connection|url)\w*$")
    entries = [*VALUES["env"], *(e for c in COMPONENTS for e in at(f"{c}.env") or [])]
    assert [e["name"] for e in entries if literal.search(e["name"]) and "valueFrom" not in e] == []
    chart = ["fernetKey", "apiSecretKey", "jwtSecret", "data.metadataConnection", "data.brokerUrl"]
    assert [path for path in [*chart, "redis.password", "createUserJob.defaultUser"] if at(path)] == []
    assert not re.search(r"://[^/\s@]*:[^/\s@]*@", TEXT)


def test_a_secret_is_where_it_is_needed():
    holders = {
        entry["name"]: {c for c in COMPONENTS if entry in (at(f"{c}.env") or [])}
        for component in COMPONENTS
        for entry in at(f"{component}.env") or []
    }
    assert holders == {
        "SQLTUNE_API_KEY": {"workers.celery", "workers.kubernetes"},
        "SQLTUNE_WEBHOOK_SECRET": {"apiServer"},
    }


def test_ssh_keys_are_where_hosts_are_reached_and_cannot_be_written():
    mounts = {c: at(f"{c}.extraVolumeMounts") for c in COMPONENTS}
    assert {c for c, m in mounts.items() if m} == {"triggerer", "workers.celery", "workers.kubernetes"}
    assert at("volumeMounts") is None
    for component in ("triggerer", "workers.celery", "workers.kubernetes"):
        assert mounts[component] == [{"name": "ssh", "mountPath": "/opt/sqltune/ssh", "readOnly": True}]
        (volume,) = at(f"{component}.extraVolumes")
        secret = {"secretName": "sqltune-ssh", "defaultMode": 0o400, "optional": True}
        assert volume == {"name": "ssh", "secret": secret}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_is_bounded_and_has_an_init(component):
    assert at(f"{component}.resources.limits.memory")
    assert at(f"{component}.command") == ["tini", "--"]


@pytest.mark.parametrize("component", ["scheduler", "dagProcessor", "triggerer", "workers.celery"])
def test_a_component_waits_for_the_api_server(component):
    """Tasks started before that fail for good; the script asks at this address."""
    assert at(f"{component}.args")[:2] == ["bash", "/opt/sqltune/deploy/component.sh"]
    assert "AIRFLOW__CORE__EXECUTION_API_SERVER_URL" in settings()


def test_pods_run_as_the_images_user_without_root():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"useradd --uid {at('uid')} " in dockerfile
    pod = at("securityContexts.pod")
    assert {pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"], at("uid"), at("gid")} == {1000}
    assert pod["runAsNonRoot"] is True
    assert at("redis.securityContexts.pod.runAsNonRoot") is True


def test_the_image_has_what_the_chart_calls():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "ln -s /usr/bin/env /entrypoint" in dockerfile
    assert " tini " in dockerfile
    packages = (ROOT / "requirements-image.txt").read_text()
    assert f"apache-airflow=={at('airflowVersion')}\n" in packages
    assert "apache-airflow-providers-cncf-kubernetes==" in packages
    # The chart deploys these beside the components, with a script of Airflow's own image.
    for component in ("scheduler", "dagProcessor", "triggerer", "workers.celery"):
        assert at(f"{component}.logGroomerSidecar.enabled") is False


def test_both_databases_are_migrated_before_a_component_starts():
    """Components wait for Airflow's tables only."""
    command = at("migrateDatabaseJob.args")[-1]
    assert 0 <= command.find("sqltune.cli migrate") < command.find("airflow db migrate")


def test_logs_are_on_the_object_store():
    logging = at("config.logging")
    assert logging["remote_logging"] == "True"
    (store,) = [e["value"] for e in VALUES["env"] if e["name"] == "SQLTUNE_LOG_STORE"]
    connection = logging["remote_log_conn_id"]
    assert store.startswith(f"s3://{connection}@")
    assert f"AIRFLOW_CONN_{connection.upper()}" in settings()
    assert at("workers.celery.persistence.enabled") is at("triggerer.persistence.enabled") is False


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, dict[str, str]]:
    """What secrets.sh prints for a deployment with passwords of any character, decoded."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    (checkout / "ssh").mkdir()
    (checkout / ".env").write_text(
        "TLS=/tls/cert.pem /tls/key.pem\nADMIN_PASSWORD='a $b\"c\\'d'\nPOSTGRES_PASSWORD='p@ss/w:rd #1'\n"
        "REDIS_PASSWORD=r\nFERNET_KEY=f\nAPI_SECRET_KEY=a\nJWT_SECRET=j\n"
        "SQLTUNE_API_KEY=k\nSQLTUNE_WEBHOOK_SECRET=\n"
    )
    (checkout / "ssh/id_ed25519").write_text("-----END-----\n")
    (checkout / "ssh/known_hosts").write_text("gpu-1 ssh-ed25519 AAAA\n")
    done = subprocess.run(
        ["bash", "deploy/helm/secrets.sh"],
        cwd=checkout,
        env=os.environ | {"POSTGRES_HOST": "db.example.com:5433"},
        capture_output=True,
        text=True,
        check=True,
    )
    documents = list(yaml.safe_load_all(done.stdout))
    assert {(d["apiVersion"], d["kind"]) for d in documents} == {("v1", "Secret")}
    return {
        d["metadata"]["name"]: {k: base64.b64decode(v).decode() for k, v in d["data"].items()}
        for d in documents
    }


def test_the_printed_secrets_are_those_that_the_values_name(printed):
    keys = {name: set(values) for name, values in printed.items()}
    assert keys.pop("sqltune-ssh") == {"id_ed25519", "known_hosts"}
    assert keys == secrets()


def test_the_printed_secrets_are_what_is_in_env(printed):
    assert printed["sqltune-airflow"]["admin-password"] == "a $b\"c'd"
    assert printed["sqltune-ssh"]["id_ed25519"] == "-----END-----\n"
    database = {key: make_url(value) for key, value in printed["sqltune-database"].items()}
    assert {url.database for url in database.values()} == {"airflow", "sqltune"}
    assert {(u.password, u.host, u.port) for u in database.values()} == {
        ("p@ss/w:rd #1", "db.example.com", 5433)
    }
    assert printed["sqltune-broker"]["connection"] == "redis://default:r@sqltune-redis:6379/0"
    assert printed["sqltune-keys"]["webhook-secret"] == ""


def test_without_env_the_remedy_is_named(tmp_path):
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    done = subprocess.run(
        ["bash", "deploy/helm/secrets.sh"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ".env does not exist, which holds the secrets: run bash deploy/fill-env.sh\n"


def test_the_documentation_names_every_secret_and_the_charts_version():
    named = set(re.findall(r"`(sqltune-[a-z]+)`", DOCS))
    assert named == secrets().keys() | {"sqltune-ssh"}
    (version,) = set(re.findall(r"--version (\S+)", TEXT + DOCS))
    assert f"chart ({version})" in TEXT
