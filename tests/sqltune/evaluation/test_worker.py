"""What crosses the pipe between the scorer and a worker."""

from __future__ import annotations

from dataclasses import asdict

from sqltune.evaluation.judge import Match, Pair
from sqltune.evaluation.worker import WorkerRequest, WorkerResponse

PAIRS = (Pair("SELECT '一'", 'SELECT "\n"', "CREATE TABLE t (a)"), Pair("SELECT 1", "", database="/a.sqlite"))


def test_request_survives_json():
    request = WorkerRequest("judge", PAIRS)
    assert WorkerRequest.from_json(request.to_json()) == request


def test_response_survives_json():
    response = WorkerResponse(7, asdict(Match("invalid", 'near "x": syntax error\n', failure_class="syntax")))
    assert WorkerResponse.from_json(response.to_json()) == response


def test_response_is_one_line():
    assert "\n" not in WorkerResponse(0, asdict(Match("invalid", "one\ntwo"))).to_json()
