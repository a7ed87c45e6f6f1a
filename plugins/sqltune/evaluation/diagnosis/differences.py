"""The differences between a gold query and an answer, from the parts of their syntax trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqltune.evaluation.column_roles import KeyStrength, key_strength
from sqltune.evaluation.diagnosis.conditions import compare_conditions
from sqltune.evaluation.diagnosis.forms import align
from sqltune.evaluation.diagnosis.matching import Names, match
from sqltune.evaluation.diagnosis.parts import Expression, Join, Nested, Query
from sqltune.evaluation.diagnosis.steps import Difference, Step
from sqltune.sql.schema import Table


def differences(gold: Query, answer: Query, tables: Mapping[str, Table]) -> list[Difference]:
    """Compare two queries.

    Args:
        gold: the gold query; changed by the comparison.
        answer: the answer; changed by the comparison.
        tables: the tables of the schema, by name in lower case.

    Returns:
        The differences, in the order of repair.
    """
    unique = dict.fromkeys(_Comparison(gold, answer, tables).differences())
    return sorted(unique, key=lambda difference: difference.step)


class _Comparison:
    """Compares two queries, and the inner queries that correspond."""

    def __init__(self, gold: Query, answer: Query, tables: Mapping[str, Table]) -> None:
        self.gold = gold
        self.answer = answer
        self.tables = tables
        self.alignment = align(gold, answer)
        self.names = Names(gold, answer)

    def differences(self) -> Iterator[Difference]:
        yield from self.alignment.differences
        yield from self._tables()
        yield from self._joins()
        yield from self._optional()
        yield from self._results()
        for where in (True, False):
            expected, actual = ((q.where if where else q.having) for q in (self.gold, self.answer))
            yield from compare_conditions(expected, actual, self.names)
        yield from self._groups()
        yield from self._order()
        if self.gold.distinct != self.answer.distinct:
            yield Difference(Step.REST, f"{'drops' if self.answer.distinct else 'keeps'} duplicate rows")
        for first, second in self.alignment.queries:
            yield from _Comparison(first, second, self.tables).differences()
        for expected_condition, found_condition in self.alignment.pairs:
            yield from self._nested(expected_condition, found_condition)

    def _nested(self, expected: Nested, actual: Nested) -> Iterator[Difference]:
        operators = {expected.operator, actual.operator}
        if len(operators) == 2 and operators not in ({"in", "="}, {"not in", "!="}):
            step = Step.NESTING if operators & {"in", "not in"} else Step.CONDITIONS
            yield Difference(
                step, f"compares by {actual.operator.upper()} instead of {expected.operator.upper()}"
            )
        if expected.set_operation != actual.set_operation:
            way, instead = (c.set_operation or c.operator.upper() for c in (actual, expected))
            yield Difference(Step.FORM, f"filters by {way} instead of {instead}")
        for difference in _Comparison(expected.query, actual.query, self.tables).differences():
            yield Difference(difference.step, f"{difference.text}, in an inner query")
        both = expected.on_result and actual.on_result
        if expected.left and actual.left and not both and not self.names.same(expected.left, actual.left):
            yield self.names.replaced(expected.left, actual.left, "compares")

    # Tables and joins

    def _tables(self) -> Iterator[Difference]:
        missing = self._unread(self.gold, self.answer)
        extra = self._unread(self.answer, self.gold)
        used_missing = [t for t in missing if self._is_used(t, self.gold, self.answer)]
        used_extra = [t for t in extra if self._is_used(t, self.answer, self.gold)]
        pairs = list(zip(used_missing, used_extra, strict=False))
        yield from (Difference(Step.TABLES, f"reads {actual} instead of {name}") for name, actual in pairs)
        for name in used_missing[len(pairs) :]:
            yield Difference(Step.TABLES, f"does not read {name}")
        for name in used_extra[len(pairs) :]:
            yield Difference(Step.TABLES, f"also reads {name}")
        for name in missing:
            if name not in used_missing:
                yield Difference(self._step_of_unused(name, self.gold), f"does not join {name}")
        for name in extra:
            if name not in used_extra:
                yield Difference(self._step_of_unused(name, self.answer), f"also joins {name}")

    @staticmethod
    def _unread(query: Query, other: Query) -> list[str]:
        return list((query.tables - other.tables).elements())

    def _is_used(self, table: str, query: Query, other: Query) -> bool:
        """Whether a query reads a column of a table that it could not read from the other's tables."""
        if other.tables[table]:
            # Read once more: for a join of the table with itself.
            return False
        return any(
            _table(column) == table and not any(_table(c) in other.tables for c in self.names.equals(column))
            for column in query.used_columns() | self._compared_columns(query)
        )

    def _compared_columns(self, query: Query) -> set[str]:
        """The columns that a query compares with an inner query."""
        side = 0 if query is self.gold else 1
        values = [pair[side].left for pair in self.alignment.pairs]
        return {column for value in values if value for column in value.columns}

    def _step_of_unused(self, table: str, query: Query) -> Step:
        """A table that is only joined: without effect if that is by its key, and to one other table."""
        columns = [c for join in query.joins for c in join if _table(c) == table]
        known = self.tables.get(table)
        if len(columns) != 1 or known is None or table in query.optional:
            return Step.JOINS
        column = next((c for c in known.columns if c.name.lower() == columns[0].rpartition(".")[2]), None)
        is_key = column is not None and key_strength(known, column) > KeyStrength.NONE
        return Step.UNUSED_TABLE if is_key else Step.JOINS

    def _joins(self) -> Iterator[Difference]:
        missing = self._unknown_joins(self.gold, self.answer)
        extra = self._unknown_joins(self.answer, self.gold)
        pairs = list(zip(missing, extra, strict=False))
        for expected, actual in pairs:
            yield Difference(Step.JOINS, f"joins on {_equation(actual)} instead of {_equation(expected)}")
        for join in missing[len(pairs) :]:
            yield Difference(Step.JOINS, f"does not join on {_equation(join)}")
        for join in extra[len(pairs) :]:
            yield Difference(Step.JOINS, f"also joins on {_equation(join)}")

    @staticmethod
    def _unknown_joins(query: Query, other: Query) -> list[Join]:
        """The joins of tables that both read which do not follow from the other's joins."""
        known = Names(other, of_rows=False)
        return [
            join
            for join in sorted(query.joins)
            if all(_table(c) in other.tables for c in join) and not known.equate(*join)
        ]

    def _optional(self) -> Iterator[Difference]:
        for table in sorted(self.answer.optional - self.gold.optional):
            if self.gold.tables[table]:
                yield Difference(Step.JOINS, f"keeps rows without a partner in {table} (LEFT JOIN)")
        for table in sorted(self.gold.optional - self.answer.optional):
            if self.answer.tables[table]:
                yield Difference(Step.JOINS, f"drops rows without a partner in {table} (no LEFT JOIN)")

    # Results, groups and order

    def _results(self) -> Iterator[Difference]:
        tests = (_identical, self.names.same, *self.names.similar)
        matched = match(self.gold.results, self.answer.results, tests)
        for expected, actual in matched.pairs:
            if not self.names.same(expected, actual):
                yield self.names.replaced(expected, actual, "returns")
            elif expected.columns != actual.columns:
                yield Difference(Step.EQUAL_COLUMN, f"returns {actual.text} instead of {expected.text}")
            elif ("DISTINCT" in expected.text) != ("DISTINCT" in actual.text):
                yield Difference(Step.REST, f"returns {actual.text} instead of {expected.text}")
        for value in matched.missing:
            yield Difference(Step.COLUMNS, f"does not return {value.text}")
        for value in matched.extra:
            yield Difference(Step.COLUMNS, f"also returns {value.text}")

    def _groups(self) -> Iterator[Difference]:
        expected, actual = self.gold.groups, self.answer.groups
        if bool(expected) != bool(actual):
            yield Difference(
                Step.GROUPED,
                f"does not group by {_list(expected)}" if expected else f"groups by {_list(actual)}",
            )
            return
        missing = [g for g in expected if not self.names.is_among(g, actual)]
        extra = [g for g in actual if not self.names.is_among(g, expected)]
        if missing and extra:
            yield Difference(Step.GROUPS, f"groups by {_list(extra)} instead of {_list(missing)}")
        elif missing:
            yield Difference(Step.GROUPS, f"does not group by {_list(missing)}")
        elif extra and not all(self._follows(g, expected) for g in extra):
            yield Difference(Step.GROUPS, f"also groups by {_list(extra)}")

    def _follows(self, group: Expression, groups: Sequence[Expression]) -> bool:
        """Whether a column has one value in each group, because the groups have its table's key."""
        if not group.is_column:
            return False
        table = self.tables.get(_table(group.columns[0]))
        keys = {
            f"{table.name.lower()}.{c.name.lower()}"
            for c in (table.columns if table else ())
            if table and key_strength(table, c) > KeyStrength.NONE
        }
        return any(self.names.equals(c) & keys for g in groups if g.is_column for c in g.columns)

    def _order(self) -> Iterator[Difference]:
        expected, actual = self.gold.orders, self.answer.orders
        if expected and not actual:
            yield Difference(Step.ORDER, f"does not order by {_list(e for e, _ in expected)}")
        elif actual and not expected:
            step = Step.ORDER if self.answer.limit or self.gold.limit else Step.FORM
            yield Difference(step, f"orders by {_list(e for e, _ in actual)}")
        else:
            yield from self._order_keys()
        if self.gold.limit != self.answer.limit:
            yield Difference(
                Step.ORDER, f"takes {_rows(self.answer.limit)} instead of {_rows(self.gold.limit)}"
            )

    def _order_keys(self) -> Iterator[Difference]:
        expected, actual = self.gold.orders, self.answer.orders
        for (key, descending), (other, other_descending) in zip(expected, actual, strict=False):
            if not self.names.same(key, other):
                yield Difference(Step.ORDER, f"orders by {other.text} instead of {key.text}")
            elif descending != other_descending:
                way, instead = (
                    ("descending", "ascending") if other_descending else ("ascending", "descending")
                )
                yield Difference(Step.ORDER, f"orders by {key.text} {way} instead of {instead}")
        if len(expected) > len(actual):
            yield Difference(Step.ORDER, f"does not order by {_list(e for e, _ in expected[len(actual) :])}")
        elif len(actual) > len(expected):
            yield Difference(Step.ORDER, f"also orders by {_list(e for e, _ in actual[len(expected) :])}")


def _identical(a: Expression, b: Expression) -> bool:
    return a.shape == b.shape and a.columns == b.columns


def _table(column: str) -> str:
    return column.rpartition(".")[0]


def _equation(join: Join) -> str:
    return " = ".join(join)


def _rows(limit: str) -> str:
    return f"{limit or 'all'} row{'' if limit == '1' else 's'}"


def _list(expressions: Iterable[Expression]) -> str:
    return ", ".join(e.text for e in expressions)
