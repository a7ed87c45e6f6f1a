"""How often databases made from the context give the verdict that the real databases give: on Spider, one JSON object a line.

    python bench/made_databases.py SPIDER_DEV [--list]

SPIDER_DEV: the folder with dev.json, sqlite/ and predictions/. A pair that the real rows match and the made ones do not is looked at further: when the
real database with the values of its columns (keys apart) in another order tells the two queries apart, the real rows had matched them by chance. Of a
pair that only the made rows match: whether the gold's own answer on the real rows is one of several that tie.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.dataset.rows import read_rows
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.questions import question_from_row
from sqltune.evaluation.score_files import read_predictions
from sqltune.sql.tokens import mended, orders, with_ties_broken, without_distinct

SHUFFLES = 5


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def shuffled(database: Path, seed: int, target: Path) -> Path:
    """A copy of a database in which each column that is no key holds its values in another order."""
    rng = random.Random(seed)
    target.write_bytes(database.read_bytes())
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.text_factory = lambda b: b.decode(errors="replace")
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall():
            keys = {row[3].lower() for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})")}
            columns = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
            keys |= {name.lower() for _, name, _, _, _, key in columns if key}
            for _, name, *_ in columns:
                if name.lower() in keys or name.lower().endswith("id"):
                    continue
                rows = connection.execute(f"SELECT rowid, {quoted(name)} FROM {quoted(table)}").fetchall()
                values = [value for _, value in rows]
                rng.shuffle(values)
                try:
                    connection.executemany(
                        f"UPDATE {quoted(table)} SET {quoted(name)} = ? WHERE rowid = ?",
                        [(value, rowid) for (rowid, _), value in zip(rows, values, strict=True)],
                    )
                except sqlite3.IntegrityError:
                    continue
    return target


def ties(gold: str, database: str) -> bool:
    """Whether the gold's own answer is one of several: ties of its ORDER BY, cut off by its LIMIT, give other rows when they are broken the other way."""
    if not orders(mended(gold)):
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda b: b.decode(errors="replace")
        query = without_distinct(mended(gold))
        width = len(connection.execute(query).description)
        one, other = (
            Counter(connection.execute(with_ties_broken(query, width, way)).fetchall())
            for way in (False, True)
        )
    return one != other


def main(data: Path, show: bool) -> None:
    """Compare the verdicts on both kinds of databases, for each file of predictions."""
    questions = [
        question_from_row(row, f"{i:04d}", data / "sqlite")
        for i, row in enumerate(read_rows([data / "dev.json"]))
    ]
    with tempfile.TemporaryDirectory() as folder:
        copies = {
            db: [
                str(shuffled(Path(db), seed, Path(folder) / f"{Path(db).stem}-{seed}.sqlite"))
                for seed in range(SHUFFLES)
            ]
            for db in {q.database for q in questions if q.database}
        }
        for file in sorted((data / "predictions").iterdir()):
            predicted = read_predictions(file)
            real = match_pairs(
                [Pair(q.gold, p, q.context, q.database) for q, p in zip(questions, predicted, strict=True)]
            )
            made = match_pairs(
                [Pair(q.gold, p, q.context) for q, p in zip(questions, predicted, strict=True)]
            )
            kinds: Counter[str] = Counter()
            for q, p, r, m in zip(questions, predicted, real, made, strict=True):
                if r.matched == m.matched:
                    kinds["agree"] += 1
                    continue
                if r.matched:
                    apart = any(
                        not f.matched
                        for f in match_pairs(
                            [Pair(q.gold, p, q.context, copy) for copy in copies[q.database or ""]], 1
                        )
                    )
                    kind = (
                        "both empty on the real rows"
                        if r.vacuous
                        else "told apart by the real values in another order"
                        if apart
                        else "made rows too strict"
                    )
                else:
                    kind = (
                        "the gold's rows tie on the real database"
                        if ties(q.gold, q.database or "")
                        else "made rows can't tell them apart"
                    )
                kinds[kind] += 1
                if show and kind.startswith("made"):
                    print(f"{kind}: {q.id}\n  gold      {q.gold}\n  predicted {p}", file=sys.stderr)
            chance = sum(
                kinds[k]
                for k in (
                    "both empty on the real rows",
                    "told apart by the real values in another order",
                    "the gold's rows tie on the real database",
                )
            )
            print(
                json.dumps(
                    {
                        "measure": "verdicts on made databases",
                        "predictions": file.stem,
                        "questions": len(questions),
                        "agree": round(100 * kinds["agree"] / len(questions), 2),
                        "agree_where_real_rows_decide": round(
                            100 * kinds["agree"] / (len(questions) - chance), 2
                        ),
                        "disagreements": {k: v for k, v in kinds.items() if k != "agree"},
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--list" in sys.argv)
