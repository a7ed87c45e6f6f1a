"""Explained questions in the terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sqltune.evaluation.explained import ExplainedQuestion
from sqltune.evaluation.explanation import Explanation
from sqltune.evaluation.witness import Cell, Witness, WitnessResult, WitnessTable
from sqltune.sql.tokens import tokens

MAX_COLUMNS = 6
"""Columns of a table up to which all are shown; of a wider one, those that a query reads."""
MAX_CHARACTERS = 2000
"""Characters of a text that are shown."""
VERDICTS = {"match": "right", "mismatch": "wrong", "invalid": "does not run", "gold_invalid": "not judged"}
STYLES = {"match": "green", "gold_invalid": "yellow"}
DIFFERENT = "≠"
"""Mark of a row without a partner in the other result: without colours, it is all there is to see."""


def print_explained(console: Console, questions: Sequence[ExplainedQuestion]) -> None:
    """Print questions with their queries, and a witness for each wrong answer.

    Args:
        console: where to; without colours it shows the same.
        questions: the questions.
    """
    for question in questions:
        console.rule(Text(printable(question.id), style="bold"), align="left")
        console.print(Text(printable(question.question)), _queries(question))
        for name, answer in question.answers.items():
            if answer.outcome != "match":
                console.print(_explanation(name, answer))


def printable(text: str) -> str:
    """Return a text of a model on one line, with what would steer the terminal as escapes."""
    one_line = " ".join(text[:MAX_CHARACTERS].split())
    if len(text) > MAX_CHARACTERS:
        one_line += "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in one_line)


def _queries(question: ExplainedQuestion) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for overflow in ("ellipsis", "ellipsis", "fold"):
        grid.add_column(overflow=overflow)
    grid.add_row("gold", "", Text(printable(question.gold)))
    for name, answer in question.answers.items():
        verdict = Text(VERDICTS[answer.outcome], style=STYLES.get(answer.outcome, "red"))
        grid.add_row(name, verdict, _marked(printable(question.gold), printable(answer.answer)))
    return Padding(grid, (1, 0))


def _marked(gold: str, answer: str) -> Text:
    """Return an answer with the tokens in bold that differ from the gold query's."""
    pieces = tokens(answer)
    matcher = difflib.SequenceMatcher(None, _spelling(gold), _spelling(answer), autojunk=False)
    text = Text()
    for kind, _, _, first, last in matcher.get_opcodes():
        text.append("".join(t.text for t in pieces[first:last]), style="" if kind == "equal" else "bold red")
    return text


def _spelling(query: str) -> list[str]:
    return [t.key or t.text for t in tokens(query)]


def _explanation(name: str, answer: Explanation) -> RenderableType:
    why = Text.assemble((f"{name}: ", "bold"), printable(answer.why))
    witness = [_witness(name, answer.witness)] if answer.witness else []
    return Group(why, *_differences(answer), *witness, Text())


def _differences(answer: Explanation) -> Iterator[Text]:
    """Yield the error class, and the differences from the gold query."""
    if answer.error_class:
        yield Text.assemble("Error class: ", (answer.error_class, "bold"))
        yield from (Text(printable(f"- {text}")) for text in answer.differences)


def _witness(name: str, witness: Witness) -> RenderableType:
    where = "rows of the database" if witness.source == "real" else "generated rows"
    results = Table.grid(padding=(0, 4))
    results.add_row(_result("gold returns", witness.gold), _result(f"{name} returns", witness.answer))
    return Group(Text(f"({where})", style="dim"), Text(), *map(_table, witness.tables), results)


def _table(table: WitnessTable) -> RenderableType:
    positions: Sequence[int] = range(len(table.columns))
    if len(table.columns) > MAX_COLUMNS:
        positions = [i for i, column in enumerate(table.columns) if column in table.read]
    hidden = len(table.columns) - len(positions)
    title = Text.assemble(
        (printable(table.name), "bold"), (f" ({hidden} more columns)" * bool(hidden), "dim")
    )
    columns = [table.columns[i] for i in positions]
    rows = [[_cell(row[i]) for i in positions] for row in table.rows]
    return _grid(title, columns, rows, table.row_count)


def _result(title: str, result: WitnessResult) -> RenderableType:
    rows = [
        [Text(DIFFERENT if position in result.different else "", style="bold red"), *map(_cell, row)]
        for position, row in enumerate(result.rows)
    ]
    return _grid(Text(title, style="bold"), ["", *result.columns], rows, result.row_count)


def _grid(
    title: Text, columns: Sequence[str], rows: Sequence[Sequence[Text]], row_count: int
) -> RenderableType:
    if not row_count:
        return Group(Text.assemble(title, ": no rows"), Text())
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*row)
    rest = [Text(f"… {row_count - len(rows)} more rows")] if row_count > len(rows) else []
    return Group(title, table, *rest, Text())


def _cell(value: Cell) -> Text:
    """Return a value; text that looks like a number is in quotes, NULL is not."""
    if value is None:
        return Text("NULL", style="dim")
    if isinstance(value, str):
        return Text(repr(value) if _looks_like_a_number(value) else printable(value))
    return Text(str(value), justify="right")


def _looks_like_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text.strip() or text == "NULL"
    return True
