"""Delta debugging, on rows whose test is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sqltune.evaluation.shrink import Items, ShrinkingEnded, shrink, whole_rows

ITEMS = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=18)


def containing(needed: Items, asked: list[Items]):
    """A test that holds where every needed row is there; it notes what it is asked."""

    def holds(items: Items) -> bool:
        asked.append(items)
        return needed <= items

    return holds


@given(ITEMS, st.data())
def test_what_is_needed_is_left_and_nothing_else(start, data):
    needed = frozenset(data.draw(st.sets(st.sampled_from(sorted(start)))))
    assert shrink(sorted(start), containing(needed, [])) == needed


@given(ITEMS, st.integers(1, 4))
def test_no_row_of_the_result_can_be_removed(start, size):
    """A test that is not monotonic: it holds for every multiple of a number of rows."""

    def holds(items: Items) -> bool:
        return bool(items) and len(items) % size == len(start) % size

    left = shrink(sorted(start), holds)
    assert holds(left)
    assert not any(holds(left - {item}) for item in left)


@given(ITEMS)
def test_each_set_of_rows_is_tested_once(start):
    asked: list[Items] = []
    shrink(sorted(start), containing(frozenset(list(start)[:2]), asked))
    assert len(asked) == len(set(asked))


@given(ITEMS, st.integers(0, 12))
def test_a_test_that_ends_leaves_what_was_found_by_then(start, times):
    asked: list[Items] = []
    last = frozenset(start)

    def holds(items: Items) -> bool:
        nonlocal last
        if len(asked) == times:
            raise ShrinkingEnded
        asked.append(items)
        last = items if len(items) % 2 else last
        return len(items) % 2 == 1

    assert shrink(sorted(start), holds) == last


def test_halves_are_removed_before_single_rows():
    asked: list[Items] = []
    shrink([(0, row) for row in range(1000)], containing(frozenset({(0, 321)}), asked))
    assert len(asked) < 40


@given(ITEMS, st.data())
def test_a_row_stays_with_the_row_that_it_refers_to(start, data):
    rows = sorted(start)
    links = {
        item: [frozenset({data.draw(st.sampled_from(rows))})]
        for item in data.draw(st.sets(st.sampled_from(rows)))
    }
    whole = whole_rows(links)
    needed = frozenset({data.draw(st.sampled_from(rows))})
    left = shrink(rows, containing(needed, []), whole)
    assert whole(left) == left
    assert needed <= left


def test_a_row_needs_one_of_the_rows_that_it_may_refer_to():
    whole = whole_rows({(0, 0): [frozenset({(1, 0), (1, 1)})]})
    assert whole(frozenset({(0, 0), (1, 1)})) == {(0, 0), (1, 1)}
    assert whole(frozenset({(0, 0), (1, 2)})) == {(1, 2)}


def test_rows_that_refer_to_a_lost_row_are_lost_too():
    whole = whole_rows({(0, 0): [frozenset({(1, 0)})], (1, 0): [frozenset({(2, 0)})]})
    assert whole(frozenset({(0, 0), (1, 0)})) == frozenset()
