"""Reads the syntax tree of a query into its parts."""

from __future__ import annotations

from collections.abc import Iterable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqltune.evaluation.diagnosis.condition_reader import ConditionReader
from sqltune.evaluation.diagnosis.parts import Comparison, Condition, Expression, Nested, Query, join_of
from sqltune.evaluation.diagnosis.scope import Columns, Scope
from sqltune.evaluation.diagnosis.values import read_value
from sqltune.sql.tokens import tokens

MAX_DEPTH = 100
"""Parentheses inside one another in a query that is read: the parser recurses."""
MAX_JOINS_WITHOUT_CONDITION = 10
"""Joins without ON in a query that is read: each doubles the parser's time."""

_AS_CONDITION = {"EXCEPT": "not in", "INTERSECT": "in"}


class UnreadableQuery(Exception):
    """A query that can't be read into parts; the message is what is wrong with it."""


def read_query(sql: str, columns: Columns) -> Query:
    """Read a query into its parts.

    Args:
        sql: the query, in SQLite's dialect.
        columns: the columns of each table; without any, names are not qualified.

    Raises:
        UnreadableQuery: it can't be parsed, it would take the parser too long, or it is not a SELECT.
    """
    if _depth(sql) > MAX_DEPTH:
        raise UnreadableQuery("has too deep parentheses")
    if _joins_without_condition(sql) > MAX_JOINS_WITHOUT_CONDITION:
        raise UnreadableQuery("has too many joins without a condition")
    try:
        return _Reader(columns).query(sqlglot.parse_one(sql, read="sqlite"), None)
    except (SqlglotError, RecursionError, ValueError):
        raise UnreadableQuery("can't be parsed") from None


def _depth(sql: str) -> int:
    """How many parentheses are inside one another; at most that many where they are few."""
    if (opened := sql.count("(")) <= MAX_DEPTH:
        return opened
    deepest = depth = 0
    for character in sql:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


def _joins_without_condition(sql: str) -> int:
    if sql.lower().count("join") <= MAX_JOINS_WITHOUT_CONDITION:
        return 0
    keys = [token.key for token in tokens(sql)]
    return keys.count("join") - keys.count("on") - keys.count("using")


class _Reader:
    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._conditions = ConditionReader(self.query)

    def query(self, tree: exp.Expr, outer: Scope | None) -> Query:
        while isinstance(tree, exp.Subquery | exp.Paren):
            tree = tree.this
        if isinstance(tree, exp.SetOperation):
            return self._set_operation(tree, outer)
        if not isinstance(tree, exp.Select):
            raise UnreadableQuery("is not a SELECT")
        return self._select(tree, outer)

    def _set_operation(self, tree: exp.SetOperation, outer: Scope | None) -> Query:
        query = self.query(tree.this, self._with(tree, outer))
        right = self.query(tree.expression, outer)
        query.tree = tree
        name = type(tree).__name__.upper()
        operator = _AS_CONDITION.get(name)
        plain = not (query.sets or query.limit) and len(query.results) == len(right.results) == 1
        if operator and plain and query.results[0].is_column:
            query.where.append(Nested(query.results[0], operator, right, True, name))
        else:
            query.sets.append((name, right))
        self._order(tree, query, Scope(outer, query, self._columns))
        return query

    def _with(self, tree: exp.Expr, outer: Scope | None) -> Scope | None:
        """A scope with the queries of the WITH clause."""
        clause = tree.args.get("with_")
        if clause is None:
            return outer
        named = {cte.alias.lower(): cte.this for cte in clause.expressions}
        return Scope(outer, Query(tree), self._columns, with_queries=named)

    def _select(self, tree: exp.Select, outer: Scope | None) -> Query:
        query = Query(tree, distinct=tree.args.get("distinct") is not None)
        scope = Scope(self._with(tree, outer), query, self._columns)
        joins = tree.args.get("joins") or []
        source = tree.args.get("from_")
        if source is not None:
            self._source(source.this, scope)
        for join in joins:
            self._join(join, scope)
        for value in tree.expressions:
            self._result(value, scope)
        if _is_wrapper(tree, query):
            return query.derived[0]
        self._clauses(tree, scope)
        return query

    def _clauses(self, tree: exp.Select, scope: Scope) -> None:
        query = scope.query
        where, group, having = (tree.args.get(name) for name in ("where", "group", "having"))
        if where is not None:
            self._add(self._conditions.read(where.this, scope), query)
        if group is not None:
            query.groups = [self._by_position(value, scope) for value in group.expressions]
        if having is not None:
            query.having = self._conditions.read(having.this, scope)
        self._order(tree, query, scope)

    def _order(self, tree: exp.Expr, query: Query, scope: Scope) -> None:
        order, limit, offset = (tree.args.get(name) for name in ("order", "limit", "offset"))
        if order is not None:
            query.orders = [
                (self._by_position(o.this, scope), bool(o.args.get("desc"))) for o in order.expressions
            ]
        if limit is not None:
            query.limit = limit.expression.sql() + (f" OFFSET {offset.expression.sql()}" if offset else "")

    def _source(self, source: exp.Expr, scope: Scope) -> str:
        """Add a table or an inner query to FROM; returns the table's name, or ''."""
        query, alias = scope.query, source.alias.lower()
        name = source.name.lower() if isinstance(source, exp.Table) else ""
        named = scope.with_query(name)
        if name and named is None:
            scope.sources[alias or name] = name
            query.tables[name] += 1
            return name
        inner = self.query(*(named or (source, scope.outer)))
        query.derived.append(inner)
        scope.sources[alias or name or f"#{len(query.derived)}"] = inner
        return ""

    def _join(self, join: exp.Join, scope: Scope) -> None:
        before = dict(scope.sources)
        table = self._source(join.this, scope)
        query = scope.query
        side = join.args.get("side") or ""
        if side in ("LEFT", "FULL"):
            query.optional.add(table)
        if side in ("RIGHT", "FULL"):
            query.optional |= {s for s in before.values() if isinstance(s, str)}
        on = join.args.get("on")
        # The parser writes ON TRUE for a join without a condition.
        if on is not None and not isinstance(on, exp.Boolean):
            self._add(self._conditions.read(on, scope), query, joins=True)
        shared = [i.name.lower() for i in join.args.get("using") or []]
        if join.args.get("method") == "NATURAL":
            shared = sorted(self._columns.get(table, frozenset()))
        for name in shared:
            other = next((s for s in before.values() if scope.has(s, name)), None)
            if isinstance(other, str) and table:
                query.joins.add(join_of(f"{other}.{name}", f"{table}.{name}"))

    def _add(self, conditions: Iterable[Condition], query: Query, *, joins: bool = False) -> None:
        """Add conditions to WHERE, or to the joins if they equate columns of two tables."""
        for c in conditions:
            if (
                isinstance(c, Comparison)
                and c.operator == "="
                and c.right is not None
                and c.left.is_column
                and c.right.is_column
            ):
                first, second = c.left.columns[0], c.right.columns[0]
                table = first.rpartition(".")[0]
                if joins or table != second.rpartition(".")[0] or query.tables[table] > 1:
                    query.joins.add(join_of(first, second))
                    continue
            query.where.append(c)

    def _result(self, value: exp.Expr, scope: Scope) -> None:
        query = scope.query
        name, value = value.alias_or_name.lower(), value.unalias()
        if isinstance(value, exp.Star) or (
            isinstance(value, exp.Column) and isinstance(value.this, exp.Star)
        ):
            table = value.table.lower() if isinstance(value, exp.Column) else ""
            for column_name, column in scope.all_columns(table):
                query.results.append(column)
                query.names.append(column_name)
        else:
            query.results.append(read_value(value, scope))
            query.names.append(name)

    def _by_position(self, value: exp.Expr, scope: Scope) -> Expression:
        """A value of GROUP BY or ORDER BY, where a number means a result."""
        results = scope.query.results
        if isinstance(value, exp.Literal) and not value.is_string and value.name.isdigit():
            position = int(value.name)
            if 0 < position <= len(results):
                return results[position - 1]
        return read_value(value, scope)


def _is_wrapper(tree: exp.Select, query: Query) -> bool:
    """Whether it is `SELECT * FROM (SELECT …)` and nothing else."""
    clauses = ("where", "group", "having", "order", "limit", "joins", "distinct")
    return (
        len(tree.expressions) == 1
        and isinstance(tree.expressions[0], exp.Star)
        and len(query.derived) == 1
        and not query.tables
        and not any(tree.args.get(name) for name in clauses)
    )
