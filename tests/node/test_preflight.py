"""What a host says of itself before anything is started on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def want(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(sys, "path", [str(ROOT / "include/node"), *sys.path])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return {
        "work_dir": str(tmp_path / "code"),
        "installation": "1" * 32,
        "interface": "lo",
        "accelerator": "cpu",
        "processes": 1,
        "is_master": False,
        "master_port": 1,
        "base_model": str(tmp_path / "model"),
        "min_free_disk_gb": 0,
        "min_free_memory_gb": 0,
    }


def test_a_folder_that_another_airflow_works_in_is_refused(want):
    """Two of them on the same hosts would prune one another's models, and end one another's training of the same night."""
    from preflight import check

    def foreign(wanted: dict) -> list[str]:
        return [problem for problem in check(wanted)["problems"] if "another Airflow" in problem]

    assert foreign(want) == [] == foreign(want)
    (problem,) = foreign(want | {"installation": "2" * 32})
    mark = Path(want["work_dir"]) / ".sqltune-records"
    assert want["work_dir"] in problem and "1" * 32 in problem and f"remove {mark}" in problem
    mark.unlink()
    assert foreign(want | {"installation": "2" * 32}) == [] and len(foreign(want)) == 1
