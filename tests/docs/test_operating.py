"""docs/operating.md quotes messages that the source has, and names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text()
MESSAGES = re.findall(r"^> `(.+)`$", PAGE, re.M)
TESTS = re.findall(r"^- \*\*Tested\*\*: `(\S+)::(\S+)`$", PAGE, re.M)


@cache
def source_texts() -> tuple[str, ...]:
    """Every string of the source, with `…` in place of each value that is put into it."""
    found = []
    for folder in ("plugins", "include/node"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"%[-+.\d]*[srdf]", "…", node.value))
    return tuple(found)


def test_there_are_twenty_five_situations_at_least():
    assert len(MESSAGES) == len(TESTS) == PAGE.count("\n## ") >= 25


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_in_the_source(message):
    fragments = [re.escape(fragment) for fragment in message.split("…") if fragment.strip()]
    pattern = re.compile(".*".join(fragments), re.S)
    assert any(pattern.search(text) for text in source_texts())


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_named_test_exists(path, name):
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M)
