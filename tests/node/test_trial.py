"""A trial with the real processes: two models behind the real front door, and the promotion of one."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from sqltune.node_contracts.trial import TrialReport, TrialTerms
from tests.node.served import BODY, KEY, NAME, Served
from tests.waiting import wait_until

TERMS = TrialTerms(id="run-1", mode="canary", share=0.5, seconds=600, answer_within=60)


@pytest.fixture(scope="module", params=["merged", "unmerged"])
def served(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Served]:
    """Model servers that serve model a as version 1; unmerged, both models are adapters in one process."""
    servers = Served(tmp_path_factory.mktemp("tried"), bind="127.0.0.4", adapters=request.param)
    servers.make_models()
    servers.run("switch", model=servers.models["a"], version=1)
    yield servers
    servers.run("down")


def report(served: Served, asked: int) -> TrialReport:
    """What the host says of the trial once its models have got as many requests together."""

    def found() -> TrialReport | None:
        now = served.run("status").trial
        return now if now and now.champion.asked + now.candidate.asked == asked else None

    return wait_until(found, problem=lambda: served.run("status").trial)


def test_a_canary_answers_its_share_and_its_worker_is_promoted_without_a_second_start(served):
    champion = served.until_it_answers()
    served.run("trial", model=served.models["b"], version=2, trial=TERMS)
    texts: dict[str, set[str]] = {"1": set(), "2": set()}
    versions: Counter[str] = Counter()
    for _ in range(20):
        answer = served.answer()
        version = answer.headers["X-Model-Version"]
        versions[version] += 1
        texts[version].add(answer.json()["choices"][0]["text"])
    assert texts["1"] == {champion}
    assert champion not in texts["2"]
    found = report(served, 20)
    assert (found.champion.answered, found.candidate.answered) == (versions["1"], versions["2"])
    assert (found.champion.version, found.candidate.version) == ("1", "2")
    program = next(name for name in served.run("status").workers.values() if name != _worker(served))
    pid = served.pid(program)
    assert served.run("switch", model=served.models["b"], version=2).trial is None
    assert served.pid(program) == pid
    assert {served.answer().headers["X-Model-Version"] for _ in range(5)} == {"2"}
    assert len(served.names()) == 1


def test_a_shadow_is_ended_with_its_candidate_and_nobody_saw_it(served):
    served.run("switch", model=served.models["a"], version=1)
    terms = TERMS.model_copy(update={"id": "run-2", "mode": "shadow", "share": 1.0})
    served.run("trial", model=served.models["b"], version=2, trial=terms)
    assert {served.answer().headers["X-Model-Version"] for _ in range(4)} == {"1"}
    found = report(served, 8)
    assert (found.candidate.version, found.candidate.failed, found.dropped) == ("2", 0, 0)
    assert (found.same, found.different) == (0, 4)
    # A door that is killed and restarted goes on with the trial and with its counts.
    door = served.pid("door")
    os.kill(door, signal.SIGKILL)
    wait_until(lambda: served.pid("door") not in (0, door))
    served.until_it_answers()
    assert report(served, 10).different == 5
    response = served.run("end_trial")
    assert (response.trial, response.serving) == (None, {NAME: served.models["a"]})
    assert served.names() == [(NAME,)]


def test_a_stream_that_the_candidate_has_begun_is_whole_though_the_trial_ends(served):
    terms = TERMS.model_copy(update={"id": "run-3", "share": 1.0})
    served.run("switch", model=served.models["a"], version=1)
    served.run("trial", model=served.models["b"], version=2, trial=terms)
    body, headers = BODY | {"stream": True, "max_tokens": 200}, {"Authorization": f"Bearer {KEY}"}
    program = next(name for name in served.run("status").workers.values() if name != _worker(served))
    with httpx.stream(
        "POST", f"{served.url}/completions", json=body, headers=headers, timeout=60, trust_env=False
    ) as answer:
        lines = answer.iter_lines()
        next(lines)
        pid = served.pid(program)
        os.kill(pid, signal.SIGSTOP)
        try:
            ending = served.start("end_trial")
            wait_until(lambda: () in served.names())
        finally:
            os.kill(pid, signal.SIGCONT)
        *_, last = [line for line in lines if line]
    assert (answer.headers["X-Model-Version"], last) == ("2", "data: [DONE]")
    out, err = ending.communicate(timeout=60)
    assert ending.returncode == 0, out + err
    assert served.names() == [(NAME,)]


def _worker(served: Served) -> str:
    """Worker of the public name."""
    return served.run("status").workers[NAME]
