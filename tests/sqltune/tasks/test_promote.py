"""What is promoted, and what is not any more."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.evaluation.statistics import compare
from sqltune.evaluation.verdict import Verdict
from sqltune.registry import versions
from sqltune.tasks import promote


def test_a_candidate_that_was_compared_with_another_champion_is_not_promoted(plan, monkeypatch):
    served = []
    monkeypatch.setattr(
        promote, "serve_version", lambda site, version, why, by: served.append(version.number)
    )
    first, second = (
        versions.register(
            "lab",
            run,
            run_key=run,
            host="host-a",
            merged_path=f"/{run}",
            model_hash=run,
            dtype="float16",
            lineage={},
        )
        for run in ("r1", "r2")
    )
    passed = Verdict(passed=True, rules=(), comparison=compare(100, 10, 2)).model_dump(mode="json")
    promote.promote(plan, passed, second.number)
    assert served == [2]
    versions.promote(first, "promoted by hand", "somebody")
    with pytest.raises(
        AirflowSkipException,
        match="version 1 was promoted since this run began, and the candidate was compared with the base model",
    ):
        promote.promote(plan, passed, second.number)
    # A retry after its own promotion goes through.
    versions.promote(second, "passed the gate", "r2")
    promote.promote(plan, passed, second.number)
    assert served == [2, 2]
