"""The task that sends questions to the hosted reference."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import task

from sqltune.environment import setting
from sqltune.serving.hosted import CONNECTION, ask_hosted

PYTHON = setting("SQLTUNE_REFERENCE_PYTHON", "/opt/sqltune/reference-env/bin/python")
"""Python of the environment with zhipuai, which needs another version of pyjwt than Airflow."""

_CONNECTION = f"conn.get('{CONNECTION}')"
API_KEY = f"{{{{ ({_CONNECTION}.password or '') if {_CONNECTION} else '' }}}}"
"""Template of the API key: the Connection's password; empty without a Connection or a password."""


def hosted_reference(task_id: str) -> Callable[..., Any]:
    """The task that takes a `HostedBatch` and `API_KEY`, and runs in the environment with zhipuai.

    The task is skipped where its environment is missing: the reference is optional and never fails a run.

    Args:
        task_id: Id of the task.
    """
    in_environment = task.external_python(
        python=PYTHON,
        expect_airflow=False,
        task_id=task_id,
        execution_timeout=timedelta(minutes=30),
        skip_on_exit_code=1,
    )
    return in_environment(ask_hosted)
