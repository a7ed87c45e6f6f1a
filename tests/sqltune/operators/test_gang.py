"""What all gangs of the chain have in common."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

from sqltune.operators.merge import MergeAdapterOperator
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from tests.plans import run_plan

MERGED = {"merged_path": "/code/merged", "model_hash": "cd", "largest_difference": 0.001}


def test_the_model_that_a_gang_hands_on_is_json_in_xcom(monkeypatch, records):
    async def tail(self, member, rank=None, lines=30):
        return f"RESULT {json.dumps(MERGED)}\n"

    monkeypatch.setattr(GangHook, "tail", tail)
    operator = MergeAdapterOperator(
        task_id="merge_adapter",
        plan=run_plan().model_dump(mode="json"),
        adapter={"adapter_path": "/code/adapter", "layers": 14, "checkpoint_hash": "ab"},
    )
    ti = SimpleNamespace(
        dag_id="d", task_id="merge_adapter", run_id="r", id=uuid.uuid4(), map_index=-1, max_tries=1
    )
    ended = GangEvent(ok=True, attempt="try1-x", reason="", seconds=1).model_dump(mode="json")
    assert operator.execute_complete({"ti": ti}, ended) == MERGED
