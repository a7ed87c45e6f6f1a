"""The witness of a pair: it differs as the judge sees it, is minimal, and is the same each time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqltune.evaluation.judge import Judge, Pair
from sqltune.evaluation.witness import Witness
from sqltune.evaluation.witness_search import WitnessFinder
from tests.sqltune.evaluation.witnesses import CONTEXT, database, judged_on, league, rows_of, witness_of

QUERIES = [
    "SELECT name FROM player",
    "SELECT name FROM player WHERE age > 25",
    "SELECT name FROM player WHERE age >= 25",
    "SELECT name FROM player WHERE age > 25 AND team_id = 1",
    "SELECT name FROM player WHERE age > 25 OR team_id = 1",
    "SELECT name FROM player WHERE team_id IS NULL",
    "SELECT name, age FROM player",
    "SELECT team_id, count(*) FROM player GROUP BY team_id",
    "SELECT team_id, max(age) FROM player GROUP BY team_id",
    "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 1",
    "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 4",
    "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id",
    "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id WHERE t.city = 'Rome'",
    "SELECT p.name FROM player p LEFT JOIN team t ON p.team_id = t.id WHERE t.city = 'Rome' OR p.age > 30",
    "SELECT t.name FROM team t WHERE id NOT IN (SELECT team_id FROM player WHERE team_id > 0)",
    "SELECT t.name FROM team t WHERE id IN (SELECT team_id FROM player WHERE age > 25)",
    "SELECT t.name, p.name FROM team t, player p",
]
"""None of them orders, or returns a row on empty tables: a difference is a difference."""
AGE = st.sampled_from([20, 25, 30, 35])
TEAM = st.tuples(st.sampled_from(["Reds", "Blues"]), st.sampled_from(["Rome", "Bonn"]))
TEAMS = st.lists(TEAM, min_size=1, max_size=4)


@st.composite
def leagues(draw: st.DrawFn) -> dict[str, list[tuple[object, ...]]]:
    """Rows of teams and of players, each of whom is in a team that exists or in none."""
    teams = [(i, *team) for i, team in enumerate(draw(TEAMS), 1)]
    of_team = st.one_of(st.none(), st.integers(1, len(teams)))
    players = draw(st.lists(st.tuples(st.sampled_from(["Ann", "Ben", "Cid"]), AGE, of_team), max_size=9))
    return {"team": teams, "player": [(i, *player) for i, player in enumerate(players, 1)]}


@settings(deadline=None)
@given(leagues(), st.sampled_from(QUERIES), st.sampled_from(QUERIES))
def test_witness_differs_and_is_minimal_as_the_judge_sees_it(rows, gold, predicted):
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(gold, predicted, CONTEXT, database(Path(folder) / "all.sqlite", rows))
        assume(Judge().judge(pair).outcome == "mismatch")
        witness = Witness.model_validate(WitnessFinder().find(pair))
        kept = rows_of(witness)
        assert judged_on(Path(folder) / "kept.sqlite", witness, kept, gold, predicted).outcome == "mismatch"
        for number, fewer in enumerate(with_one_row_less(kept, follow=witness.small)):
            match = judged_on(Path(folder) / f"{number}.sqlite", witness, fewer, gold, predicted)
            assert match.matched, (kept, fewer)


def with_one_row_less(rows: dict[str, list[tuple[object, ...]]], follow: bool):
    """The rows without each single one; players follow their team, where references stay whole."""
    for table, several in rows.items():
        for lost in several:
            fewer = {name: [r for r in kept if r is not lost] for name, kept in rows.items()}
            if follow and table == "team" and "player" in fewer:
                fewer["player"] = [r for r in fewer["player"] if r[3] != lost[0]]
            yield fewer


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(QUERIES), st.sampled_from(QUERIES))
def test_synthetic_witness_differs_as_the_judge_sees_it(gold, predicted):
    pair = Pair(gold, predicted, CONTEXT)
    assume(Judge().judge(pair).outcome == "mismatch")
    witness = Witness.model_validate(WitnessFinder().find(pair))
    assert witness.source == "synthetic"
    with tempfile.TemporaryDirectory() as folder:
        match = judged_on(Path(folder) / "kept.sqlite", witness, rows_of(witness), gold, predicted)
    assert match.outcome == "mismatch"


@settings(deadline=None, max_examples=20)
@given(leagues(), st.sampled_from(QUERIES), st.sampled_from(QUERIES))
def test_witness_is_the_same_each_time_and_after_other_pairs(rows, gold, predicted):
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(gold, predicted, CONTEXT, database(Path(folder) / "all.sqlite", rows))
        finder = WitnessFinder()
        first = finder.find(pair)
        finder.find(Pair(predicted, gold, CONTEXT, pair.database))
        assert finder.find(pair) == first == WitnessFinder().find(pair)


def test_witness_shows_the_boundary_that_an_operator_misses(tmp_path):
    witness = witness_of(
        "SELECT name FROM player WHERE age > 25", "SELECT name FROM player WHERE age >= 25", league(tmp_path)
    )
    ((player,),) = rows_of(witness).values()
    assert player[2] == 25
    assert witness.difference == "extra"


def test_witness_holds_only_tables_that_are_read(tmp_path):
    witness = witness_of("SELECT name FROM team", "SELECT city FROM team", league(tmp_path))
    assert [(table.name, table.read) for table in witness.tables] == [("team", ("name", "city"))]


def test_a_player_keeps_the_team_that_both_queries_join(tmp_path):
    """Without the team they would differ as well, but for a reason that is none."""
    witness = witness_of(
        "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id WHERE p.age > 30",
        "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id",
        league(tmp_path),
    )
    rows = rows_of(witness)
    assert [team[0] for team in rows["team"]] == [player[3] for player in rows["player"]]


def test_reference_that_the_gold_query_joins_needs_no_declaration(tmp_path):
    undeclared = CONTEXT.replace(" REFERENCES team (id)", "")
    rows = {"team": [(1, "Reds", "Rome")], "player": [(1, "Ann", 20, 1), (2, "Ben", 40, 1)]}
    witness = witness_of(
        "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id WHERE p.age > 30",
        "SELECT p.name FROM player p LEFT JOIN team t ON p.team_id = t.id",
        database(tmp_path / "a.sqlite", rows, undeclared),
        undeclared,
    )
    assert {name: len(kept) for name, kept in rows_of(witness).items()} == {"team": 1, "player": 1}


def test_rows_that_a_query_counts_are_all_there(tmp_path):
    rows = {"player": [(i, "Ann", 20, i % 3) for i in range(33)]}
    witness = witness_of(
        "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 10",
        "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 11",
        database(tmp_path / "a.sqlite", rows),
    )
    assert len(rows_of(witness)["player"]) == 11
    assert not witness.small
    assert witness.minimal


def test_ties_are_no_witness_where_a_plain_difference_exists(tmp_path):
    rows = {"player": [(1, "Ann", 20, 1), (2, "Ben", 20, 1), (3, "Cid", 30, 1)]}
    witness = witness_of(
        "SELECT name FROM player ORDER BY age LIMIT 1",
        "SELECT name FROM player ORDER BY age DESC LIMIT 1",
        database(tmp_path / "a.sqlite", rows),
    )
    assert {player[2] for player in rows_of(witness)["player"]} == {20, 30}
    assert not witness.tied


def test_ties_that_alone_told_the_queries_apart_are_named(tmp_path):
    rows = {"player": [(1, "Ann", 20, 1), (2, "Ben", 20, 1)]}
    witness = witness_of(
        "SELECT name FROM player ORDER BY age LIMIT 1",
        "SELECT name FROM player ORDER BY age, name DESC LIMIT 1",
        database(tmp_path / "a.sqlite", rows),
    )
    assert witness.tied


def test_search_in_vain_for_a_plain_difference_leaves_time_for_ties(tmp_path, monkeypatch):
    monkeypatch.setattr("sqltune.evaluation.witness_search.MAX_COMPARISONS", 20)
    rows = {"player": [(i, f"n{i}", 20, 1) for i in range(300)]}
    witness = witness_of(
        "SELECT name FROM player ORDER BY age LIMIT 1",
        "SELECT name FROM player ORDER BY age, id DESC LIMIT 1",
        database(tmp_path / "a.sqlite", rows),
    )
    assert witness.tied
    assert len(rows_of(witness)["player"]) == 2


def test_queries_that_differ_on_empty_tables_are_told_apart_by_a_row(tmp_path):
    """On nothing, a count is 0 and a sum NULL; that convinces nobody."""
    witness = witness_of("SELECT count(*) FROM player", "SELECT sum(age) FROM player", league(tmp_path))
    assert len(rows_of(witness)["player"]) == 1


def test_queries_that_differ_on_empty_tables_alone_are_told_apart_by_them(tmp_path):
    empty = database(tmp_path / "a.sqlite", {})
    witness = witness_of("SELECT count(*) FROM player", "SELECT sum(age) FROM player", empty)
    assert rows_of(witness) == {"player": []}


def test_rows_without_a_partner_are_marked(tmp_path):
    witness = witness_of("SELECT id FROM team", "SELECT max(id) FROM team", league(tmp_path))
    assert witness.gold.row_count == 2
    assert len(witness.gold.different) == 1
    assert witness.answer.different == ()


def test_difference_in_a_large_table_is_found_in_its_samples(tmp_path):
    rows = {"player": [(i, f"n{i}", i % 50, i % 7) for i in range(12_500)]}
    file = database(tmp_path / "a.sqlite", rows)
    witness = witness_of(
        "SELECT p.name FROM player p WHERE p.name = 'n5432'",
        "SELECT p.name FROM player p WHERE p.name = 'n5433'",
        file,
    )
    assert [len(kept) for kept in rows_of(witness).values()] == [1]


def test_values_that_json_lacks_are_texts(tmp_path):
    file = database(tmp_path / "a.sqlite", {"team": [(1, b"\x00\xff", "x" * 1000)]})
    witness = witness_of("SELECT name, city, 9e999 FROM team", "SELECT name, city, 1 FROM team", file)
    assert witness.gold.rows == (("x'00ff'", "x" * 200 + "…", "inf"),)


def test_many_rows_are_counted_and_some_shown(tmp_path):
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n, team"
    )
    witness = witness_of("SELECT id + 1000 FROM team", many, league(tmp_path))
    assert witness.answer.row_count == 500
    assert len(witness.answer.rows) == 50


def test_names_in_quotes_are_kept(tmp_path):
    context = 'CREATE TABLE "a ""b"" c" ("GDP总计(亿)" INTEGER, "select" TEXT)'
    file = database(tmp_path / "a.sqlite", {'a "b" c': [(1, "x"), (2, "y")]}, context)
    witness = witness_of(
        'SELECT "select" FROM "a ""b"" c"', 'SELECT "GDP总计(亿)" FROM "a ""b"" c"', file, context
    )
    assert witness.tables[0].columns == ("GDP总计(亿)", "select")


def test_view_is_read_with_the_rows_of_its_tables(tmp_path):
    context = f"{CONTEXT}; CREATE VIEW young AS SELECT name FROM player WHERE age < 30"
    file = database(tmp_path / "a.sqlite", {"player": [(1, "Ann", 20, 1), (2, "Ben", 40, 1)]}, context)
    witness = witness_of("SELECT name FROM young", "SELECT name FROM player", file)
    assert [len(kept) for kept in rows_of(witness).values()] == [1]


LOOP = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000)"
SLOW = f"{LOOP} SELECT max(i) FROM n, player"


def test_search_ends_at_its_limit_of_steps(tmp_path):
    """The judge runs this query, which is only slow; hundreds of times would be too often."""
    pair = Pair("SELECT age FROM player", SLOW, CONTEXT, league(tmp_path))
    start = time.process_time()
    assert WitnessFinder().find(pair) is None
    assert time.process_time() - start < 1


@pytest.mark.parametrize(("limit", "value"), [("MAX_COMPARISONS", 33), ("MAX_ROWS_FILLED", 270)])
def test_search_that_ends_at_a_limit_says_so(tmp_path, monkeypatch, limit, value):
    rows = {"player": [(i, "Ann", 20, i % 3) for i in range(33)]}
    file = database(tmp_path / "a.sqlite", rows)
    monkeypatch.setattr(f"sqltune.evaluation.witness_search.{limit}", value)
    witness = witness_of(
        "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 10",
        "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 11",
        file,
    )
    assert len(rows_of(witness)["player"]) > 11
    assert not witness.minimal


def test_search_ends_by_the_clock_where_nothing_else_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sqltune.evaluation.witness_search.MAX_SECONDS", 0)
    pair = Pair("SELECT name FROM team", "SELECT city FROM team", CONTEXT, league(tmp_path))
    assert WitnessFinder().find(pair) is None


def test_queries_that_agree_have_no_witness(tmp_path):
    pair = Pair("SELECT name FROM team", "SELECT t.name FROM team t", CONTEXT, league(tmp_path))
    assert WitnessFinder().find(pair) is None


@pytest.mark.parametrize("predicted", ["", "DROP TABLE team", "SELECT nothing FROM team", "SELECT random()"])
def test_pair_that_can_not_be_searched_raises_nothing(tmp_path, predicted):
    WitnessFinder().find(Pair("SELECT name FROM team", predicted, CONTEXT, league(tmp_path)))


def test_database_that_is_not_there_raises_nothing(tmp_path):
    assert WitnessFinder().find(Pair("SELECT 1", "SELECT 2", "", str(tmp_path / "a.sqlite"))) is None


def test_large_table_that_no_sample_tells_apart_takes_little_time(tmp_path):
    """The search once went on through all parts of the table when it was not allowed to compare any more."""
    rows = {"player": [(i, "Ann", 20, i % 3) for i in range(20_000)]}
    pair = Pair(
        "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 6000",
        "SELECT team_id FROM player GROUP BY team_id HAVING count(*) > 7000",
        CONTEXT,
        database(tmp_path / "a.sqlite", rows),
    )
    start = time.process_time()
    WitnessFinder().find(pair)
    assert time.process_time() - start < 2
