"""What names mean inside a SELECT: its tables and inner queries, and those of the SELECTs around it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from sqltune.evaluation.diagnosis.parts import Expression, Query, column, literal

Columns = Mapping[str, frozenset[str]]
"""The columns of each table, in lower case."""


@dataclass
class Scope:
    """A SELECT while it is being read.

    Attributes:
        outer: the scope around it.
        query: what was read so far.
        columns: the columns of each table; empty if the schema is not known.
        sources: a table's name or an inner query, by alias.
        with_queries: the queries of a WITH clause, by name.
    """

    outer: Scope | None
    query: Query
    columns: Columns
    sources: dict[str, str | Query] = field(default_factory=dict)
    with_queries: dict[str, exp.Expr] = field(default_factory=dict)

    def and_outer(self) -> Iterator[Scope]:
        """This scope and those around it, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def with_query(self, name: str) -> tuple[exp.Expr, Scope] | None:
        """The query that a WITH clause, here or further out, calls so, and the scope that it is in."""
        for scope in self.and_outer():
            if name in scope.with_queries:
                tree = scope.with_queries[name]
                # It knows those before it; its own name is a table's, or that of its previous rows.
                before = dict(itertools.takewhile(lambda item: item[0] != name, scope.with_queries.items()))
                return tree, Scope(scope.outer, Query(tree), scope.columns, with_queries=before)
        return None

    def has(self, source: str | Query, name: str) -> bool:
        """Whether a table or an inner query has a column of that name."""
        return name in (self.columns.get(source, ()) if isinstance(source, str) else source.names)

    def all_columns(self, alias: str) -> Iterator[tuple[str, Expression]]:
        """What `*`, or `alias.*`, stands for: names and values."""
        for name, source in self.sources.items():
            if alias and name != alias:
                continue
            if isinstance(source, Query):
                yield from zip(source.names, source.results, strict=True)
            elif source in self.columns:
                yield from ((c, column(f"{source}.{c}")) for c in sorted(self.columns[source]))
            else:
                yield "", Expression("*", (), "*")

    def resolve(self, tree: exp.Column) -> Expression:
        """The value that a column's name stands for."""
        name, alias = tree.name.lower(), tree.table.lower()
        for scope in self.and_outer():
            value = scope._own_column(name, alias)
            if value is not None:
                return value
        if tree.this.args.get("quoted") and not alias:
            # SQLite, too, takes a name in double quotes that names nothing for a text.
            return literal(tree.name, is_string=True)
        tables = list(self.query.tables)
        return column(f"{tables[0]}.{name}" if self.columns and len(tables) == 1 else name)

    def _own_column(self, name: str, alias: str) -> Expression | None:
        for known_as, source in self.sources.items():
            if alias and known_as != alias:
                continue
            if isinstance(source, Query):
                if name in source.names:
                    return source.results[source.names.index(name)]
            elif alias or self.has(source, name):
                return column(f"{source}.{name}" if self.columns else name)
        if not alias and name in self.query.names:
            return self.query.results[self.query.names.index(name)]
        return None
