"""DuSQL's SQL dialect to SQLite's: 44 % of its answers do not run as published.

Each rule corrects one habit of the dataset. A query that runs on its context is left as it is, except for
quotes around names that SQLite reads as something else.

`python -m sqltune.sql.normalise FILE [--databases DIR]` normalises a file, as does
`sqltune.dataset.normalise_file`.
"""

from __future__ import annotations

import runpy
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from sqltune.sql.alias_rules import alias_as_table, named_aggregates, tables_by_alias
from sqltune.sql.dialect_rules import (
    quote_names,
    quote_times,
    replace_time_now,
    separate_columns,
    split_limit,
)
from sqltune.sql.names import quote_known_names
from sqltune.sql.schema import names_in, schema
from sqltune.sql.set_operands import set_operands
from sqltune.sql.tokens import Token, join, tokens

Rule = Callable[[Sequence[Token]], list[Token]]

RULES = (
    "quote_names",
    "split_limit",
    "quote_times",
    "time_now",
    "set_operands",
    "alias_as_table",
    "tables_by_alias",
    "named_aggregates",
    "separate_columns",
)
"""The names of all rules, in the order in which reports list them."""


def _rules(names: Sequence[str]) -> tuple[tuple[str, Rule], ...]:
    """The rules in the order in which they apply, for a schema with these names."""
    return (
        ("split_limit", split_limit),
        ("quote_names", quote_names),
        ("quote_times", quote_times),
        ("time_now", replace_time_now),
        ("set_operands", set_operands),
        ("alias_as_table", alias_as_table),
        ("tables_by_alias", tables_by_alias),
        ("named_aggregates", named_aggregates),
        ("separate_columns", partial(separate_columns, names=names)),
    )


@dataclass(frozen=True)
class Normalised:
    """A query in SQLite's dialect.

    Attributes:
        sql: the query.
        rules: names of the rules that changed it.
        problem: why it still does not run; '' if it runs, or if there was no schema to try it on.
    """

    sql: str
    rules: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class _Target:
    """What a query is tried on: a connection, or None and the reason why none could be made."""

    connection: sqlite3.Connection | None = None
    names: tuple[str, ...] = ()
    problem: str = ""

    def problem_of(self, sql: str) -> str:
        """What SQLite reports for a query without running it; '' if it would run."""
        if self.connection is None:
            return self.problem
        try:
            self.connection.execute(f"EXPLAIN {sql}").close()
        except (sqlite3.Error, sqlite3.Warning, ValueError) as e:
            return str(e)
        return ""


@lru_cache(maxsize=512)
def _context_target(context: str) -> _Target:
    """A context's empty tables."""
    try:
        connection = schema(context)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as e:
        return _Target(problem=f"the context can't be read: {e}")
    return _Target(connection, tuple(names_in(connection)))


def _target(context: str, connection: sqlite3.Connection | None) -> _Target:
    if connection is not None:
        return _Target(connection, tuple(names_in(connection)))
    return _context_target(context) if context.strip() else _Target()


def normalise(sql: str, context: str = "", connection: sqlite3.Connection | None = None) -> Normalised:
    """Rewrite a query in SQLite's dialect.

    Args:
        sql: the query as published.
        context: CREATE TABLE statements to try it on; without them the rules alone decide.
        connection: a database to try it on instead of the context.

    Returns:
        The query, what changed it, and why it still does not run.
    """
    target = _target(context, connection)
    # First: without its quotes SQLite may take a name for something else, and run the query.
    query = quote_known_names(tokens(sql), target.names)
    used = [] if join(query) == sql else ["quote_names"]
    if target.connection is not None and not target.problem_of(join(query)):
        return Normalised(join(query), tuple(used))
    for name, rule in _rules(target.names):
        changed = rule(query)
        if join(changed) != join(query):
            used.append(name)
            query = changed
    result = join(query).strip()
    return Normalised(result, tuple(dict.fromkeys(used)), target.problem_of(result))


if __name__ == "__main__":
    # The command reads files, which is the dataset's part; nothing here imports it.
    runpy.run_module("sqltune.dataset.normalise_file", run_name="__main__")
