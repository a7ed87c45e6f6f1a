"""A query as its parts, for comparison: tables, joins, results, conditions, groups, order.

Two spellings of one query have equal parts. Names are in lower case, aliases resolved, and each column is
written with its table. `a = b` in WHERE is a join if it connects two tables; BETWEEN is two comparisons;
`x = 1 OR x = 2` is `x IN (1, 2)`; literals are on the right. EXCEPT and INTERSECT over one column are NOT IN
and IN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

MAX_SHOWN = 90
"""Characters of an inner query that a sentence shows."""
COUNT = "count(*)"
"""The shape of COUNT, whatever it counts."""


def shown(tree: exp.Expr) -> str:
    """Return a query's text in one line, shortened, as sentences show it."""
    text = " ".join(tree.sql(dialect="sqlite").split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def escaped(text: str) -> str:
    """Return a text as part of a shape, where braces stand for columns."""
    return text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True)
class Expression:
    """A value: a column, a literal, a function or calculation.

    Attributes:
        shape: the expression with braces for its columns, such as `max({})`; COUNT of any column is `COUNT`.
        columns: the columns in their order, each as `table.column`.
        text: the expression as sentences show it.
        nested: whether an inner query is part of it.
    """

    shape: str
    columns: tuple[str, ...]
    text: str
    nested: bool = False

    @property
    def is_column(self) -> bool:
        """Whether it is a column and nothing else."""
        return self.shape == "{}"

    @property
    def is_literal(self) -> bool:
        """Whether it names no column."""
        return not self.columns and not self.nested and self.shape != COUNT


def column(name: str) -> Expression:
    """Return a column as a value.

    Args:
        name: `table.column`, in lower case.
    """
    return Expression("{}", (name,), name)


def literal(value: str, *, is_string: bool) -> Expression:
    """Return a literal; numbers are equal however they are written, in quotes too."""
    try:
        shape = repr(float(value))
    except ValueError:
        shape = value
    text = "'" + value.replace("'", "''") + "'" if is_string else value
    return Expression(escaped(shape), (), text)


@dataclass(frozen=True)
class Comparison:
    """A condition on a value: `left operator right`; without a right side for a bare value."""

    left: Expression
    operator: str
    right: Expression | None = None

    @property
    def text(self) -> str:
        """The condition as sentences show it."""
        return f"{self.left.text} {self.operator} {self.right.text}" if self.right else self.left.text


@dataclass(frozen=True)
class Nested:
    """A condition with an inner query: `left IN (SELECT …)`, `EXISTS (SELECT …)`.

    Attributes:
        left: the value; None for EXISTS.
        operator: `in`, `not in`, `exists`, `not exists`, or a comparison.
        query: the inner query.
        on_result: whether `left` is the only result of the outer query, as EXCEPT and INTERSECT have it.
        set_operation: the set operation that it was written as; '' if it was a condition.
    """

    left: Expression | None
    operator: str
    query: Query
    on_result: bool = False
    set_operation: str = ""

    @property
    def text(self) -> str:
        """The condition as sentences show it."""
        if self.set_operation:
            return f"{self.set_operation} {self.query.text}"
        left = f"{self.left.text} " if self.left else ""
        return f"{left}{self.operator.upper()} ({self.query.text})"


@dataclass(frozen=True)
class Alternatives:
    """Conditions joined by OR; each operand is a list of conditions joined by AND."""

    operands: tuple[tuple[Condition, ...], ...]

    @property
    def text(self) -> str:
        """The condition as sentences show it."""
        return " OR ".join(" AND ".join(c.text for c in operand) for operand in self.operands)


Condition = Comparison | Nested | Alternatives

Join = tuple[str, str]
"""The two columns that a join equates, sorted; the same one twice where a table is joined with itself."""


def join_of(first: str, second: str) -> Join:
    """Return the join of two columns."""
    return (first, second) if first <= second else (second, first)


@dataclass(eq=False)
class Query:
    """One SELECT, and the SELECTs that set operations add to it.

    Attributes:
        tree: its syntax tree.
        tables: how often each table is read.
        optional: the tables whose partner may be missing: those of a LEFT JOIN.
        derived: the inner queries of FROM.
        sets: the set operations and their right sides, in order.
        limit: the LIMIT and OFFSET; '' without.
    """

    tree: exp.Expr
    tables: Counter[str] = field(default_factory=Counter)
    optional: set[str] = field(default_factory=set)
    joins: set[Join] = field(default_factory=set)
    derived: list[Query] = field(default_factory=list)
    results: list[Expression] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Names of the results, by which an outer query or ORDER BY refers to them."""
    distinct: bool = False
    where: list[Condition] = field(default_factory=list)
    groups: list[Expression] = field(default_factory=list)
    having: list[Condition] = field(default_factory=list)
    orders: list[tuple[Expression, bool]] = field(default_factory=list)
    """What is ordered by, and whether descending."""
    limit: str = ""
    sets: list[tuple[str, Query]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The query, shortened, as sentences show it."""
        return shown(self.tree)

    @property
    def is_plain(self) -> bool:
        """Whether it only selects rows: no groups, set operations, LIMIT or tables of its own making."""
        return not (self.groups or self.having or self.sets or self.derived or self.limit)

    def all_tables(self) -> Counter[str]:
        """The tables that it reads, those of its inner queries among them."""
        tables = Counter(self.tables)
        for inner in self.inner_queries():
            tables += inner.all_tables()
        return tables

    def inner_queries(self) -> Iterator[Query]:
        """The queries directly in it."""
        yield from self.derived
        yield from (query for _, query in self.sets)
        yield from (c.query for c in _flat([*self.where, *self.having]) if isinstance(c, Nested))

    def used_columns(self) -> set[str]:
        """The columns that it reads for another purpose than a join."""
        values = [*self.results, *self.groups, *(value for value, _ in self.orders)]
        for condition in _flat([*self.where, *self.having]):
            if condition.left is not None:
                values.append(condition.left)
            if isinstance(condition, Comparison) and condition.right is not None:
                values.append(condition.right)
        return {column for value in values for column in value.columns}


def _flat(conditions: list[Condition]) -> Iterator[Comparison | Nested]:
    for condition in conditions:
        if isinstance(condition, Alternatives):
            yield from _flat([c for operand in condition.operands for c in operand])
        else:
            yield condition
