"""Versions and promotions: numbers that stay unique, and a history that cannot be rewritten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sqltune.records import database, evaluations, promotions, runs, verdicts, versions
from sqltune.records.evaluations import EvaluationRecord
from tests.databases import statements
from tests.plans import run_plan
from tests.versions import registered

pytestmark = pytest.mark.usefixtures("engine")


def test_what_sqlite_has_committed_survives_a_power_cut():
    """A host does not send again what was recorded, and a served model is known by its record."""
    if database.engine().dialect.name == "sqlite":
        with database.engine().connect() as connection:
            full = 2
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full


def test_candidates_are_numbered_for_each_cluster():
    assert [registered("r1").number, registered("r2").number, registered("g1", "gpu").number] == [1, 2, 1]


def test_a_retry_keeps_its_number_and_replaces_what_is_known():
    first = registered("r1", lineage={"score": "1/2"})
    second = registered("r1", lineage={"score": "2/2"})
    assert (second.number, second.registered_at) == (first.number, first.registered_at)
    assert versions.find("lab", 1).lineage == {"score": "2/2"}


def test_two_that_register_at_once_get_two_numbers():
    with ThreadPoolExecutor(8) as pool:
        numbers = [v.number for v in pool.map(registered, [f"r{number}" for number in range(8)])]
    assert sorted(numbers) == list(range(1, 9))


def test_an_unknown_version_is_none():
    assert versions.find("lab", 7) is None


def test_the_scores_of_all_versions():
    runs.put_plan(run_plan("r1"))
    evaluation = EvaluationRecord(model="m", model_hash="h", questions=10, matched=7, score={}, judgements=[])
    evaluations.put("r1", "after", evaluation, "d")
    verdicts.put("r1", passed=True, table="", decision={}, rules=[])
    registered("r1")
    registered("r2")
    first, second = versions.scores("lab")
    assert (first.number, first.matched, first.questions, first.passed) == (1, 7, 10, True)
    assert first.dataset_commit == run_plan().dataset_commit
    assert (second.number, second.matched) == (2, None)


def test_before_the_first_promotion_nothing_serves():
    assert promotions.champion("lab") is None


def test_the_champion_is_the_version_that_was_promoted_last():
    first, second = registered("r1"), registered("r2")
    for version in (first, second, first):
        promotions.promote(version, "gate", "r")
    assert promotions.champion("lab") == first.champion
    assert [(p.version, p.before) for p in promotions.history("lab")] == [(1, None), (2, 1), (1, 2)]


def test_the_times_in_which_versions_served():
    first, second = registered("r1"), registered("r2")
    for version in (first, second, first):
        promotions.promote(version, "gate", "r")
    one, two, three = (promotion.at for promotion in promotions.history("lab"))
    with statements() as sent:
        times = promotions.served_times("lab")
    assert [(t.version, t.before, t.at, t.until) for t in times] == [
        (1, None, one, two),
        (2, 1, two, three),
        (1, 2, three, None),
    ]
    assert [(t.at, t.until) for t in promotions.served_times("lab", 1)] == [(one, two), (three, None)]
    assert promotions.served_times("gpu") == []
    assert "lineage" not in "".join(sent)


def test_the_gpu_hours_of_the_versions_that_have_them():
    registered("r1", lineage={"gpu_hours": "1.500", "score": "7/10"})
    registered("r2", lineage={"score": "7/10"})
    assert versions.gpu_hours("lab") == {"r1": 1.5}
    assert versions.gpu_hours("gpu") == {}


def test_a_version_promoted_twice_in_a_row_is_recorded_once():
    version = registered("r1")
    promotions.promote(version, "gate", "r1")
    promotions.promote(version, "again, by a retry", "r1")
    assert [p.why for p in promotions.history("lab")] == ["gate"]


def test_a_promotion_names_its_data_and_score():
    promotions.promote(registered("r1", lineage={"score": "7/10"}), "gate", "r1")
    (promotion,) = promotions.history("lab")
    assert (promotion.why, promotion.by, promotion.run_id, promotion.lineage) == (
        "gate",
        "r1",
        "r1",
        {"score": "7/10"},
    )


def test_two_that_promote_at_once_are_recorded_one_after_the_other():
    chosen = [registered(f"r{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda v: promotions.promote(v, "gate", v.run_id), chosen))
    history = promotions.history("lab")
    assert sorted(p.version for p in history) == [1, 2, 3, 4, 5, 6]
    assert [p.before for p in history] == [None, *(p.version for p in history[:-1])]


def test_what_served_at_a_moment():
    promotions.promote(registered("r1"), "gate", "r1")
    promotions.promote(registered("r2"), "gate", "r2")
    first, second = promotions.history("lab")
    assert promotions.served_at("lab", first.at - timedelta(seconds=1)) is None
    assert promotions.served_at("lab", first.at) == first
    assert promotions.served_at("lab", second.at + timedelta(days=1)) == second
    assert promotions.served_at("gpu", second.at) is None


def test_a_number_is_higher_than_every_one_that_was_served():
    promotions.promote(registered("r1").model_copy(update={"number": 5}), "gate", "r1")
    assert registered("r2").number == 6


@pytest.mark.parametrize("statement", ["UPDATE promotions SET why = 'other'", "DELETE FROM promotions"])
def test_a_promotion_is_never_changed(statement):
    promotions.promote(registered("r1"), "gate", "r1")
    with database.engine().connect() as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.execute(text(statement))
    assert [p.why for p in promotions.history("lab")] == ["gate"]


# SQLite has no TRUNCATE.
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_promotions_are_never_truncated(engine):
    promotions.promote(registered("r1"), "gate", "r1")
    with database.engine().connect() as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.execute(text("TRUNCATE promotions"))
