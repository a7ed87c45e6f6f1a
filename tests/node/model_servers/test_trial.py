"""A host's trial: what its script begins, ends and reports; the processes are stood in for."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

import model_servers.switch
from door.trial_files import COUNTS_FILE, FILE, Counts, Trial, read_counts, read_trial
from model_servers import trial
from model_servers.stack import Stack
from model_servers.worker import Worker
from serving import handle
from sqltune.node_contracts.serving import ServingRequest
from sqltune.node_contracts.trial import TrialTerms

TERMS = TrialTerms(id="run-1", mode="canary", share=0.5, seconds=600, answer_within=60)
OLD = "worker-text2sql-old"


@pytest.fixture
def model(tmp_path) -> str:
    """A folder that looks like a model's."""
    folder = tmp_path / "merged"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


@pytest.fixture
def other(tmp_path) -> str:
    """Another one."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


@pytest.fixture
def events() -> list[str]:
    """What was done to the workers, in order."""
    return []


@pytest.fixture
def host(stack, monkeypatch, events):
    """The host, which serves a champion; its workers are no processes, and its door knows trials."""
    stack.files.put(OLD, Worker(names=["text2sql"], model="/old", port=1, version=7))

    def start_beside(stack: Stack, program: str, name: str, model: str) -> float:
        events.append(f"load {program}")
        if program not in stack.workers():
            own = program.replace("worker-", "", 1)
            stack.files.put(program, Worker(names=[own], model=model, port=2))
        return 1.5

    def answer_error(self: Stack, name: str) -> str:
        found = read_trial(self.layout.folder)
        if found and not read_counts(self.layout.folder, found):
            Counts(found.began).write(self.layout.folder)
        return ""

    def drain(stack: Stack, program: str) -> float:
        assert stack.workers()[program].names == [], "it is still sent requests"
        events.append(f"drain {program}")
        return 0.0

    def remove(self: Stack, program: str) -> None:
        events.append(f"remove {program}")
        self.files.remove(program)

    for module in (trial, model_servers.switch):
        monkeypatch.setattr(module, "start_beside", start_beside)
        monkeypatch.setattr(module, "drain", drain)
    monkeypatch.setattr(Stack, "require_usable", lambda self: None)
    monkeypatch.setattr(Stack, "answer_error", answer_error)
    monkeypatch.setattr(Stack, "remove", remove)
    return stack


def begin(host: Stack, model: str, terms: TrialTerms = TERMS) -> Trial:
    """Begin a trial of version 8, and read what was written."""
    assert trial.begin(host, "text2sql", model, terms, 8, "run-1") == 1.5
    written = read_trial(host.layout.folder)
    assert written
    return written


def candidate(host: Stack) -> Worker | None:
    """The candidate's worker."""
    return next((worker for program, worker in host.workers().items() if program != OLD), None)


def test_a_trial_names_the_candidate_and_its_end(host, model):
    began = time.time()
    written = begin(host, model)
    assert (written.mode, written.name, written.share, written.answer_within) == (
        "canary",
        "text2sql",
        0.5,
        60,
    )
    assert [written.candidate] == candidate(host).names
    assert began + 600 <= written.until <= time.time() + 600


def test_the_candidates_worker_has_its_version_and_is_the_one_that_a_switch_starts(host, model):
    begin(host, model)
    assert (candidate(host).version, candidate(host).run) == (8, "run-1")
    assert host.program("text2sql", model) in host.workers()


def test_a_retry_goes_on_with_the_trial(host, model):
    first = begin(host, model)
    assert begin(host, model) == first


def test_another_runs_trial_is_ended_with_its_candidate(host, model, other):
    begin(host, model)
    written = begin(host, other, TERMS.model_copy(update={"id": "run-2"}))
    assert written.id == "run-2"
    assert candidate(host).model == other
    assert len(host.workers()) == 2


def test_a_retry_keeps_a_trial_that_has_ended_meanwhile_with_what_it_has_shown(host, model):
    """The host was away when its time was over."""
    first = begin(host, model)
    counts = Counts(first.began)
    counts.candidate.add(1.0)
    counts.write(host.layout.folder)
    ended = replace(first, until=time.time() - 1)
    ended.write(host.layout.folder)
    assert begin(host, model) == ended
    assert trial.report(host).candidate.answered == 1


def test_a_model_that_was_trained_anew_by_the_same_run_is_loaded_and_tried_anew(host, model, monkeypatch):
    begin(host, model)
    removed: list[str] = []
    remove = host.remove
    monkeypatch.setattr(host, "remove", lambda program: (removed.append(program), remove(program)))
    written = begin(host, model, TERMS.model_copy(update={"model_hash": "another"}))
    assert removed == [host.program("text2sql", model)]
    assert written.model_hash == "another"
    assert trial.report(host).candidate.asked == 0


def test_a_trial_that_was_ended_begins_again_from_nothing(host, model):
    first = begin(host, model)
    trial.end(host)
    assert begin(host, model).began > first.began
    assert trial.report(host).candidate.asked == 0


def test_a_trial_whose_candidate_did_not_start_begins_at_the_next_try(host, model, monkeypatch):
    def fail(stack: Stack, program: str, name: str, model: str) -> float:
        raise SystemExit("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(trial, "start_beside", fail)
        with pytest.raises(SystemExit, match="no memory"):
            begin(host, model)
    assert trial.report(host) is None
    assert begin(host, model).seconds_left


def test_without_a_champion_there_is_nothing_to_compare_with(host, model):
    host.files.remove(OLD)
    with pytest.raises(SystemExit, match="nothing is served as text2sql"):
        begin(host, model)
    assert not (host.layout.folder / FILE).exists()


def test_the_champion_is_not_tried_beside_itself(host, model):
    program = host.program("text2sql", model)
    host.files.put(program, Worker(names=["text2sql"], model=model, port=2))
    with pytest.raises(SystemExit, match="is served as text2sql already"):
        begin(host, model)


def test_a_folder_without_a_model_is_refused(host):
    with pytest.raises(SystemExit, match="holds no model"):
        begin(host, "/nowhere")


def test_a_door_of_an_older_version_is_named_and_nothing_is_left(host, model, monkeypatch):
    """It goes on running while newer code writes its files, and would send the candidate nothing."""
    monkeypatch.setattr(Stack, "answer_error", lambda self, name: "")
    monkeypatch.setattr(trial, "DOOR_TIMEOUT", 0.2)
    with pytest.raises(SystemExit, match=r"of an older version.*supervisorctl -c .* restart door"):
        begin(host, model)
    assert not (host.layout.folder / FILE).exists()
    assert candidate(host) is None


def test_a_report_has_what_the_door_counted(host, model):
    counts = Counts(begin(host, model).began, same=3, different=1, dropped=2)
    counts.champion.add(0.5)
    counts.candidate.add(1.0)
    counts.candidate.failed, counts.candidate.version = 1, "8"
    counts.write(host.layout.folder)
    found = trial.report(host)
    assert (found.id, found.mode, found.same, found.different, found.dropped) == ("run-1", "canary", 3, 1, 2)
    assert (found.candidate.version, found.candidate.answered, found.candidate.failed) == ("8", 1, 1)
    assert found.candidate.median == pytest.approx(1.0, rel=0.025)
    assert 590 < found.seconds_left <= 600


def test_without_a_trial_there_is_no_report(host):
    assert trial.report(host) is None


def test_ending_stops_the_candidate_and_leaves_no_file(host, model):
    begin(host, model)
    trial.end(host)
    assert [*host.workers()] == [OLD]
    assert not [name for name in (FILE, COUNTS_FILE) if (host.layout.folder / name).exists()]


def test_a_canary_is_drained_before_its_candidate_is_stopped(host, model, events, monkeypatch):
    """Streams of its users broke off."""
    begin(host, model)
    program = host.program("text2sql", model)
    drain = trial.drain

    def drained(stack: Stack, program: str) -> float:
        assert not read_trial(stack.layout.folder).seconds_left, "the front door goes on with it"
        return drain(stack, program)

    monkeypatch.setattr(trial, "drain", drained)
    trial.end(host)
    assert events[-2:] == [f"drain {program}", f"remove {program}"]


def test_a_shadow_has_no_users_to_wait_for(host, model, events):
    begin(host, model, TERMS.model_copy(update={"mode": "shadow"}))
    trial.end(host)
    assert [event.split()[0] for event in events] == ["load", "remove"]


@pytest.mark.parametrize("step", ["drain", "remove"])
def test_an_end_that_was_cut_off_is_made_good_by_the_next(host, model, monkeypatch, step):
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    begin(host, model)
    with monkeypatch.context() as patch:
        patch.setattr(*((trial, step) if step == "drain" else (Stack, step)), cut_off)
        with pytest.raises(KeyboardInterrupt):
            trial.end(host, "run-1")
    assert trial.report(host) is None
    assert candidate(host)
    trial.end(host, "run-1")
    assert [*host.workers()] == [OLD]
    assert not (host.layout.folder / FILE).exists()


def test_a_trial_whose_end_was_cut_off_begins_anew(host, model, monkeypatch):
    first = begin(host, model)
    with monkeypatch.context() as patch:
        patch.setattr(Stack, "remove", lambda self, program: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trial.end(host)
    assert begin(host, model).began > first.began
    assert trial.report(host).candidate.asked == 0
    assert len(candidate(host).names) == 1


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_candidate_without_a_trial_that_can_be_read_is_stopped_all_the_same(host, model, content):
    """Somebody removed the file: the worker stayed for ever."""
    begin(host, model)
    evaluated = host.program("candidate-1", model)
    host.files.put(evaluated, Worker(names=["candidate-1"], model=model, port=3))
    file = host.layout.folder / FILE
    file.unlink() if content is None else file.write_text(content)
    trial.end(host, "run-1")
    assert sorted(host.workers()) == sorted([OLD, evaluated])
    assert not file.exists()


def test_only_the_trial_that_is_named_is_ended(host, model):
    """A run that was cleared late ended the trial of the next one."""
    begin(host, model)
    trial.end(host, "run-0")
    assert candidate(host)
    assert trial.report(host).id == "run-1"
    trial.end(host, "run-1")
    assert [*host.workers()] == [OLD]


def test_ending_leaves_a_candidate_that_was_promoted(host, model):
    begin(host, model)
    program = host.program("text2sql", model)
    host.rename(program, ["text2sql"])
    host.files.remove(OLD)
    trial.end(host)
    assert [*host.workers()] == [program]


def test_ending_finds_a_candidate_whose_trial_has_not_begun(host, model):
    """Killed while its worker was loading."""
    written = begin(host, model)
    replace(written, began=0, until=0).write(host.layout.folder)
    trial.end(host)
    assert [*host.workers()] == [OLD]


def test_ending_without_a_trial_changes_nothing(host):
    trial.end(host)
    assert [*host.workers()] == [OLD]


@pytest.mark.parametrize(("ended_ago", "is_left"), [(trial.KEPT - 60, True), (trial.KEPT + 60, False)])
def test_a_trial_that_nobody_ended_is_ended_by_whoever_comes_next(host, model, ended_ago, is_left):
    written = begin(host, model)
    then = time.time() - ended_ago
    replace(written, until=then).write(host.layout.folder)
    os.utime(host.layout.folder / FILE, (then, then))
    request = ServingRequest(action="down", settings=host.settings, name="another")
    handle(request)
    assert (candidate(host) is not None) is is_left


def test_a_report_ends_nothing(host, model):
    written = begin(host, model)
    replace(written, until=1).write(host.layout.folder)
    os.utime(host.layout.folder / FILE, (1, 1))
    response = handle(ServingRequest(action="status", settings=host.settings))
    assert response.trial.seconds_left == 0
    assert candidate(host)


def test_the_script_begins_and_ends_a_trial(host, model):
    fields = {"settings": host.settings, "name": "text2sql", "model": model, "version": 8, "run": "run-1"}
    response = handle(ServingRequest(action="trial", trial=TERMS, **fields))
    assert (response.ready_after, response.trial.id) == (1.5, "run-1")
    assert handle(ServingRequest(action="end_trial", settings=host.settings, trial_id="run-0")).trial
    assert handle(ServingRequest(action="end_trial", settings=host.settings, trial_id="run-1")).trial is None
    assert [*host.workers()] == [OLD]


def switch_to(host: Stack, model: str) -> None:
    handle(ServingRequest(action="switch", settings=host.settings, name="text2sql", model=model, version=6))


def test_a_rollback_ends_the_trial_before_it_loads_its_model(host, model, other, events):
    """Memory for two models must do."""
    begin(host, model)
    events.clear()
    switch_to(host, other)
    tried, served = (host.program("text2sql", folder) for folder in (model, other))
    assert events == [
        f"drain {tried}",
        f"remove {tried}",
        f"load {served}",
        f"drain {OLD}",
        f"remove {OLD}",
    ]
    assert not (host.layout.folder / FILE).exists()


def test_a_promotion_finds_its_candidate_running_and_ends_its_trial(host, model, events):
    begin(host, model)
    events.clear()
    switch_to(host, model)
    program = host.program("text2sql", model)
    assert events == [f"load {program}", f"drain {OLD}", f"remove {OLD}"]
    assert host.workers()[program].names == ["text2sql"]
    assert not (host.layout.folder / FILE).exists()


def test_a_switch_that_is_refused_ends_no_trial(host, model):
    begin(host, model)
    with pytest.raises(SystemExit, match="holds no model"):
        switch_to(host, "/nowhere")
    assert trial.report(host).seconds_left


def test_a_trial_without_terms_is_refused(host, model):
    with pytest.raises(SystemExit, match="trial: missing"):
        handle(ServingRequest(action="trial", settings=host.settings, name="text2sql", model=model))
