"""How small witnesses are, and how long one takes: over wrong answers made of gold queries.

    python bench/witness.py DATA [--every N] [--list]

DATA: the folder with spider_dev/, dusql_dev/ and hub_dataset/; of each, one question in N is taken. Each gold
query is changed in every way that applies to it (`CHANGES`: another column, operator, value or aggregate, a
join or condition dropped …); what two real models answered on Spider is added. The pairs that the judge finds
different get their witness, in this process and on one core. The milliseconds are those of the witness, its
synthetic databases or the reading of the file's rows included; the judging comes before. Prints one JSON
object a line. --list prints the pairs without a witness of at most three rows a table, except those whose
LIMIT or HAVING counts that many rows.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.dataset.rows import read_rows
from sqltune.errors import ScoringError
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.questions import Question, question_from_row
from sqltune.evaluation.score_files import read_predictions
from sqltune.evaluation.witness_search import WitnessFinder
from sqltune.sql.queries import with_joined_operators

OTHER_KINDS: dict[type, type] = {
    exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT, exp.EQ: exp.NEQ, exp.NEQ: exp.EQ,
    exp.And: exp.Or, exp.Or: exp.And, exp.Max: exp.Min, exp.Min: exp.Max, exp.Sum: exp.Avg, exp.Avg: exp.Sum,
    exp.Count: exp.Sum, exp.Union: exp.Intersect, exp.Intersect: exp.Union, exp.Except: exp.Union,
}  # fmt: skip
DROPPED = ("where", "group", "having", "order", "limit")
COUNTS_ROWS = re.compile(r"limit\s+([2-9]|\d\d)|having", re.IGNORECASE)
"""A LIMIT of two or more, or a HAVING: many such queries differ on no smaller database."""


def chosen(tree: exp.Expr, *kinds: type) -> Any:
    """One of a query's expressions of some kinds, always the same; None if it has none."""
    nodes = [node for node in tree.walk() if type(node) in kinds]
    return random.Random(len(tree.sql())).choice(nodes) if nodes else None


def another_column(tree: exp.Expr) -> bool:
    """Replace a column by another one of the query."""
    column = chosen(tree, exp.Column)
    others = [c for c in tree.find_all(exp.Column) if column and c.name.lower() != column.name.lower()]
    if not others:
        return False
    column.replace(others[0].copy())
    return True


def another_kind(tree: exp.Expr) -> bool:
    """Replace an operator, an aggregate or a set operation by another one."""
    node = chosen(tree, *OTHER_KINDS)
    if node is None or node is tree:
        return False
    node.replace(OTHER_KINDS[type(node)](**node.args))
    return True


def another_value(tree: exp.Expr) -> bool:
    """Replace a literal by one just beside it."""
    literal = chosen(tree, exp.Literal)
    if literal is None:
        return False
    beside = f"{literal.this}x" if literal.is_string else str(float(literal.this) + 1).removesuffix(".0")
    literal.replace(exp.Literal(this=beside, is_string=literal.is_string))
    return True


def join_dropped(tree: exp.Expr) -> bool:
    """Drop the last join."""
    selects = [select for select in tree.find_all(exp.Select) if select.args.get("joins")]
    if not selects:
        return False
    selects[0].args["joins"].pop()
    return True


def left_join(tree: exp.Expr) -> bool:
    """Make an inner join an outer one."""
    join = chosen(tree, exp.Join)
    if join is None or join.side:
        return False
    join.set("side", "LEFT")
    return True


def condition_dropped(tree: exp.Expr) -> bool:
    """Drop one side of an AND."""
    both = chosen(tree, exp.And)
    if both is None or both is tree:
        return False
    both.replace(both.this.copy())
    return True


def other_direction(tree: exp.Expr) -> bool:
    """Turn the order round."""
    ordered = chosen(tree, exp.Ordered)
    if ordered is None:
        return False
    ordered.set("desc", not ordered.args.get("desc"))
    ordered.set("nulls_first", ordered.args.get("desc") is False)
    return True


def distinct(tree: exp.Expr) -> bool:
    """Add a DISTINCT, or drop it: the judge drops both, unless it is inside an aggregate."""
    count = chosen(tree, exp.Count)
    if count is None or isinstance(count.this, exp.Star | exp.Distinct):
        return False
    count.set("this", exp.Distinct(expressions=[count.this]))
    return True


def a_limit(tree: exp.Expr) -> bool:
    """Add a LIMIT."""
    if not isinstance(tree, exp.Select) or tree.args.get("limit"):
        return False
    tree.limit(1, copy=False)
    return True


def without(part: str) -> Callable[[exp.Expr], bool]:
    """Drop a clause."""

    def change(tree: exp.Expr) -> bool:
        selects = [select for select in tree.find_all(exp.Select) if select.args.get(part)]
        if not selects:
            return False
        selects[0].set(part, None)
        return True

    return change


CHANGES: dict[str, Callable[[exp.Expr], bool]] = {
    "column": another_column,
    "operator": another_kind,
    "value": another_value,
    "join dropped": join_dropped,
    "left join": left_join,
    "condition dropped": condition_dropped,
    "direction": other_direction,
    "distinct": distinct,
    "limit": a_limit,
    **{f"no {part}": without(part) for part in DROPPED},
}


def changed(query: str) -> Iterator[str]:
    """The query with each change that applies to it."""
    try:
        tree = sqlglot.parse_one(with_joined_operators(query), read="sqlite")
        for change in CHANGES.values():
            copy = tree.copy()
            if change(copy):
                yield copy.sql(dialect="sqlite")
    except (SqlglotError, ValueError):
        return


def mutants(questions: Sequence[Question]) -> list[Pair]:
    """Each question with each change of its gold query."""
    return [Pair(q.gold, sql, q.context, q.database) for q in questions for sql in changed(q.gold)]


def measure(source: str, pairs: Sequence[Pair], show: bool) -> None:
    """Find the witnesses of the pairs that differ, and print what they are like."""
    matches = match_pairs(pairs)
    different = [p for p, match in zip(pairs, matches, strict=True) if match.outcome == "mismatch"]
    finder = WitnessFinder()
    milliseconds, comparisons, counting = [], [], 0
    largest, kinds = Counter[int | None](), Counter[str]()
    for pair in different:
        start = time.process_time()
        witness = finder.find(pair)
        milliseconds.append(1000 * (time.process_time() - start))
        rows = max((t["row_count"] for t in witness["tables"]), default=0) if witness else None
        largest[rows] += 1
        comparisons.append(witness["comparisons"] if witness else 0)
        kinds[witness["difference"] if witness else "none found"] += 1
        if rows is None or rows > 3:
            counts_rows = any(COUNTS_ROWS.search(query) for query in (pair.gold, pair.predicted))
            counting += counts_rows
            if show and not counts_rows:
                print(rows, pair.gold, pair.predicted, sep="\n    ", file=sys.stderr)
    small = sum(n for rows, n in largest.items() if rows is not None and rows <= 3)
    figures = {
        "source": source,
        "pairs": len(pairs),
        "different": len(different),
        "at_most_3_rows": small,
        "share": round(100 * small / len(different), 2),
        "none_found": largest[None],
        "larger_by_a_limit_or_having": counting,
        "milliseconds": {name: round(at(milliseconds, part), 1) for name, part in PARTS.items()},
        "comparisons": {name: at(comparisons, part) for name, part in PARTS.items()},
        "rows_of_largest_table": {str(k): v for k, v in sorted(largest.items(), key=lambda i: i[0] or -1)},
        "differences": dict(kinds.most_common()),
    }
    print(json.dumps(figures), flush=True)


PARTS = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def at(values: Sequence[float], part: float) -> float:
    """The value below which a part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def read(file: Path, databases: Path | None, every: int) -> list[Question]:
    """Every n-th question of a file whose gold query is there."""
    questions = []
    for number, row in enumerate(read_rows([file])):
        if number % every == 0:
            try:
                questions.append(question_from_row(row, f"{number:06d}", databases))
            except ScoringError as e:
                print(e, file=sys.stderr)
    return questions


def main() -> None:
    """Measure each source."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    data, every, show = arguments.data, arguments.every, arguments.list
    spider, dusql = data / "spider_dev", data / "dusql_dev"
    english, chinese = (
        read(spider / "dev.json", spider / "sqlite", every),
        read(dusql / "dev.jsonl", dusql / "sqlite", every),
    )
    for name, questions in (("Spider", english), ("DuSQL", chinese)):
        pairs = mutants(questions)
        measure(f"{name}, changed golds, real databases", pairs, show)
        synthetic = [Pair(p.gold, p.predicted, p.context) for p in pairs]
        measure(f"{name}, changed golds, synthetic databases", synthetic, show)
    training = read(data / "hub_dataset" / "train.jsonl", None, 40 * every)
    measure("DuSQL training rows, changed golds, synthetic databases", mutants(training), show)
    for file in sorted((spider / "predictions").iterdir()):
        queries = read_predictions(file)[::every]
        pairs = [Pair(q.gold, p, q.context, q.database) for q, p in zip(english, queries, strict=True)]
        measure(f"Spider, {file.stem}, real databases", pairs, show)


if __name__ == "__main__":
    main()
