"""What a question says literally."""

from __future__ import annotations

import time

import pytest

from sqltune.evaluation.audit.question_text import QuestionText, mentions


def test_digits_of_names_are_no_numbers():
    text = QuestionText.read("item_book.2_13_161和2016届人数超过３００的“三国”", ["2016届人数"])
    assert [n.text for n in text.numbers] == ["300"]
    assert text.codes == ("item_book.2_13_161",)
    assert text.quoted == ("三国",)


def test_digits_of_dates_and_times_are_no_numbers():
    text = QuestionText.read("2014年10月1日22:00之前的3个节目", [])
    assert [n.text for n in text.numbers] == ["3"]
    assert [str(d) for d in text.dates] == ["2014-10-01"]
    assert [str(t) for t in text.times] == ["22:00"]


def test_apostrophe_quotes_nothing():
    assert QuestionText.read("the student's and the teacher's names", []).quoted == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("河北省的城市", "河北"),
        ("宋代统治多少年", "宋朝"),
        ("从北电毕业", "北京电影学院"),
        ("腾讯公司的市值", "深圳腾讯科技有限公司"),
        ("适用1到3年级", "1-3"),
        ("french singers", "france"),
        ("in the carribean", "caribbean"),
        ("female students", "f"),
        ("names with the substring hey", "%hey%".strip("%")),
    ],
)
def test_name_that_is_mentioned(text, name):
    assert mentions(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [("河北省的城市", "湖北"), ("柬埔寨生产的", "巴西"), ("french singers", "germany"), ("东北", "华北")],
)
def test_name_that_is_not_mentioned(text, name):
    assert not mentions(text, name)


@pytest.mark.parametrize("text", ["a_" * 50_000, "《" * 100_000, "'a " * 30_000, "x" * 100_000])
def test_hostile_text_is_read_in_time(text):
    begin = time.process_time()
    QuestionText.read(text, ["name"])
    mentions(text, "france")
    assert time.process_time() - begin < 10
