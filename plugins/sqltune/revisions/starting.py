"""Start runs for chosen revisions, through Airflow's REST API with a user's own rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from sqltune.errors import SqltuneError
from sqltune.records.revisions import Revision

SHORTEST = 7
"""Characters that an abbreviated commit has at least."""


class StartError(SqltuneError):
    """A revision can't be named, or Airflow refuses its run."""


@dataclass(frozen=True)
class AirflowLogin:
    """Where Airflow is, and who is asking.

    Attributes:
        url: Address of its page.
        token: A bearer token; empty where user and password are given.
        user: Name of a user.
        password: Its password.
    """

    url: str
    token: str = ""
    user: str = ""
    password: str = ""


def chosen(revisions: Sequence[Revision], names: Sequence[str]) -> list[Revision]:
    """Return the revisions that are named, in the order in which they are named.

    Args:
        revisions: Those that are recorded.
        names: Commits; they may be abbreviated.

    Raises:
        StartError: A name fits none of them, or several.
    """
    found: list[Revision] = []
    for name in names:
        fitting = [r for r in revisions if r.commit.startswith(name.lower())]
        if len(fitting) != 1 or len(name) < SHORTEST:
            problem = "fits no recorded revision" if not fitting else "is too short, or fits several"
            raise StartError(f"{name!r} {problem}: name one of those that `sqltune revisions` lists")
        found += fitting
    return found


def start(login: AirflowLogin, dag_id: str, revisions: Sequence[Revision]) -> list[str]:
    """Start a run for each revision, in this order; return their ids.

    The DAG trains one at a time. A revision that was trained is trained again.

    Raises:
        StartError: Airflow refuses one; those before it were started.
    """
    with httpx.Client(base_url=login.url.rstrip("/"), timeout=30) as client:
        client.headers["Authorization"] = f"Bearer {login.token or _token(client, login)}"
        return [_start(client, dag_id, revision) for revision in revisions]


def _token(client: httpx.Client, login: AirflowLogin) -> str:
    answer = _sent(client, "/auth/token", {"username": login.user, "password": login.password})
    return str(answer.json()["access_token"])


def _start(client: httpx.Client, dag_id: str, revision: Revision) -> str:
    body = {
        "dag_run_id": f"manual__{datetime.now(UTC).isoformat()}__{revision.commit[:12]}",
        "logical_date": None,
        "partition_key": revision.commit,
        "conf": {"force": True} if revision.is_trained else {},
    }
    return str(_sent(client, f"/api/v2/dags/{dag_id}/dagRuns", body).json()["dag_run_id"])


def _sent(client: httpx.Client, path: str, body: object) -> httpx.Response:
    try:
        answer = client.post(path, json=body)
    except httpx.HTTPError as e:
        raise StartError(
            f"Airflow at {client.base_url} does not answer ({type(e).__name__}: {e}): correct --airflow"
        ) from e
    if answer.is_error:
        raise StartError(f"Airflow refuses {path} with {answer.status_code}: {answer.text[:300]}")
    return answer
