"""Names of databases for people: few questions of a training dataset come with a database file."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePath

_TABLE = re.compile(
    r"""\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:"([^"]+)"|`([^`]+)`|\[([^\]]+)\]|([^\s("`\[]+))""",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def database_name(database: str | None, context: str) -> str:
    """Return the name of a question's database.

    Args:
        database: Its SQLite file, or None.
        context: CREATE TABLE statements; their tables are its name where it has no file.
    """
    if database:
        return PurePath(database).stem
    return ", ".join(next(filter(None, names)) for names in _TABLE.findall(context))
