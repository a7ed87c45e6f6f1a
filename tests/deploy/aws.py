"""AWS's Secrets Manager and S3, as moto serves them, for a deployment that keeps nothing on its machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import httpx

from tests.conftest import BASE
from tests.waiting import wait_until

MOTO = "moto[server,s3,secretsmanager]==5.2.5"
PORT = 8091
BUCKET = "sqltune"
CONNECTIONS = "sqltune/connections"
REGION = "us-east-1"
BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
_url = ""


def settings(address: str) -> dict[str, str]:
    """Airflow's own settings for both services on an address."""
    prefix = json.dumps({"connections_prefix": CONNECTIONS, "variables_prefix": None, "config_prefix": None})
    return {
        "AIRFLOW__SECRETS__BACKEND": BACKEND,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": prefix,
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "true",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"s3://{BUCKET}/tasks",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "aws_default",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AWS_ENDPOINT_URL": f"http://{address}:{PORT}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "of-the-tests",
    }


@contextmanager
def serve(address: str) -> Iterator[None]:
    """Serve both on an address of this machine for the length of a block, with an empty bucket."""
    global _url
    env = BASE / "engine/moto-env"
    uv = BASE / "control-env/bin/uv"
    subprocess.run([uv, "venv", "--quiet", "--allow-existing", env], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", env / "bin/python", MOTO], check=True)
    server = subprocess.Popen(
        [env / "bin/moto_server", "-H", address, "-p", str(PORT)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _url = f"http://{address}:{PORT}"
    try:
        wait_until(lambda: _call("GET", "/moto-api/"), 40, not_yet=httpx.HTTPError)
        # In another region, the body would have to name it.
        _call("PUT", f"/{BUCKET}")
        yield
    finally:
        server.terminate()
        server.wait(30)


def put_connection(connection: Mapping[str, object]) -> None:
    """Write a Connection where Airflow's backend for the Secrets Manager looks for it."""
    value = {k: v for k, v in connection.items() if k != "connection_id"}
    name = f"{CONNECTIONS}/{connection['connection_id']}"
    headers = {
        "X-Amz-Target": "secretsmanager.CreateSecret",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/secretsmanager/aws4_request",
    }
    body = {"Name": name, "SecretString": json.dumps(value), "ClientRequestToken": "0" * 32}
    _call("POST", "/", headers=headers, json=body)


def objects(prefix: str) -> list[str]:
    """Keys in the bucket."""
    listing = ElementTree.fromstring(_call("GET", f"/{BUCKET}?list-type=2&prefix={prefix}").text)
    return [key.text or "" for key in listing.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")]


def _call(method: str, path: str, **options: Any) -> httpx.Response:
    answer = httpx.request(method, _url + path, trust_env=False, timeout=30, **options)
    answer.raise_for_status()
    return answer
