"""docs/architecture.md shows the packages and their imports as they are."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
BLOCK = re.compile(r"(<!-- imports -->\n```mermaid\n)(.*?)(```\n<!-- /imports -->)", re.S)
ROOT_MODULES = "sqltune (root)"


def package_of(module: str) -> str:
    """The package of a module: `sqltune.sql.tokens` lies in `sql`."""
    package, *parts = module.split(".")
    if package == "ssh_gang":
        return "ssh_gang"
    is_package = parts and (PAGE.parents[1] / "plugins" / "sqltune" / parts[0]).is_dir()
    return parts[0] if is_package else ROOT_MODULES


def diagram() -> str:
    """Mermaid text: an arrow from each package to each that it imports, without those that others imply."""
    graph = grimp.build_graph("sqltune", "ssh_gang", cache_dir=None)
    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            importer, target = package_of(module), package_of(imported)
            if importer != target and ROOT_MODULES not in (importer, target):
                imports.setdefault(importer, set()).add(target)

    def reachable(start: str, without: tuple[str, str]) -> set[str]:
        reached, todo = set(), [start]
        while todo:
            at = todo.pop()
            for target in imports.get(at, ()):
                if (at, target) != without and target not in reached:
                    reached.add(target)
                    todo.append(target)
        return reached

    arrows = sorted((a, b) for a, targets in imports.items() for b in targets)
    return "graph TD\n" + "".join(
        f"    {a} --> {b}\n" for a, b in arrows if b not in reachable(a, without=(a, b))
    )


def test_the_picture_of_the_imports_is_current(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    block = BLOCK.search(text)
    assert block, "docs/architecture.md has no block between <!-- imports --> and <!-- /imports -->"
    current = diagram()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text[: block.start(2)] + current + text[block.end(2) :], encoding="utf-8")
        return
    assert block[2] == current, "renew it with: pytest --update-golden tests/test_architecture.py"


def test_no_import_goes_round_in_a_circle() -> None:
    graph = grimp.build_graph("sqltune", "ssh_gang", cache_dir=None)
    circles = [
        (module, chain)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if (chain := graph.find_shortest_chain(imported, module))
    ]
    assert circles == []
