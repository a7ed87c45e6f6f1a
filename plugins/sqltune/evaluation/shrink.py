"""Delta debugging: the smallest part of some rows on which a test still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Item = tuple[int, int]
"""A row: the number of its table, and its own number in the table."""

Items = frozenset[Item]


def shrink(
    start: Sequence[Item],
    holds: Callable[[Items], bool],
    whole: Callable[[Items], Items] = lambda items: items,
) -> Items:
    """Remove rows for as long as a test holds.

    Whole tables first, then parts of each table, ever smaller ones: the minimising delta debugging of Zeller
    and Hildebrandt (IEEE TSE 28, 2002), table by table.

    Args:
        start: the rows, for which the test holds; their order decides which of several results is found.
        holds: the test. It is asked once for each set of rows.
        whole: takes the rows away whose references lead nowhere; `start` and each set tested is whole.

    Returns:
        Rows for which the test holds, and fails as soon as any one of them is removed, together with those
        that are not whole without it.
    """
    answers: dict[Items, bool] = {}

    def without(kept: Items, items: Sequence[Item]) -> Items:
        rest = whole(kept - frozenset(items))
        if rest not in answers:
            answers[rest] = holds(rest)
        return rest if answers[rest] else kept

    tables: dict[int, list[Item]] = {}
    for item in start:
        tables.setdefault(item[0], []).append(item)
    kept = frozenset(start)
    for items in tables.values():
        kept = without(kept, items)
    before: Items = frozenset()
    while kept != before:
        before = kept
        for items in tables.values():
            kept = _without_parts(kept, items, without)
    return kept


def _without_parts(
    kept: Items, items: Sequence[Item], without: Callable[[Items, Sequence[Item]], Items]
) -> Items:
    """Remove parts of one table, ever smaller ones, until no single row of it can be removed."""
    rest = [item for item in items if item in kept]
    size = max(1, len(rest) // 2)
    while rest:
        before = kept
        for at in range(0, len(rest), size):
            kept = without(kept, rest[at : at + size])
        if size == 1 and kept == before:
            break
        rest = [item for item in rest if item in kept]
        size = max(1, min(size, len(rest)) // 2)
    return kept


def whole_rows(links: Mapping[Item, Sequence[Items]]) -> Callable[[Items], Items]:
    """Return a function that takes the rows away whose references lead nowhere, and those that refer to them.

    Args:
        links: for each row that refers to others, the rows that each of its references may lead to.
    """

    def whole(items: Items) -> Items:
        while lost := {i for i in items & links.keys() if any(items.isdisjoint(to) for to in links[i])}:
            items -= lost
        return items

    return whole
