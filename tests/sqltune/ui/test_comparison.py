"""Before and after, in a browser: what is counted, what is doubtful, what is found how."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from sqltune.records import database
from sqltune.records.models import Evaluation
from sqltune.records.runs import number
from tests.sqltune.ui.audited import DATABASES, DOUBTFUL, NUMBERS, ODD_IDS
from tests.sqltune.ui.test_browser import query, questions

COUNTED = sum(NUMBERS.values())


@pytest.fixture
def show(site, open_page):
    """Open the comparison of the run `audited`, or of another one."""

    def shown(run: str = "audited", locale: str = "en-US", **parameters: str) -> Page:
        return site.show(open_page, run, query={"view": "comparison"} | parameters, locale=locale)

    return shown


@pytest.mark.parametrize(
    ("group", "count"),
    [
        ("All", COUNTED),
        ("Gained", NUMBERS["gained"]),
        ("Lost", NUMBERS["lost"]),
        ("Still right", NUMBERS["both_right"]),
        ("Still wrong", 0),
        ("Reference prompts", 3),
        ("Gold query does not run", 1),
    ],
)
def test_the_list_counts_what_the_numbers_count_and_the_rest_beside_it(show, group, count):
    page = show()
    expect(page.get_by_role("row", name="Correct 33 / 41").first).to_be_visible()
    page.get_by_role("button", name=f"{group} {count}", exact=True).click()
    expect(questions(page)).to_have_count(count)


def test_a_reference_prompt_says_what_became_of_it(show):
    page = show(change="reference_prompt")
    expect(questions(page).first).to_contain_text("Gained")


def test_a_link_to_a_reference_prompt_leads_to_it(show):
    page = show(question="ref.1")
    expect(page.get_by_role("article", name="ref.1")).to_be_visible()
    expect(page.get_by_role("button", name="Reference prompts 3")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name=f"All {COUNTED}").click()
    expect(questions(page)).to_have_count(COUNTED)


@pytest.mark.parametrize("name", ODD_IDS)
def test_a_link_to_a_question_of_any_id_opens_it(show, name):
    page = show(question=name)
    article = page.get_by_role("article")
    expect(article).to_have_attribute("aria-label", name)
    expect(article.get_by_role("region", name="Why: after")).to_be_visible()


def test_a_doubtful_gold_query_says_why(show):
    page = show(question="dated.1")
    doubts = page.get_by_role("region", name="The gold query is doubtful")
    expect(doubts).to_contain_text("date without quotes: ")
    expect(doubts).to_contain_text("2010-01-01")


def test_doubtful_gold_queries_are_marked_in_the_list_and_filtered(show):
    page = show()
    page.get_by_label("Doubtful gold").select_option("any reason")
    expect(questions(page)).to_have_count(DOUBTFUL)
    expect(questions(page).first).to_contain_text("Doubtful gold")
    assert query(page)["doubt"] == "any"


def test_a_filter_for_doubtful_gold_queries_stands_in_the_address(show):
    page = show(doubt="unquoted_date")
    expect(questions(page)).to_have_count(DOUBTFUL)


def test_the_score_stands_without_doubtful_gold_queries_and_the_page_says_that_the_verdict_hangs_on_them(
    show,
):
    page = show()
    without = f"{COUNTED - DOUBTFUL - 2} / {COUNTED - DOUBTFUL}"
    row = page.get_by_role("row", name="Correct, without doubtful gold queries")
    expect(row.get_by_role("cell")).to_have_text([re.compile(without)] * 2)
    expect(page.get_by_text("The verdict hangs on these questions")).to_be_visible()
    expect(page.get_by_role("row", name="doubtful_golds")).to_contain_text("remark")


def test_a_reason_leads_to_its_questions(show):
    page = show()
    page.get_by_role("button", name="date without quotes").click()
    expect(questions(page)).to_have_count(DOUBTFUL)
    expect(page.get_by_role("heading", name=f"{DOUBTFUL} questions")).to_be_in_viewport()


@pytest.mark.parametrize(
    ("label", "option", "count"),
    [
        ("Outcome after", "Wrong", 2),
        ("Guarded", "yes", 1),
        ("Language", "Chinese", DOUBTFUL),
        ("Hardness", "medium", len(ODD_IDS)),
        ("Clause", "where", DOUBTFUL),
        ("Database", "shop_0", 2),
    ],
)
def test_questions_are_found_by(show, label, option, count):
    page = show()
    page.get_by_role("combobox", name=label).select_option(option)
    expect(questions(page)).to_have_count(count)


@pytest.mark.parametrize(
    ("part", "cells"),
    [
        ("Chinese", ["0 / 6", "6 / 6", "+100.0"]),
        ("where", ["0 / 6", "6 / 6", "+100.0"]),
        ("shop_0", ["2 / 2", "0 / 2", "−100.0"]),
    ],
)
def test_each_part_has_counts_before_and_after_and_their_difference(show, part, cells):
    page = show()
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name=part, exact=True))
    expect(row.get_by_role("cell")).to_have_text(cells)


def databases(page: Page) -> list[str]:
    table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name="Database"))
    return table.get_by_role("rowheader").all_inner_texts()


def test_of_many_databases_the_worst_and_the_best_are_shown_first_and_the_others_on_demand(show):
    page = show()
    others = page.get_by_role("button", name=f"Show the {DATABASES - 10} between them")
    expect(others).to_be_visible()
    assert (databases(page)[0], databases(page)[-1], len(databases(page))) == (
        "shop_0",
        f"shop_{DATABASES - 1}",
        10,
    )
    others.click()
    expect(page.get_by_role("button", name="Show the worst and the best only")).to_be_visible()
    assert len(databases(page)) == DATABASES


def test_a_database_is_found_by_its_name(show):
    page = show()
    page.get_by_role("searchbox", name="Search databases").fill("SHOP_12")
    expect(page.get_by_role("button", name="shop_11", exact=True)).to_be_hidden()
    assert databases(page) == ["shop_12"]


def test_a_part_leads_to_its_questions(show):
    page = show()
    page.get_by_role("button", name="shop_0", exact=True).click()
    expect(questions(page)).to_have_count(2)
    assert query(page)["database"] == "shop_0"


def test_a_score_without_error_classes_shows_a_dash_and_no_zero(show):
    with database.writing() as session:
        run = number(session, "whole")
        row = session.get(Evaluation, (run, "before"))
        row.score = row.score | {"mismatched_by_class": {}}
    cells = show("whole").get_by_role("row", name="Wrong: function").get_by_role("cell")
    expect(cells).to_have_text(["–", "2"])


def test_a_score_with_classes_shows_zero_where_there_is_none(show):
    cells = show("whole").get_by_role("row", name="Does not run: syntax").get_by_role("cell")
    expect(cells).to_have_text(["1", "0"])


def test_speeds_have_a_dash_where_no_answer_was_generated(show):
    page = show()
    rate, latency = (page.get_by_role("row", name=name) for name in ("Answers a second", "Latency, p95"))
    expect(rate.get_by_role("cell")).to_have_text(["–", "2.00 (of 40 answers)"])
    expect(latency.get_by_role("cell")).to_have_text(["–", "2.5 s"])


def test_speeds_are_left_out_where_none_is_known(show):
    page = show("whole")
    expect(page.get_by_role("row", name="Does not run", exact=False).first).to_be_visible()
    expect(page.get_by_role("row", name="Answers a second")).to_have_count(0)


def test_everything_is_said_in_chinese(show):
    page = show(locale="zh-CN", question="dated.1")
    expect(page.get_by_role("region", name="此题的标准答案存疑")).to_contain_text("日期未加引号")
    expect(page.get_by_role("button", name="参考提示词 3")).to_be_visible()
    expect(page.get_by_text("结论取决于这些题目")).to_be_visible()
    cells = page.get_by_role("row", name="每秒答案数").get_by_role("cell")
    expect(cells).to_have_text(["–", "2.00（共 40 条）"])
