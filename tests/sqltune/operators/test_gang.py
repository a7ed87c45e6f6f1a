"""What all gangs of the chain have in common."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

from sqltune.operators.export import ExportModelOperator
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from tests.exported import EXPORTED, TRAINED
from tests.plans import run_plan


def test_the_model_that_a_gang_hands_on_is_json_in_xcom(monkeypatch, records):
    async def tail(self, member, rank=None, lines=30):
        return f"RESULT {EXPORTED.model_dump_json()}\n"

    monkeypatch.setattr(GangHook, "tail", tail)
    plan = run_plan().model_dump(mode="json")
    operator = ExportModelOperator(task_id="export_model", plan=plan, trained=TRAINED.model_dump())
    ti = SimpleNamespace(
        dag_id="d", task_id="export_model", run_id="r", id=uuid.uuid4(), map_index=-1, max_tries=1
    )
    ended = GangEvent(ok=True, attempt="try1-x", reason="", seconds=1).model_dump(mode="json")
    assert operator.execute_complete({"ti": ti}, ended) == EXPORTED.model_dump()
