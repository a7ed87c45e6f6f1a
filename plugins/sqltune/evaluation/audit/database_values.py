"""Texts in a question's database that the question contains."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from sqltune.evaluation.audit.question_text import masked_names
from sqltune.evaluation.failures import QueryFailed
from sqltune.evaluation.questions import language
from sqltune.evaluation.sandbox import Database
from sqltune.sql.names import quoted
from sqltune.sql.schema import parse_context

VALUES_PER_COLUMN = 2000
"""Texts that are read of a column, at most."""
LONGEST_VALUE = 40
"""Characters of a text that questions may contain word by word."""
SHORTEST_LATIN, SHORTEST_CHINESE = 3, 2
"""Characters of a text; a shorter one is found by chance. A Chinese question may contain a code such as C."""

_BEGINS_WITH_NUMBER = re.compile(r"[\d.,%前]")


@lru_cache(maxsize=64)
def text_values(database: str, context: str) -> frozenset[str]:
    """Return the texts of a database, without those that begin with a number.

    Args:
        database: its file.
        context: its CREATE TABLE statements.
    """
    opened = Database.open_file(Path(database))
    try:
        tables, _ = parse_context(context)
        found = {
            value.strip()
            for table in tables
            for column in table.columns
            for value in _texts_of(opened, table.name, column.name)
        }
    finally:
        opened.close()
    return frozenset(v for v in found if v and len(v) <= LONGEST_VALUE and not _BEGINS_WITH_NUMBER.match(v))


def _texts_of(database: Database, table: str, column: str) -> list[str]:
    query = (
        f"SELECT DISTINCT {quoted(column)} FROM {quoted(table)} "
        f"WHERE typeof({quoted(column)}) = 'text' LIMIT {VALUES_PER_COLUMN}"
    )
    try:
        return [str(value) for (value,) in database.rows(query)]
    except QueryFailed:
        # The context has a table or column that the file does not have.
        return []


def mentioned_values(question: str, values: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    """Return the texts of a database that a question contains, the longest ones only where they overlap.

    Args:
        question: the question.
        values: the texts.
        names: names in lower case that explain what they cover: tables, columns, literals of the gold query.
    """
    text = unicodedata.normalize("NFKC", question)
    lowered = masked_names(text.lower(), names)
    # In the question's own case: AND is an airport, and is not.
    masked = "".join(b if b == "\0" else a for a, b in zip(text, lowered, strict=False))
    found: list[str] = []
    candidates = [value for value in values if value in masked]
    for value in sorted(candidates, key=lambda v: (-len(v), v)):
        if _contains(masked, value, question):
            found.append(value)
            masked = masked_names(masked, [value])
    return tuple(found)


def _contains(text: str, value: str, question: str) -> bool:
    if value not in text:
        return False
    if not value.isascii():
        return len(value) >= SHORTEST_CHINESE
    is_code = value.isupper() and language(question) == "zh"
    if len(value) < SHORTEST_LATIN and not is_code:
        return False
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(value)}(?![A-Za-z0-9_])", text) is not None
