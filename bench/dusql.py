"""How many of DuSQL's published answers run once they are normalised: one JSON object a line.

    python bench/dusql.py DATA

DATA: the folder with dusql_dev/ (dev.jsonl and sqlite/) and hub_dataset/ (train.jsonl). The training rows
come without databases: their answers are tried on empty tables with the published names, which are read from
the contexts by nothing but commas, so that a mistake of the normaliser in reading contexts shows.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.dataset.rows import read_rows
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.sql.normalise import normalise


def dev(data: Path) -> dict[str, object]:
    """The held-back answers, on the real and on synthetic databases."""
    rows = list(read_rows([data / "dev.jsonl"]))
    golds = [normalise(row["answer"], row["context"]).sql for row in rows]
    files = [str(data / "sqlite" / f"{row['db_id']}.sqlite") for row in rows]
    real = match_pairs([Pair(g, g, database=file) for g, file in zip(golds, files, strict=True)])
    synthetic = match_pairs([Pair(g, g, row["context"]) for g, row in zip(golds, rows, strict=True)])
    published = match_pairs(
        [
            Pair(row["answer_sqlite"], gold, database=file)
            for row, gold, file in zip(rows, golds, files, strict=True)
            if row["answer_sqlite"]
        ]
    )
    return {
        "measure": "held-back answers",
        "rows": len(rows),
        "run_on_real_databases": sum(m.matched for m in real),
        "run_on_synthetic_databases": sum(m.matched for m in synthetic),
        "with_published_sqlite_form": len(published),
        "same_rows_as_that": sum(m.strict for m in published),
    }


def published_tables(context: str) -> sqlite3.Connection:
    """The tables of a context with the names exactly as it has them."""
    connection = sqlite3.connect(":memory:")
    for statement in context.split("; "):
        table, body = re.findall(r"^CREATE TABLE (\S+) \((.*)\)$", statement)[0]
        names = dict.fromkeys(definition.rpartition(" ")[0] for definition in body.split(", "))
        connection.execute(f'CREATE TABLE "{table}" ({", ".join(f"[{name}]" for name in names)})')
    return connection


def runs(connection: sqlite3.Connection, query: str) -> bool:
    """Whether SQLite accepts a query."""
    try:
        connection.execute(f"EXPLAIN {query}").close()
    except (sqlite3.Error, sqlite3.Warning):
        return False
    return True


def train(data: Path) -> dict[str, object]:
    """The training answers, on tables with the published names."""
    rows = list(read_rows([data / "train.jsonl"]))
    tables = {context: published_tables(context) for context in {row["context"] for row in rows}}
    results = [normalise(row["answer"], row["context"]) for row in rows]
    return {
        "measure": "training answers",
        "rows": len(rows),
        "changed": sum(bool(result.rules) for result in results),
        "reported_as_running": sum(not result.problem for result in results),
        "run_as_published": sum(runs(tables[row["context"]], row["answer"]) for row in rows),
        "run": sum(runs(tables[row["context"]], r.sql) for row, r in zip(rows, results, strict=True)),
    }


if __name__ == "__main__":
    print(json.dumps(dev(Path(sys.argv[1]) / "dusql_dev")), flush=True)
    print(json.dumps(train(Path(sys.argv[1]) / "hub_dataset")), flush=True)
