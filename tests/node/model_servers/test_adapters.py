"""Adapters beside one base model: who shares a process, and what is refused before anything is started."""

from __future__ import annotations

import pytest

from hashing import folder_hash
from model_servers.configuration import configuration
from model_servers.switch import require_model, switch
from model_servers.worker import processes
from tests.node.adapter_files import make_adapter


def add(stack, model: str, name: str = "text2sql") -> str:
    program = stack.program(name, model)
    stack.add(program, name, model)
    return program


def test_adapters_of_one_base_model_share_a_process(unmerged, models):
    a, b = add(unmerged, str(models / "a")), add(unmerged, str(models / "b"), "candidate")
    base = add(unmerged, str(models / "base"), "base")
    workers = unmerged.workers()
    assert len({workers[program].port for program in (a, b, base)}) == 1
    assert len(processes(workers)) == 1
    assert configuration(unmerged.layout, workers).count("[program:base-") == 1


def test_what_runs_stays_as_it_is_when_another_adapter_joins(unmerged, models):
    """Another number of threads would have made supervisor restart the process of the champion."""
    add(unmerged, str(models / "a"))
    before = configuration(unmerged.layout, unmerged.workers())
    unmerged.settings = unmerged.settings.model_copy(update={"threads": 7})
    add(unmerged, str(models / "b"), "candidate")
    assert configuration(unmerged.layout, unmerged.workers()) == before


def test_another_worker_has_a_version_and_names_of_its_own(unmerged, models):
    a = add(unmerged, str(models / "a"))
    unmerged.rename(a, ["text2sql"], version=3, run="r3")
    b = add(unmerged, str(models / "b"), "candidate")
    worker = unmerged.workers()[b]
    assert (worker.names, worker.model, worker.version, worker.run) == (
        ["candidate"],
        str(models / "b"),
        None,
        "",
    )


def test_a_base_model_that_is_loaded_otherwise_is_another_process(unmerged, models):
    a = add(unmerged, str(models / "a"))
    unmerged.settings = unmerged.settings.model_copy(update={"cache_gib": 3.0})
    b = add(unmerged, str(models / "b"))
    workers = unmerged.workers()
    assert workers[a].process != workers[b].process
    assert workers[a].port != workers[b].port


def test_a_whole_model_has_a_process_of_its_own(unmerged, models):
    a = add(unmerged, str(models / "a"))
    unmerged.settings = unmerged.settings.model_copy(update={"base_model": ""})
    whole = add(unmerged, str(models / "base"))
    workers = unmerged.workers()
    assert workers[whole].process == ""
    assert workers[a].port != workers[whole].port
    assert workers[a].engine_label == f"{workers[whole].engine_label} unmerged"


@pytest.mark.parametrize(("rank", "expected"), [(2, 8), (9, 16)])
def test_vllm_has_room_for_the_rank_of_the_adapter(unmerged, models, monkeypatch, rank, expected):
    monkeypatch.setattr("model_servers.stack.version_problem", lambda *_: None)
    unmerged.settings = unmerged.settings.model_copy(update={"engine": "vllm"})
    adapter = make_adapter(models / "ranked", rank=rank)
    program = add(unmerged, str(adapter))
    assert unmerged.workers()[program].lora_rank == expected
    assert f" --max-lora-rank {expected}" in configuration(unmerged.layout, unmerged.workers())


def test_an_adapter_of_a_larger_rank_does_not_join_on_vllm(unmerged, models, monkeypatch):
    """vLLM refuses it: the room for it is made at its start."""
    monkeypatch.setattr("model_servers.stack.version_problem", lambda *_: None)
    unmerged.settings = unmerged.settings.model_copy(update={"engine": "vllm"})
    add(unmerged, str(models / "a"))
    add(unmerged, str(make_adapter(models / "ranked", rank=9)), "candidate")
    assert len(processes(unmerged.workers())) == 2


@pytest.mark.parametrize("call", ["up", "switch"])
def test_an_adapter_that_does_not_fit_changes_nothing(unmerged, models, call):
    wrong = str(make_adapter(models / "wrong", width=9))
    with pytest.raises(SystemExit, match=r"is \[6, 4\] in the base model, and the adapter's is \[9, 4\]"):
        unmerged.up("text2sql", wrong) if call == "up" else switch(unmerged, "text2sql", wrong)
    assert unmerged.workers() == {}
    assert not unmerged.layout.configuration_file.exists()


def test_a_base_model_that_is_missing_is_named(unmerged, models):
    (models / "base/config.json").unlink()
    with pytest.raises(SystemExit, match="holds no base model: copy it to this host"):
        switch(unmerged, "text2sql", str(models / "a"))


def test_a_base_model_that_was_replaced_is_named(unmerged, models):
    """Its shapes may be the same, and the answers are none."""
    digest = folder_hash(models / "base")
    unmerged.settings = unmerged.settings.model_copy(update={"base_model_hash": digest})
    require_model(unmerged, str(models / "a"))
    (models / "base/config.json").write_text('{"changed": true}')
    with pytest.raises(SystemExit, match=rf"was trained with {digest}: bring its files back"):
        require_model(unmerged, str(models / "a"))


def test_a_rank_beyond_vllms_is_refused(unmerged, models):
    unmerged.settings = unmerged.settings.model_copy(update={"engine": "vllm"})
    adapter = str(make_adapter(models / "ranked", rank=513))
    with pytest.raises(SystemExit, match="has rank 513, and vLLM takes 512 at most"):
        require_model(unmerged, adapter)


def test_a_model_that_is_removed_leaves_the_others_registered(unmerged, models, monkeypatch):
    """The controller would have forgotten the champion for a second: its process is the same."""
    registered: list[list[str]] = []
    monkeypatch.setattr("model_servers.stack.register", lambda _, url, names: registered.append(names))
    monkeypatch.setattr(unmerged, "apply", lambda: None)
    a, b = add(unmerged, str(models / "a")), add(unmerged, str(models / "b"), "candidate")
    unmerged.remove(b)
    assert registered == [[a]]
    assert list(unmerged.workers()) == [a]


def test_fastchat_serves_no_adapters(unmerged, models):
    """A promotion by hand reads the cluster file, and does not check it as a plan does."""
    unmerged.settings = unmerged.settings.model_copy(update={"engine": "fastchat"})
    with pytest.raises(SystemExit, match="engine fastchat serves whole models: set serving.engine"):
        switch(unmerged, "text2sql", str(models / "a"))
    assert unmerged.workers() == {}


def test_a_model_that_is_removed_is_forgotten_before_another_one_can_have_its_name(
    unmerged, models, monkeypatch
):
    """The process frees an adapter when it is asked after its file is gone: one trained anew may be next."""
    asked: list[list[str]] = []
    monkeypatch.setattr("model_servers.stack.register", lambda *_: None)
    monkeypatch.setattr("model_servers.stack.queue_length", lambda _: asked.append(list(unmerged.workers())))
    monkeypatch.setattr(unmerged, "apply", lambda: None)
    a, b = add(unmerged, str(models / "a")), add(unmerged, str(models / "b"), "candidate")
    unmerged.remove(b)
    assert asked == [[a]]
