"""Delta debugging: the smallest part of some rows on which a test still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

Item = tuple[int, int]
"""A row: the number of its table, and its own number in the table."""

Items = frozenset[Item]


class ShrinkingEnded(Exception):
    """Raised by a test that may not be asked again: the rows that are left by then are the result."""


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
        holds: the test. It is asked once for each set of rows; it may raise `ShrinkingEnded`.
        whole: takes the rows away whose references lead nowhere; `start` and each set tested is whole.

    Returns:
        Rows for which the test holds. Unless it ended before, it fails as soon as any one of them is removed,
        together with those that are not whole without it.
    """
    shrinking = _Shrinking(start, holds, whole)
    with suppress(ShrinkingEnded):
        shrinking.run()
    return shrinking.kept


class _Shrinking:
    def __init__(
        self, start: Sequence[Item], holds: Callable[[Items], bool], whole: Callable[[Items], Items]
    ) -> None:
        self.kept = frozenset(start)
        self._holds, self._whole = holds, whole
        self._answers: dict[Items, bool] = {}
        self._tables: dict[int, list[Item]] = {}
        for item in start:
            self._tables.setdefault(item[0], []).append(item)

    def run(self) -> None:
        for items in self._tables.values():
            self._remove(items)
        before: Items = frozenset()
        while self.kept != before:
            before = self.kept
            for items in self._tables.values():
                self._remove_parts(items)

    def _remove_parts(self, items: Sequence[Item]) -> None:
        """Remove parts of one table, ever smaller ones, until no single row of it can be removed."""
        rest = [item for item in items if item in self.kept]
        size = max(1, len(rest) // 2)
        while rest:
            before = self.kept
            for at in range(0, len(rest), size):
                self._remove(rest[at : at + size])
            if size == 1 and self.kept == before:
                break
            rest = [item for item in rest if item in self.kept]
            size = max(1, min(size, len(rest)) // 2)

    def _remove(self, items: Sequence[Item]) -> None:
        """Remove rows, if the test holds without them."""
        rest = self._whole(self.kept - frozenset(items))
        if rest not in self._answers:
            self._answers[rest] = self._holds(rest)
        if self._answers[rest]:
            self.kept = rest


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
