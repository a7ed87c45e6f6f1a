"""Who may do what, and through which door: users with roles, TLS, a path before every address."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import httpx
import pytest
from airflow.sdk.definitions.param import ParamsDict
from playwright.sync_api import Browser, Page, expect

from lab.airflow_api import Airflow
from sqltune.config.form import params
from ssh_gang.model import slug
from tests.browser import OpenPage
from tests.conftest import BASE
from tests.deploy.rights import ACTIONS, ROLES, Action
from tests.deploy.runs import states, until_ended
from tests.deploy.stack import DAG, Stack
from tests.hostile_values import hostile_forms, refusal

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

PASSWORD = "of-the-tests"


@pytest.fixture(scope="module")
def users(stack: Stack, airflow: Airflow) -> dict[str, Airflow]:
    """A client for each role, and one of a user without any right."""
    if "FabAuthManager" in stack.settings.get("AUTH_MANAGER", "FabAuthManager"):
        for role in ROLES:
            # Names are the same with capitals or without, and `admin` is taken.
            user = {
                "username": f"of-role-{role}",
                "email": f"{role}@localhost",
                "first_name": role,
                "last_name": role,
                "password": PASSWORD,
                "roles": [{"name": role}],
            }
            headers = {"Authorization": f"Bearer {airflow.token}"}
            url = f"{airflow.url}/auth/fab/v1/users"
            answer = httpx.post(url, json=user, headers=headers, trust_env=False, timeout=60)
            assert answer.status_code == 200, answer.text
        return {role: Airflow(airflow.url, f"of-role-{role}", PASSWORD) for role in ROLES}
    pytest.skip("the simple auth manager has one user here")


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_each_role_may_do_what_the_table_says(users, action):
    allowed = {}
    for role, user in users.items():
        allowed[role] = status(user.url, action, {"Authorization": f"Bearer {user.token}"})
    assert {role: code != 403 for role, code in allowed.items()} == {
        role: role in action.roles for role in ROLES
    }, allowed


def test_without_a_login_nothing_but_the_login_answers(stack, users):
    for action in ACTIONS:
        assert status(stack.url, action) in (401, 403), action.name


def status(url: str, action: Action, headers: Mapping[str, str] | None = None) -> int:
    """What Airflow answers."""
    asked = httpx.Request(action.method, url + action.path, json=action.body, headers=headers)
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.send(asked).status_code


@pytest.fixture
def paused(airflow: Airflow) -> Iterator[None]:
    """While the DAG is paused, what is triggered waits; it is deleted afterwards."""
    assert airflow.call("PATCH", f"/dags/{DAG}", json={"is_paused": True}).status_code == 200
    yield
    while queued := airflow.get(f"/dags/{DAG}/dagRuns", state="queued")["dag_runs"]:
        for run in queued:
            assert (
                airflow.call("DELETE", f"/dags/{DAG}/dagRuns/{quote(run['dag_run_id'])}").status_code == 204
            )
    assert airflow.call("PATCH", f"/dags/{DAG}", json={"is_paused": False}).status_code == 200


def test_a_thousand_hostile_forms_are_refused_or_mean_what_they_say(shape, airflow, paused):
    """What is taken is what the form's schema takes; what `plan` says of that is in test_hostile_form."""
    if "proxy" not in shape.services:
        pytest.skip("the same in each shape")
    taken, headers = 0, {"Authorization": f"Bearer {airflow.token}", "Content-Type": "application/json"}
    url, schema = f"{airflow.url}/api/v2/dags/{DAG}/dagRuns", ParamsDict(params())
    with httpx.Client(trust_env=False, timeout=60, headers=headers) as client:
        for form in hostile_forms(1000):
            (name,) = form
            try:
                body = json.dumps({"conf": form, "logical_date": None}, allow_nan=False)
            except ValueError:
                continue  # no client sends what is not JSON
            answer = client.post(url, content=body)
            if answer.status_code == 200:
                taken += 1
                assert refusal(form, schema) == "", form
            else:
                assert answer.status_code in (400, 413, 422), (form, answer.status_code, answer.text[:500])
                assert name in answer.text or "JSON" in answer.text, (form, answer.text[:500])
    assert taken > 20


@pytest.mark.parametrize(("name", "value"), [("dataset_revision", "CON"), ("dataset_repo", "CON/CON")])
def test_a_name_of_nothing_that_the_form_takes_ends_in_plan(shape, airflow, name, value):
    if "proxy" not in shape.services:
        pytest.skip("the same in each shape")
    run = airflow.trigger(DAG, {name: value})
    assert until_ended(airflow, run) == "failed"
    assert [task for task, state in states(airflow, run).items() if state == "failed"] == ["plan"]
    assert f"{name}:" in "\n".join(airflow.log(DAG, run, "plan", 1))


@pytest.fixture(scope="module")
def door(stack, shape) -> Iterator[httpx.Client]:
    """A client that comes through the proxy, and trusts nobody but its authority."""
    if "proxy" not in shape.services:
        pytest.skip("not part of this shape")
    root = stack.engine.docker(
        "exec", stack.container("proxy"), "cat", "/data/caddy/pki/authorities/local/root.crt"
    )
    trusted = ssl.create_default_context(cadata=root)
    with httpx.Client(
        base_url=stack.settings["BASE_URL"] + stack.settings["BASE_PATH"],
        verify=trusted,
        trust_env=False,
        timeout=60,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def token(stack: Stack, door: httpx.Client) -> str:
    """What a login through the proxy gives."""
    login = {"username": "admin", "password": stack.secrets["ADMIN_PASSWORD"]}
    answer = door.post("/auth/token", json=login)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])


def test_the_page_answers_through_the_proxy_under_its_path(door, token):
    page = door.get("/")
    assert page.status_code == 200, page.text
    assert '<base href="/text2sql/' in page.text
    runs = door.get("/sqltune/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
    assert runs.status_code == 200, runs.text


def test_a_login_is_a_cookie_for_tls_and_the_path_alone(stack, door, browser, open_page):
    page = log_in(door, stack, browser, open_page)
    (cookie,) = [c for c in page.context.cookies() if c["name"] == "_token"]
    assert (cookie["secure"], cookie["path"]) == (True, "/text2sql/")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()


def test_what_a_run_does_comes_through_the_proxy_as_it_happens(
    stack, door, token, training, browser, open_page
):
    path = f"/sqltune/api/v1/runs/{slug(training)}/events"
    with door.stream("GET", path, headers={"Authorization": f"Bearer {token}"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event: "))
    page = log_in(door, stack, browser, open_page)
    page.goto(f"{door.base_url}dags/{DAG}/runs/{quote(training, safe='')}/plugin/text2sql")
    loss = page.get_by_role("figure").filter(has_text="Loss").get_by_role("status")
    expect(loss).to_have_text(re.compile(r"\(\d+\)"))
    shown = loss.inner_text()
    expect(loss).not_to_have_text(shown)
    page.screenshot(path=BASE / "engine/behind-the-proxy.png")


def log_in(door: httpx.Client, stack: Stack, browser: Browser, open_page: OpenPage) -> Page:
    """A page of Airflow, behind the proxy, after the login's form."""
    options = {"ignore_https_errors": True, "locale": "en-US"}
    # FAB's own page, with an error in a script of its own.
    login = browser.new_context(**options).new_page()
    login.goto(str(door.base_url))
    login.get_by_label("Username").fill("admin")
    login.get_by_label("Password").fill(stack.secrets["ADMIN_PASSWORD"])
    login.get_by_role("button", name="Sign In").click()
    expect(login.get_by_role("link", name="Models")).to_be_visible()
    page = open_page(**options)
    page.context.add_cookies(login.context.cookies())
    page.goto(str(door.base_url))
    return page
