"""What held-out rows have in common with training rows."""

from __future__ import annotations

import random

import pytest

from sqltune.dataset import overlap as module
from sqltune.dataset.overlap import NEAR, nearest, overlap, plain, skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT name FROM city WHERE area > 5", "select t.城市 from 省 as t where t.`面积` > 'x';"),
        ("SELECT COUNT(*) FROM a", "select count ( * ) from  b"),
    ],
)
def test_queries_of_one_structure_have_one_skeleton(one, other):
    assert skeleton(one).replace(" as _", "") == skeleton(other).replace(" as _", "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t WHERE b > 5", "SELECT a FROM t WHERE b < 5"),
        ("SELECT max(a) FROM t", "SELECT min(a) FROM t"),
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC"),
    ],
)
def test_queries_of_different_structure_have_different_skeletons(one, other):
    assert skeleton(one) != skeleton(other)


def test_punctuation_case_and_width_do_not_matter():
    assert plain("Ｗie viele,  Städte？") == plain("wie viele städte")


def test_the_three_measures():
    train = [{"question": "哪些城市的面积大于100？", "answer": "SELECT a FROM t WHERE b > 100"}]
    held_out = [
        {"question": "哪些城市的面积大于100", "answer": "SELECT c FROM u WHERE d > 7"},
        {"question": "哪些城市的面积大于1000?", "answer": "SELECT c FROM u"},
        {"question": "谁是校长？", "answer": "SELECT max(c) FROM u"},
    ]
    found = overlap(train, held_out)
    assert (found.held_out, found.same_skeleton, found.same_question, found.near_question) == (3, 1, 1, 2)
    assert [pair.similarity for pair in found.examples] == [1.0, 0.909]


def test_every_near_pair_is_found():
    # Prefix filtering leaves out comparisons, and must leave out no pair.
    words = random.Random(5)
    questions = ["".join(words.choice("abcde") for _ in range(words.randint(3, 40))) for _ in range(300)]
    variants = [q[:i] + words.choice("abcde") + q[i + 1 :] for q in questions for i in [len(q) // 2]]
    train = {plain(q): q for q in questions}
    sets = {q: module._trigrams(plain(q)) for q in [*questions, *variants]}
    expected = {v: max(module._jaccard(sets[v], sets[q]) for q in train.values()) for v in variants}
    found = {pair.held_out: pair.similarity for pair in nearest(variants, train)}
    assert found == {v: pytest.approx(best, abs=0.001) for v, best in expected.items() if best >= NEAR}
    assert len(found) > 50
