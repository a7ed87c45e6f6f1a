"""What a column is for, by its name: its table's own key, a reference, or a name."""

from __future__ import annotations

import re
from enum import IntEnum

from sqltune.sql.schema import Column, Table

_ID = re.compile(r"(_?id|_?code|_?no|_?number|_?key|uid|编号|词条id)$")
_REFERENCE = re.compile(r"(id|_code|编号)$")
_NAME = re.compile(r"(^|_|[a-z])(name|title)s?$|(名|名称|姓名|标题)$")
_PART_OF_NAME = re.compile(r"(first|last|middle|given|family|sur|f|l)_?name$")
_PLURAL = re.compile(r"(ies|es|e|y|s)$")


class KeyStrength(IntEnum):
    """How likely a column is to be its table's own key; of joined columns the likeliest one is the key."""

    NONE = 0
    FIRST_ID = 1
    """An id in the first column, named after something else."""
    RELATED_ID = 2
    """An id in the first column, named after a part of the table's name."""
    OWN_ID = 3
    """An id without a name, or with the table's."""
    FIRST_OWN_ID = 4
    """The same, in the first column."""
    DECLARED = 5
    """The only column of the PRIMARY KEY."""


def key_strength(table: Table, column: Column) -> KeyStrength:
    """How sure it is that a column is its table's own key."""
    if column.key:
        alone = sum(c.key for c in table.columns) == 1
        return KeyStrength.DECLARED if alone else KeyStrength.NONE
    name = column.name.lower()
    if not _ID.search(name):
        return KeyStrength.NONE
    stem, own, first = _ID.sub("", name).strip("_"), table.name.lower(), table.columns[0] == column
    if not stem or _singular(stem) == _singular(own):
        return KeyStrength.FIRST_OWN_ID if first else KeyStrength.OWN_ID
    if not first or _links_two_tables(table):
        return KeyStrength.NONE
    # The key of ref_template_types may be template_type; country in country_language is a reference.
    related = _singular(own).endswith(_singular(stem)) or _singular(own) in stem
    return KeyStrength.RELATED_ID if related else KeyStrength.FIRST_ID


def _links_two_tables(table: Table) -> bool:
    """Whether a table begins with two references: then neither is its key."""
    return len(table.columns) > 1 and all(_REFERENCE.search(c.name.lower()) for c in table.columns[:2])


def _singular(name: str) -> str:
    return _PLURAL.sub("", name.replace("_", ""))


def is_name(column: str) -> bool:
    """Whether a column, in lower case, holds names or titles."""
    return _NAME.search(column) is not None


def is_whole_name(column: str) -> bool:
    """Whether a column, in lower case, holds names, and not just a part of them such as the first name."""
    return is_name(column) and not _PART_OF_NAME.search(column)
