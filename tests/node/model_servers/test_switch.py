"""Draining a worker that was replaced."""

from __future__ import annotations

import math
import socket
from types import SimpleNamespace

import pytest

import model_servers.stack
import model_servers.switch
from model_servers.switch import QUIET, drain, switch
from model_servers.worker import Worker


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves; `on_sleep` is called with the time."""
    clock = SimpleNamespace(now=0.0, on_sleep=lambda now: None)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        clock.on_sleep(clock.now)

    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(model_servers.switch, "time", fake)
    return clock


def put_nameless(stack, port: int) -> None:
    stack.files.put("old", Worker(names=[], model="/m", port=port))


def test_a_worker_is_drained_once_its_last_connection_has_closed(stack, clock):
    """However slowly it answers: a worker silent for five seconds was once taken for dead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        put_nameless(stack, listener.getsockname()[1])
        request = socket.create_connection(listener.getsockname())
        answering, _ = listener.accept()

        def answer(now: float) -> None:
            if now > 2 * QUIET:
                answering.close()
                request.close()

        clock.on_sleep = answer
        drained = drain(stack, "old")
    assert 3 * QUIET - 0.1 < drained < 3 * QUIET + 1


def test_a_worker_that_never_ends_is_drained_until_the_timeout(stack, clock):
    stack.settings = stack.settings.model_copy(update={"drain_timeout": 5})
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        put_nameless(stack, listener.getsockname()[1])
        assert 5 <= drain(stack, "old") < 6


def test_a_folder_without_a_model_is_refused(stack, tmp_path):
    with pytest.raises(SystemExit, match="holds no model: it was removed, or never merged"):
        switch(stack, "text2sql", str(tmp_path / "nothing"))


def test_a_host_that_needs_a_key_switches_no_model_without_one(stack, tmp_path):
    stack.settings = stack.settings.model_copy(update={"requires_key": True})
    (tmp_path / "config.json").touch()
    with pytest.raises(SystemExit, match="SQLTUNE_API_KEY is empty"):
        switch(stack, "text2sql", str(tmp_path))


def test_an_older_node_environment_is_refused_before_a_worker_is_touched(stack, tmp_path, monkeypatch):
    """The nameless worker of a switch that was cut off got a name, and the registrar sent it requests."""
    monkeypatch.setattr(model_servers.stack, "_DOOR_NEEDS", ("no_such_module",))
    (tmp_path / "config.json").touch()
    program = stack.program("text2sql", str(tmp_path))
    stack.files.put(program, Worker(names=[], model=str(tmp_path), port=1))
    with pytest.raises(SystemExit, match="has no no_such_module"):
        switch(stack, "text2sql", str(tmp_path))
    assert stack.workers()[program].names == []


@pytest.mark.parametrize(("idle_from", "drained"), [(None, QUIET), (6.0, 6.0 + QUIET)])
def test_a_model_of_a_shared_process_is_drained_once_its_own_requests_have_ended(
    stack, clock, monkeypatch, idle_from, drained
):
    """Its port has the connections of the others, whose requests do not end."""
    stack.files.put("old", Worker(names=[], model="/a", base="/m", process="base-1", port=1))

    def idle(url: str, program: str) -> float:
        assert program == "old"
        return math.inf if idle_from is None else max(clock.now - idle_from, 0)

    monkeypatch.setattr(model_servers.switch, "idle_seconds", idle)
    assert drained <= drain(stack, "old") < drained + 1


def test_a_shared_process_that_does_not_say_is_waited_for(stack, clock, monkeypatch):
    stack.settings = stack.settings.model_copy(update={"drain_timeout": 5})
    stack.files.put("old", Worker(names=[], model="/a", base="/m", process="base-1", port=1))

    def idle(url: str, program: str) -> float:
        raise TimeoutError

    monkeypatch.setattr(model_servers.switch, "idle_seconds", idle)
    assert 5 <= drain(stack, "old") < 6
