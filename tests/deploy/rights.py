"""Who may do what, by role of the FAB auth manager: the table in docs/deploy.md."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("Viewer", "User", "Op", "Admin")
DAG = "/api/v2/dags/text2sql_retrain"
RUN = f"{DAG}/dagRuns/no-such-run"


@dataclass(frozen=True)
class Action:
    """Something that is asked of Airflow.

    Attributes:
        name: What the table calls it.
        roles: Who may.
        method: The HTTP method.
        path: The address. What it names need not exist: rights are looked at first.
        body: The JSON that is sent.
    """

    name: str
    roles: tuple[str, ...]
    method: str
    path: str
    body: object = None


PROMOTE = "/api/v2/dags/text2sql_promote/dagRuns"
ALL, EDITORS, OPERATORS, ADMIN = ROLES, ROLES[1:], ROLES[2:], ROLES[3:]
ACTIONS = [
    Action("see runs, answers, models and the queue", ALL, "GET", "/sqltune/api/v1/runs"),
    Action("read a task's log", ALL, "GET", f"{RUN}/taskInstances/train/logs/1"),
    Action("start a run", EDITORS, "POST", f"{DAG}/dagRuns", {"conf": {"recipe": "nothing"}}),
    Action(
        "promote a version, roll back",
        EDITORS,
        "POST",
        PROMOTE,
        {"conf": {"version": -1}},
    ),
    Action(
        "answer an approval",
        EDITORS,
        "PATCH",
        f"{RUN}/taskInstances/approve/-1/hitlDetails",
        {"chosen_options": ["Approve"], "params_input": {}},
    ),
    Action("stop a run, mark it", EDITORS, "PATCH", RUN, {"state": "failed"}),
    Action("delete a run", EDITORS, "DELETE", RUN),
    Action("pause a DAG", EDITORS, "PATCH", "/api/v2/dags/no-such-dag", {"is_paused": True}),
    Action("see Connections (not their passwords)", OPERATORS, "GET", "/api/v2/connections"),
    Action("change Connections", OPERATORS, "DELETE", "/api/v2/connections/no_such_connection"),
    Action("read the audit log", ADMIN, "GET", "/api/v2/eventLogs"),
    Action("make users", ADMIN, "GET", "/auth/fab/v1/users"),
]
