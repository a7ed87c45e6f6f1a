"""What docker-compose.yaml and the scripts in deploy/ promise, without an engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet
from fastapi import FastAPI
from sqlalchemy import make_url

from tests.conftest import ROOT, serving
from tests.deploy import rights

TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
AIRFLOW = {"init", "api-server", "scheduler", "dag-processor", "triggerer", "worker", "cleanup"}
SECRETS = {s["environment"] for s in COMPOSE["secrets"].values()}
"""Variables of `.env` that are secret."""
LONG_RUNNING = SERVICES.keys() - {"init"}
EXAMPLE = (ROOT / ".env.example").read_text()
PASSWORD = "p@ss/w:rd #100%$HOME\"'\\"


def secrets_of(service: str) -> set[str]:
    return {s if isinstance(s, str) else s["source"] for s in SERVICES[service].get("secrets", [])}


def test_every_component_has_the_same_settings():
    """Where the secrets, the database or the execution address differ, every task dies."""
    assert {name for name, s in SERVICES.items() if s["image"] == "sqltune"} == AIRFLOW
    for name in AIRFLOW:
        assert SERVICES[name]["environment"] == SERVICES["scheduler"]["environment"]
    env = SERVICES["scheduler"]["environment"]
    assert (
        env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
        == "${API_SERVER:-http://api-server:8080}${BASE_PATH:-}/execution/"
    )
    assert "mlflow:5000" in SERVICES["mlflow"]["command"]
    assert env["MLFLOW_TRACKING_URI"] == "${MLFLOW_TRACKING_URI:-http://mlflow:5000}"


def test_every_address_of_the_database_names_the_driver_that_the_image_has():
    addresses = re.findall(r"\S*postgresql\S*://", TEXT)
    assert len(addresses) == 3
    assert all(address.endswith("postgresql+psycopg2://") for address in addresses)


def test_every_variable_is_in_the_example_or_has_a_default():
    example = set(re.findall(r"^(\w+)=", EXAMPLE, re.M))
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) | SECRETS <= example


def test_an_empty_secret_stops_compose_with_the_remedy():
    optional = {"SQLTUNE_API_KEY", "SQLTUNE_WEBHOOK_SECRET"}
    required = dict(re.findall(r"\$\{(\w+):\?([^}]*)\}", TEXT))
    assert required == dict.fromkeys(SECRETS - optional, "run bash deploy/fill-env.sh")


def test_no_secret_is_in_a_containers_environment():
    """`docker inspect` shows a container's environment to everybody in the group docker."""
    for name, service in SERVICES.items():
        values = f"{service.get('environment')} {service.get('command')}"
        shown = [secret for secret in SECRETS if re.search(rf"\$\{{{secret}(:-[^}}]*)?\}}", values)]
        assert shown == [], name
        assert service.get("env_file") in (None, [{"path": "airflow.env", "required": False}])


@pytest.mark.parametrize(
    ("secret", "services"),
    [
        ("postgres_password", AIRFLOW | {"postgres"}),
        ("redis_password", {"scheduler", "worker", "redis"}),
        ("sqltune_api_key", {"scheduler", "worker"}),
        ("sqltune_webhook_secret", {"api-server"}),
        ("admin_password", {"init"}),
    ],
)
def test_a_secret_is_where_it_is_needed(secret, services):
    assert {name for name in SERVICES if secret in secrets_of(name)} == services


def test_ssh_keys_are_where_hosts_are_reached():
    with_keys = {name for name, s in SERVICES.items() if any("/ssh" in v for v in s.get("volumes", []))}
    assert with_keys == {"scheduler", "triggerer", "worker"}


def test_what_is_mounted_from_the_checkout_cannot_be_written():
    mounts = [v for s in SERVICES.values() for v in s.get("volumes", []) if v.startswith("./")]
    assert mounts
    assert all(mount.endswith(":ro") for mount in mounts)
    for mount in mounts:
        source = mount.split(":")[0]
        assert source in ("./ssh", "./tls") or (ROOT / source).exists(), source


@pytest.mark.parametrize("component", ["scheduler", "dag-processor", "triggerer", "worker"])
def test_components_start_after_a_healthy_api_server(component):
    """Tasks started before that fail for good. The engine's own restart knows no order: the script waits."""
    assert SERVICES[component]["depends_on"] == {"api-server": {"condition": "service_healthy"}}
    assert SERVICES[component]["command"].startswith("bash deploy/component.sh")


def test_published_ports_are_on_loopback_unless_env_says_otherwise():
    ports = [port for s in SERVICES.values() for port in s.get("ports", [])]
    assert len(ports) == 3
    assert all(re.match(r"\$\{(PROXY_)?BIND:-127\.0\.0\.1\}:", port) for port in ports)
    assert re.findall(r"^(?:PROXY_)?BIND=(.*)$", EXAMPLE, re.M) == ["127.0.0.1"] * 2


def test_what_services_say_to_each_other_takes_no_proxy():
    env = SERVICES["scheduler"]["environment"]
    for variable in ("no_proxy", "NO_PROXY"):
        assert {"localhost", "api-server", "postgres", "redis", "mlflow"} <= set(env[variable].split(","))


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_a_service_is_bounded_and_comes_back(service):
    s = SERVICES[service]
    assert s["restart"] == "unless-stopped"
    assert s["mem_limit"]
    assert s["logging"]["options"] == {"max-size": "20m", "max-file": "5"}


def test_each_image_is_built_once():
    assert {name: s["build"]["target"] for name, s in SERVICES.items() if "build" in s} == {
        "init": "airflow",
        "mlflow": "mlflow",
        "proxy": "proxy",
    }


def test_each_base_image_has_a_version_and_can_be_named_otherwise():
    named = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", TEXT))
    assert named.keys() == set(re.findall(r"^(\w+_IMAGE)=$", EXAMPLE, re.M))
    assert all(re.search(r":\d+\.\d+[^/]*$", image) for image in named.values()), named
    built_on = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M))
    given = {name for s in SERVICES.values() if "build" in s for name in s["build"]["args"]}
    assert built_on == {name: named[name] for name in given}


def test_the_images_run_without_root():
    _, _, *stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    assert len(stages) == 3
    assert all("\nUSER 1000\n" in stage for stage in stages)


def test_nothing_but_what_the_image_needs_goes_to_the_engine():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    copied = re.findall(r"^COPY (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied) - {"deploy/Caddyfile"}


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg2://airflow@postgres/sqltune", "redis://default@redis:6379/0"]
)
def test_a_password_with_any_character_makes_an_address(tmp_path, url):
    (tmp_path / "password").write_text(PASSWORD + "\n")
    command = [sys.executable, "-S", ROOT / "deploy/with_password.py", url, tmp_path / "password"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert make_url(printed).password == PASSWORD
    assert re.sub(r":[^:/@]*@", "@", printed) == url
    # Airflow takes a line end as a part of the value, and expands variables in it.
    assert "\n" not in printed
    assert "$" not in printed


def test_a_redis_password_with_any_character_is_quoted_in_its_configuration(tmp_path):
    (tmp_path / "password").write_text(PASSWORD + "\n")
    shell, option, script = shlex.split(SERVICES["redis"]["command"].replace("$$", "$"))
    script = script.replace("/run/secrets/redis_password", str(tmp_path / "password"))
    assert script.endswith("| exec redis-server -")
    script = script.replace("exec redis-server -", "cat")
    printed = subprocess.run([shell, option, script], capture_output=True, text=True, check=True).stdout
    first, second = printed.splitlines()
    assert first == "appendonly yes"
    # Redis undoes a backslash between double quotes, as here.
    assert shlex.split(second) == ["requirepass", PASSWORD]


@pytest.fixture
def checkout(tmp_path) -> Path:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy/fill-env.sh", tmp_path / "deploy")
    shutil.copy(ROOT / ".env.example", tmp_path)
    return tmp_path


def fill(checkout: Path) -> dict[str, str]:
    """Run the script; the values in `.env`."""
    subprocess.run(["bash", "deploy/fill-env.sh"], cwd=checkout, check=True, capture_output=True)
    return dict(re.findall(r"^(\w+)=(.*)$", (checkout / ".env").read_text(), re.M))


def test_env_is_made_with_secrets_that_only_its_owner_reads(checkout):
    values = fill(checkout)
    assert set(values) == set(re.findall(r"^(\w+)=", EXAMPLE, re.M))
    Fernet(values["FERNET_KEY"])
    generated = ["ADMIN_PASSWORD", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "API_SECRET_KEY", "JWT_SECRET"]
    assert all(len(values[name]) >= 48 for name in generated)
    assert values["SQLTUNE_WEBHOOK_SECRET"] == ""
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600


def test_values_that_are_there_stay(checkout):
    (checkout / ".env").write_text("POSTGRES_PASSWORD='my own $'\nAIRFLOW_PORT=9090\n# a remark\n")
    first = fill(checkout)
    assert first["POSTGRES_PASSWORD"] == "'my own $'"
    assert first["AIRFLOW_PORT"] == "9090"
    assert "# a remark" in (checkout / ".env").read_text()
    text = (checkout / ".env").read_text()
    fill(checkout)
    assert (checkout / ".env").read_text() == text


def test_a_name_that_is_new_after_an_upgrade_is_added_with_its_comment(checkout):
    fill(checkout)
    with (checkout / ".env.example").open("a") as example:
        example.write("# What it is for\nNEW_SETTING=5\n")
    assert fill(checkout)["NEW_SETTING"] == "5"
    assert "# What it is for\nNEW_SETTING=5\n" in (checkout / ".env").read_text()


def healthy(component: str, address: str, *url: str) -> subprocess.CompletedProcess[str]:
    """Run the health check of a component, with the api-server at an address."""
    env = os.environ | {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/"}
    command = [sys.executable, "-S", ROOT / "deploy/healthy.py", component, *url]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("component", "problem"),
    [("api-server", ""), ("triggerer", ""), ("dag-processor", "dag-processor: unhealthy")],
)
def test_health_is_what_airflow_says(component, problem):
    app = FastAPI()

    @app.get("/api/v2/monitor/health")
    def monitor() -> dict[str, dict[str, str]]:
        return {"triggerer": {"status": "healthy"}, "dag_processor": {"status": "unhealthy"}}

    with serving(app) as address:
        done = healthy(component, address)
        other = healthy(component, address, f"{address}/nowhere")
    assert (done.returncode, done.stderr.strip()) == (bool(problem), problem)
    assert other.stderr.strip() == f"{component}: {address[7:]} answers 404 Not Found"


def test_health_without_an_answer_is_bad():
    done = healthy("scheduler", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_the_rights_in_the_documentation_are_those_that_are_tested():
    docs = (ROOT / "docs/deploy.md").read_text()
    for action in rights.ACTIONS:
        cells = " | ".join("yes" if role in action.roles else "" for role in rights.ROLES)
        assert f"\n| {action.name} | {cells} |\n" in docs
