"""Why an answer was judged as it was, in plain sentences."""

from __future__ import annotations

from sqltune.evaluation.judge import Match
from sqltune.evaluation.witness import Cell, Witness


def why(judged: Match, witness: Witness | None) -> str:
    """Return the reason of an outcome.

    Args:
        judged: the outcome.
        witness: the witness of a mismatch, if there is one.
    """
    match judged.outcome:
        case "match":
            nothing = " Both results are empty, which proves little." if judged.vacuous else ""
            return f"The answer returns the gold query's rows.{nothing}"
        case "invalid":
            return f"The answer does not run: {judged.reason}."
        case "gold_invalid":
            return f"The gold query does not run, so the answer is not judged: {judged.reason}."
    if witness is None:
        return "The answer returns other rows, but no small database was found that shows it."
    sentences = (_difference(witness), _distinct(witness), _ties(witness), _size(witness))
    return " ".join(sentence for sentence in sentences if sentence)


def _difference(witness: Witness) -> str:
    gold, answer = witness.gold, witness.answer
    returned = f"Here the gold query returns {_counted(gold.row_count, 'row')}, the answer"
    if not (gold.row_count and answer.row_count):
        return f"{returned} {answer.row_count or 'none'}."
    match witness.difference:
        case "columns":
            columns = _counted(len(gold.columns), "column")
            return f"Here the gold query returns {columns}, the answer {len(answer.columns)}."
        case "missing" | "extra":
            return f"{returned} {'only ' * (answer.row_count < gold.row_count)}{answer.row_count}."
        case "repeated":
            return f"{returned} {answer.row_count}: the same, but not equally often."
        case "order":
            return "Here both return the same rows in another order, and the gold query orders them."
        case "types":
            return "Here the values look alike, but what is text in one result is a number in the other."
        case "values":
            return _other_values(witness, f"{returned} {answer.row_count}")


def _other_values(witness: Witness, returned: str) -> str:
    gold, answer = witness.gold, witness.answer
    if gold.row_count == answer.row_count == 1:
        if len(gold.columns) > 1:
            return "Here both return 1 row, but with other values."
        return (
            f"Here the gold query returns {_value(gold.rows[0][0])}, the answer {_value(answer.rows[0][0])}."
        )
    if gold.row_count > len(gold.rows):
        return f"{returned}; not all of them are the same."
    return f"{returned}; {gold.row_count - len(gold.different) or 'none'} of them in common."


def _distinct(witness: Witness) -> str:
    repeated = any(len(set(result.rows)) < len(result.rows) for result in (witness.gold, witness.answer))
    return "The comparison leaves DISTINCT out." if witness.distinct_dropped and repeated else ""


def _ties(witness: Witness) -> str:
    if not witness.tied:
        return ""
    return (
        "Rows tie under the gold query's ORDER BY, so its own result is one of several; the judge accepts "
        "only that one."
    )


def _size(witness: Witness) -> str:
    if witness.small:
        return ""
    largest = max(witness.tables, key=lambda table: table.row_count)
    sentence = f"No smaller database was found: {largest.name} has {_counted(largest.row_count, 'row')}."
    return sentence if witness.minimal else f"{sentence} The search ended at its limit."


def _value(value: Cell) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'s' * (number != 1)}"
