"""The names in CREATE TABLE statements as datasets publish them: `总GDP(亿) NUMBER`, `order INT`.

SQLite reads such a statement only when the names are in quotes. They are found by the statement's layout: a
definition ends at a comma outside parentheses, and its name ends where the type begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqltune.sql.names import needs_quotes, quote_known_names, quoted
from sqltune.sql.tokens import Token, join, tokens, words

_TYPES = words(
    """
    int integer tinyint smallint mediumint bigint int2 int8 number numeric decimal dec real float double
    precision boolean bool bit char character varchar varchar2 nchar nvarchar text ntext string clob blob
    binary varbinary date datetime time timestamp year money json uuid serial
    """
)
_BEFORE_TYPE = words("unsigned big double native varying character long")
"""Words that a type of several words begins with: UNSIGNED BIG INT, DOUBLE PRECISION."""
_BEHIND_TYPE = words(
    """
    primary not null default unique check references collate generated constraint
    autoincrement with without as on
    """
)
_CONSTRAINT_BEGINS = {"primary": "key", "foreign": "key", "unique": "(", "check": "(", "key": "("}
"""A table's constraint by its first word and what must follow it; else the word is a column's name."""


@dataclass(frozen=True)
class _Span:
    """Tokens of a context, from `start` up to `stop`."""

    start: int
    stop: int


@dataclass(frozen=True)
class _Definition:
    """A column or constraint of a table."""

    span: _Span
    name: _Span | None = None
    """The column's name; None where it has quotes already."""
    keyword: _Span | None = None
    """The first word of a constraint."""


@dataclass(frozen=True)
class _Statement:
    """A CREATE TABLE statement; `name` is None where the table's name has quotes."""

    name: _Span | None
    definitions: tuple[_Definition, ...]


@lru_cache(maxsize=512)
def quote_context(context: str, *, every: bool = False) -> str:
    """CREATE TABLE statements with the names in quotes that need them.

    Args:
        context: the statements as published.
        every: put all names of tables and columns in quotes, and leave out a column that its table has
            already, so that SQLite reads the statements.

    Returns:
        The statements; the same text where no name needs quotes.
    """
    stream = tokens(context)
    statements = list(_statements(stream))
    names = [_text(stream, span) for span in _name_spans(statements)]
    out: list[Token] = []
    done = 0
    for span, text in _replacements(stream, statements, every=every):
        out += [*quote_known_names(stream[done : span.start], names), Token("name", text)]
        done = span.stop
    return join([*out, *quote_known_names(stream[done:], names)])


def _text(stream: Sequence[Token], span: _Span) -> str:
    return join(stream[span.start : span.stop])


def _name_spans(statements: Sequence[_Statement]) -> Iterator[_Span]:
    for statement in statements:
        yield from (s for s in (statement.name, *(d.name for d in statement.definitions)) if s is not None)


def _replacements(
    stream: Sequence[Token], statements: Sequence[_Statement], *, every: bool
) -> Iterator[tuple[_Span, str]]:
    """Each name with its new text; and the parts in which no name may be looked for, with their own text."""

    def name(span: _Span) -> tuple[_Span, str]:
        text = _text(stream, span)
        return span, quoted(text) if every or needs_quotes(text) else text

    for statement in statements:
        seen: set[str] = set()
        if statement.name is not None:
            yield name(statement.name)
        for definition in statement.definitions:
            if definition.keyword is not None:
                yield definition.keyword, _text(stream, definition.keyword)
            if definition.name is None:
                continue
            key = _text(stream, definition.name).lower()
            if every and key in seen:
                # With the comma before it, which exists: it is not the first definition.
                yield _Span(definition.span.start - 1, definition.span.stop), ""
            else:
                yield name(definition.name)
            seen.add(key)


def _statements(stream: Sequence[Token]) -> Iterator[_Statement]:
    begin = depth = 0
    for i, token in enumerate(stream):
        depth += (token.text == "(") - (token.text == ")")
        if token.text == ";" and depth <= 0:
            yield from _statement(stream, _Span(begin, i))
            begin, depth = i + 1, 0
    yield from _statement(stream, _Span(begin, len(stream)))


def _statement(stream: Sequence[Token], span: _Span) -> Iterator[_Statement]:
    """The statement in a span; nothing for any but a plain CREATE TABLE: SQLite gets others unchanged."""
    begin = _table_name_begins(stream, span)
    body = _last_group(stream, span)
    if begin < 0 or body is None or body.start <= begin:
        return
    name = _trimmed(stream, _Span(begin, body.start))
    if name is None or any(t.key == "select" for t in stream[name.start : name.stop]):
        return
    definitions = tuple(_definition(stream, part) for part in _definitions(stream, body))
    yield _Statement(name if stream[name.start].kind not in ("name", "text") else None, definitions)


def _table_name_begins(stream: Sequence[Token], span: _Span) -> int:
    """Index after CREATE [TEMP] TABLE [IF NOT EXISTS] [main.]; -1 for another statement."""
    positions = [i for i in range(span.start, span.stop) if stream[i].kind not in ("space", "comment")]
    keys = [stream[i].key or stream[i].text for i in positions[:8]]
    at = 2 if keys[1:2] in (["temp"], ["temporary"]) else 1
    if keys[:1] != ["create"] or keys[at : at + 1] != ["table"]:
        return -1
    at += 4 if keys[at + 1 : at + 4] == ["if", "not", "exists"] else 1
    if keys[at : at + 2] in (["main", "."], ["temp", "."]):
        at += 2
    return positions[at] if at < len(positions) else -1


def _last_group(stream: Sequence[Token], span: _Span) -> _Span | None:
    """The last pair of parentheses that is in no other: the definitions. Earlier ones belong to the name."""
    group, depth, opened = None, 0, span.start
    for i in range(span.start, span.stop):
        if stream[i].text == "(":
            depth += 1
            opened = i if depth == 1 else opened
        elif stream[i].text == ")":
            depth -= 1
            group = _Span(opened, i + 1) if depth == 0 else group
    return group


def _definitions(stream: Sequence[Token], body: _Span) -> Iterator[_Span]:
    """The parts of a table's body between commas outside inner parentheses."""
    begin, depth = body.start + 1, 0
    for i in range(begin, body.stop - 1):
        depth += (stream[i].text == "(") - (stream[i].text == ")")
        if stream[i].text == "," and depth == 0:
            yield _Span(begin, i)
            begin = i + 1
    yield _Span(begin, body.stop - 1)


def _definition(stream: Sequence[Token], span: _Span) -> _Definition:
    inner = _trimmed(stream, span)
    if inner is None or stream[inner.start].kind in ("name", "text"):
        return _Definition(span)
    if _is_constraint(stream, inner):
        return _Definition(span, keyword=_Span(inner.start, inner.start + 1))
    runs = list(_runs(stream, inner))
    last = runs[_type_at([stream[run.start].key for run in runs]) - 1]
    return _Definition(span, name=_Span(inner.start, last.stop))


def _is_constraint(stream: Sequence[Token], span: _Span) -> bool:
    first, following = (
        stream[span.start].key,
        next(
            (t for t in stream[span.start + 1 : span.stop] if t.kind not in ("space", "comment")),
            Token("sign", ""),
        ),
    )
    if first == "constraint":
        return any(t.key in _CONSTRAINT_BEGINS for t in stream[span.start + 1 : span.stop])
    return first in _CONSTRAINT_BEGINS and (following.key or following.text) == _CONSTRAINT_BEGINS[first]


def _type_at(runs: Sequence[str]) -> int:
    """Which run of a definition the column's type begins with; the runs before it are its name.

    The last type counts, so that `birth date DATE` is a column `birth date`; without a type that is known,
    the name is the first run.
    """
    end = next((i for i, key in enumerate(runs) if i and key in _BEHIND_TYPE), len(runs))
    at = next((i for i in range(end - 1, 0, -1) if runs[i] in _TYPES), 1)
    while at > 1 and runs[at - 1] in _BEFORE_TYPE:
        at -= 1
    return at


def _runs(stream: Sequence[Token], span: _Span) -> Iterator[_Span]:
    """Parts of a definition between blanks outside parentheses."""
    begin, depth = span.start, 0
    for i in range(span.start, span.stop):
        depth += (stream[i].text == "(") - (stream[i].text == ")")
        if stream[i].kind in ("space", "comment") and depth <= 0:
            if begin < i:
                yield _Span(begin, i)
            begin = i + 1
    yield _Span(begin, span.stop)


def _trimmed(stream: Sequence[Token], span: _Span) -> _Span | None:
    """A span without blanks and comments at its ends; None where nothing is left."""
    inner = [i for i in range(span.start, span.stop) if stream[i].kind not in ("space", "comment")]
    return _Span(inner[0], inner[-1] + 1) if inner else None
