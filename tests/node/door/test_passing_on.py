"""What the door passes on, and how the client sees it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import door.upstream
from door.app import Door
from door.errors import NO_WORKER, UNKNOWN_MODEL
from tests.conftest import serving
from tests.node.door.conftest import NEW, OLD, at_socket
from tests.waiting import wait_until


def test_an_answer_has_the_name_that_was_asked_for(front, api):
    answer = front.ask()
    assert answer.json()["model"] == "text2sql"
    assert api.requests[0]["model"] == OLD


def test_an_answer_keeps_its_text(front):
    assert front.ask().json()["choices"] == [{"text": f"SELECT 查 -- {OLD}"}]


def test_an_answer_names_the_version_and_its_run(front):
    headers = front.ask().headers
    assert headers["X-Model-Version"] == "7"
    assert headers["X-Model-Run"] == "manual__2026-11-24T14:03:00+00:00"


def test_an_answer_names_its_worker(front):
    front.serve(NEW, "base")
    assert front.ask().headers["X-Model-Worker"] == OLD
    assert front.ask(model="base").headers["X-Model-Worker"] == NEW


def test_a_model_that_is_not_registered_has_no_version(front):
    front.serve(OLD, "text2sql")
    assert "X-Model-Version" not in front.ask().headers


def test_chat_completions_are_passed_on(front, api):
    with front.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": "text2sql", "messages": []})
    assert answer.status_code == 200
    assert api.requests == [{"model": OLD, "messages": []}]


def test_a_stream_has_the_name_that_was_asked_for(front):
    text = front.ask(stream=True).text
    assert text.count('"model":"text2sql"') == 2
    assert text.endswith("data: [DONE]\n\n")


def test_a_stream_comes_event_by_event(front, api):
    """The second event is held back: the first one must be there before."""
    with (
        front.client() as client,
        client.stream(
            "POST", "/v1/completions", json={"model": "text2sql", "prompt": "hold", "stream": True}
        ) as r,
    ):
        parts = r.iter_text()
        assert "SELECT" in next(parts)
        api.hold.set()
        assert " 1" in "".join(parts)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_vanishes_ends_the_request_upstream(front, api, stream):
    with pytest.raises(httpx.ReadTimeout):
        front.ask("hold", stream=stream, timeout=0.3)
    assert api.left.wait(10)
    assert front.log()[0]["status"] == 499


def test_a_name_that_moved_is_answered_by_its_new_worker(front, api):
    front.serve(NEW, "text2sql", version=8)
    front.serve(OLD)
    answer = front.ask()
    assert answer.headers["X-Model-Version"] == "8"
    assert api.requests[-1]["model"] == NEW


def test_while_two_workers_have_a_name_the_last_one_answers(front, api):
    front.serve(NEW, "text2sql", version=8)
    assert front.ask().headers["X-Model-Version"] == "8"


@pytest.mark.parametrize("code", [UNKNOWN_MODEL, NO_WORKER])
def test_a_worker_that_the_controller_does_not_know_yet_or_that_is_restarted_is_asked_again(front, api, code):
    api.unknown_code = code
    api.unknown.add(OLD)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(front.ask)
        wait_until(lambda: api.requests)
        api.unknown.clear()
        assert answer.result().status_code == 200


def test_a_name_that_moves_while_its_worker_is_unknown_is_looked_up_again(front, api):
    api.unknown.add(OLD)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(front.ask)
        wait_until(lambda: api.requests)
        front.serve(NEW, "text2sql", version=8)
        assert answer.result().headers["X-Model-Version"] == "8"


def test_a_request_waits_for_an_api_that_is_restarted(tmp_path, front, api):
    other = front.socket.replace("api", "other")
    with serving(Door(tmp_path, other, front.lines.append).app()) as url, ThreadPoolExecutor() as pool:
        front.url = url
        began = threading.Event()

        def ask() -> httpx.Response:
            began.set()
            return front.ask()

        answer = pool.submit(ask)
        began.wait()
        with at_socket(api.app(), other):
            assert answer.result().status_code == 200


def test_an_api_that_stays_away_is_reported(front, api, monkeypatch):
    monkeypatch.setattr(door.upstream, "PATIENCE", 0.2)
    api.unknown.add(OLD)
    answer = front.ask()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_down"


def test_the_models_are_the_served_names(front):
    front.serve(NEW, "candidate-1")
    with front.client() as client:
        models = client.get("/v1/models").json()
    assert [m["id"] for m in models["data"]] == ["candidate-1", "text2sql"]


def test_the_worker_of_the_public_name_makes_the_host_healthy(front, api):
    with serving(api.app()) as url, front.client(None) as client:
        front.serve(OLD, "text2sql", port=int(url.rpartition(":")[2]))
        assert client.get("/health").json() == {"status": "ok"}


def test_a_worker_that_does_not_answer_makes_the_host_unhealthy(front):
    with front.client(None) as client:
        answer = client.get("/health")
    assert answer.status_code == 503
    assert "the worker of text2sql does not answer: ConnectError" in answer.json()["problem"]


def test_without_the_public_name_the_host_is_unhealthy(front):
    front.serve(OLD, "base")
    with front.client(None) as client:
        assert client.get("/health").json()["problem"] == "text2sql is not served"
