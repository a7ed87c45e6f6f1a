"""Versions and promotions that version 0.1 kept in files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqltune.records import installation, outbox, promotions, versions
from sqltune.records.file_import import import_files

pytestmark = pytest.mark.usefixtures("engine")


def version(number: int) -> dict[str, object]:
    return {
        "number": number,
        "cluster": "lab",
        "run_id": f"r{number}",
        "run_key": f"r{number}",
        "registered_at": f"2026-11-2{number}T02:00:00+00:00",
        "host": "host-a",
        "merged_path": f"/r{number}",
        "model_hash": f"h{number}",
        "dtype": "float16",
        "lineage": {"score": "7/10", "dataset_repo": "team/data"},
    }


def promotion(number: int, before: int | None) -> dict[str, object]:
    return {
        "at": f"2026-11-2{number}T03:00:00+00:00",
        "cluster": "lab",
        "version": number,
        "before": before,
        "why": "passed the gate",
        "by": f"r{number}",
        "run_id": f"r{number}",
        "model_hash": f"h{number}",
        "score": "7/10",
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two versions, both promoted one after the other."""
    (tmp_path / "registry" / "lab").mkdir(parents=True)
    for number in (1, 2):
        (tmp_path / "registry" / "lab" / f"{number}.json").write_text(json.dumps(version(number)))
    # The first line dates from before versions existed.
    entries = [{"at": "2026-10-01T00:00:00+00:00", "cluster": "lab"}, promotion(1, None), promotion(2, 1)]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    champion = {"version": 2, "merged_path": "/r2", "model_hash": "h2"}
    (tmp_path / "champion-lab.json").write_text(json.dumps(champion))
    return tmp_path


def test_versions_keep_their_numbers_and_lineage(folder):
    assert import_files(folder) == {"lab": (2, 2)}
    first, second = versions.of_cluster("lab")
    assert (first.number, first.merged_path, first.lineage["score"]) == (1, "/r1", "7/10")
    assert second.registered_at == datetime(2026, 11, 22, 2, tzinfo=UTC)


def test_the_champion_serves_on(folder):
    import_files(folder)
    assert promotions.champion("lab") == versions.find("lab", 2).champion


def test_what_served_at_a_moment_is_known(folder):
    import_files(folder)
    served = promotions.served_at("lab", datetime(2026, 11, 21, 12, tzinfo=UTC))
    assert (served.version, served.why, served.lineage["dataset_repo"]) == (1, "passed the gate", "team/data")


def test_the_installation_keeps_its_name(folder):
    """The hosts' work folders are marked with it: under another name, preflight would refuse them."""
    (folder / "installation").write_text("e" * 32)
    import_files(folder)
    assert installation.name() == "e" * 32


def test_an_installation_that_has_a_name_keeps_it(folder):
    name = installation.name()
    (folder / "installation").write_text("e" * 32)
    import_files(folder)
    assert installation.name() == name


def test_the_champion_keeps_its_model_where_its_versions_file_is_missing(folder):
    (folder / "registry" / "lab" / "2.json").unlink()
    import_files(folder)
    assert promotions.champion("lab").merged_path == "/r2"


def test_a_promotion_keeps_the_journals_score_where_its_versions_file_is_missing(folder):
    (folder / "registry" / "lab" / "1.json").unlink()
    import_files(folder)
    first, _ = promotions.history("lab")
    assert first.lineage == {"score": "7/10"}


def test_what_mlflow_was_not_told_yet_stays_queued_in_order(folder):
    (folder / "outbox").mkdir()
    for name, what in (
        ("1764032400000000001-version", "version"),
        ("1764032400000000002-champion", "champion"),
    ):
        message = {"what": what, "cluster": "lab", "number": 2}
        (folder / "outbox" / f"{name}.json").write_text(json.dumps(message))
    import_files(folder)
    import_files(folder)
    queued = [(message.what, message.cluster, message.number) for message in outbox.waiting()]
    assert queued == [("version", "lab", 2), ("champion", "lab", 2)]
    assert outbox.waiting()[0].created_at.replace(microsecond=0) == datetime(2025, 11, 25, 1, tzinfo=UTC)


def test_importing_twice_changes_nothing(folder):
    import_files(folder)
    assert import_files(folder) == {}
    assert len(promotions.history("lab")) == 2


def test_a_champion_without_a_journal_keeps_its_number(tmp_path):
    champion = {"version": 3, "merged_path": "/old", "model_hash": "old"}
    (tmp_path / "champion-lab.json").write_text(json.dumps(champion))
    assert import_files(tmp_path) == {"lab": (0, 1)}
    assert promotions.champion("lab").version == 3
    candidate = {"run_key": "r", "host": "a", "merged_path": "/r", "model_hash": "h", "dtype": "float16"}
    assert versions.register("lab", "r", lineage={}, **candidate).number == 4


def test_a_folder_without_records_has_nothing_to_import(tmp_path):
    assert import_files(tmp_path) == {}
