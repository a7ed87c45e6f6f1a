"""Requests to the serving host."""

from __future__ import annotations

import pytest

from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError
from sqltune.node_contracts.serving import SERVING, RequestLimits, ServingRequest, ServingResponse
from sqltune.node_contracts.trial import TrialTerms
from sqltune.serving import hook
from sqltune.serving.hook import ServingHook
from tests.plans import run_plan

TERMS = TrialTerms(id="r1", mode="shadow", share=0.5, seconds=600, answer_within=60)


@pytest.fixture
def calls(monkeypatch):
    """Calls of the script on the serving host: request, environment, seconds."""
    calls: list[tuple[ServingRequest, dict[str, str], float]] = []

    def run(site, host, script, request, time_limit, env):
        assert script is SERVING
        calls.append((request, env, time_limit))
        return ServingResponse(serving={}, running=True, api="http://a/v1")

    monkeypatch.setattr(hook.node, "run", run)
    return calls


def plan_with(**serving: object) -> RunPlan:
    plan = run_plan()
    settings = plan.cluster.serving.model_copy(update=serving)
    return plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"serving": settings})})


def test_settings_of_the_cluster_file_reach_the_host():
    limits = RequestLimits(requests=9)
    settings = hook.server_settings(plan_with(num_gpus=4, max_gpu_memory="15GiB", limits=limits), "float16")
    assert (settings.num_gpus, settings.max_gpu_memory, settings.dtype) == (4, "15GiB", "float16")
    assert settings.limits.requests == 9


def test_the_engine_of_the_cluster_file_reaches_the_host():
    changes = {"engine": "batched", "deterministic": True, "cache_gib": 3.0}
    settings = hook.server_settings(plan_with(**changes), "float16")
    assert settings.model_dump(include=set(changes)) == changes


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"engine": "fastchat", "deterministic": True}, "fastchat float16"),
        ({}, "batched 1 float16"),
        ({"deterministic": True}, "batched 1 float16 deterministic"),
        ({"engine": "vllm"}, "vllm 0.32.0 float16"),
    ],
)
def test_what_answers_depend_on_is_named(changes, label):
    assert ServingHook(plan_with(**changes), "float16").engine == label


def test_a_switch_names_the_public_name(calls):
    plan = plan_with(model_name="text2sql")
    ServingHook(plan, "float16").switch("/code/merged", 7, "r1")
    request, _, _ = calls[0]
    assert (request.action, request.name, request.model) == ("switch", "text2sql", "/code/merged")
    assert (request.version, request.run) == (7, "r1")


def test_a_switch_may_take_as_long_as_loading_and_draining(calls):
    """The candidate of a trial is drained first, and then the model that was served."""
    ServingHook(plan_with(ready_timeout=600, drain_timeout=500), "float16").switch("/code/merged", 7, "r1")
    assert calls[0][2] > 600 + 2 * 500


def test_a_trial_names_the_public_name_its_candidate_and_its_terms(calls):
    plan = plan_with(model_name="text2sql", ready_timeout=600, drain_timeout=500)
    ServingHook(plan, "float16").begin_trial("/code/merged", 7, "r1", TERMS)
    request, _, seconds = calls[0]
    assert (request.action, request.name, request.model) == ("trial", "text2sql", "/code/merged")
    assert (request.version, request.run, request.trial) == (7, "r1", TERMS)
    # That of another run is ended first.
    assert seconds > 600 + 500


@pytest.mark.parametrize("ids", [(), ("r1",)])
def test_the_end_of_a_trial_names_it_and_may_take_as_long_as_draining(calls, ids):
    ServingHook(plan_with(drain_timeout=500), "float16").end_trial(*ids)
    request, _, seconds = calls[0]
    assert (request.action, request.trial_id) == ("end_trial", "".join(ids))
    assert seconds > 500


def test_a_trial_is_ended_while_the_variable_of_the_key_is_empty(calls, monkeypatch):
    monkeypatch.setenv("MY_KEY", "")
    ServingHook(plan_with(api_key_env="MY_KEY"), "float16").end_trial()
    assert [request.action for request, _, _ in calls] == ["end_trial"]


def test_the_api_key_is_an_environment_variable_and_no_argument(calls, monkeypatch):
    """Every user of the host can read the arguments of a process."""
    monkeypatch.setenv("MY_KEY", "secret")
    ServingHook(plan_with(api_key_env="MY_KEY"), "float16").status()
    request, env, _ = calls[0]
    assert env == {"SQLTUNE_API_KEY": "default:secret"}
    assert "secret" not in request.model_dump_json()


def test_several_keys_reach_the_host_on_one_line(calls, monkeypatch):
    monkeypatch.setenv("MY_KEY", "web:a\nbatch:b\n")
    hook = ServingHook(plan_with(api_key_env="MY_KEY"), "float16")
    hook.status()
    assert calls[0][1] == {"SQLTUNE_API_KEY": "web:a,batch:b"}
    assert hook.endpoint("text2sql", "worker-text2sql-1").api_key == "a"


@pytest.mark.parametrize("value", ["", " \n"])
def test_nothing_is_served_while_the_variable_of_the_key_is_empty(calls, monkeypatch, value):
    """It was served to everybody."""
    monkeypatch.setenv("MY_KEY", value)
    hook = ServingHook(plan_with(api_key_env="MY_KEY"), "float16")
    problem = r"serving\.api_key_env: MY_KEY is not set: set it in Airflow's"
    with pytest.raises(ConfigError, match=problem):
        hook.up("candidate-1", "/code/merged")
    with pytest.raises(ConfigError, match=problem):
        hook.switch("/code/merged", 7, "r1")
    with pytest.raises(ConfigError, match=problem):
        hook.begin_trial("/code/merged", 7, "r1", TERMS)
    assert calls == []


def test_a_model_is_stopped_while_the_variable_of_the_key_is_empty(calls, monkeypatch):
    """The candidate stayed on the GPU."""
    monkeypatch.setenv("MY_KEY", "")
    ServingHook(plan_with(api_key_env="MY_KEY"), "float16").down("candidate-1")
    request, env, _ = calls[0]
    assert (request.action, request.settings.requires_key, env) == ("down", True, {})


def test_without_a_key_the_server_has_none(calls):
    ServingHook(plan_with(api_key_env=None), "float16").status()
    request, env, _ = calls[0]
    assert (request.settings.requires_key, env) == (False, {})


@pytest.mark.parametrize(
    ("engine", "label"),
    [("batched", "batched 1 float16 unmerged"), ("vllm", "vllm 0.32.0 float16 unmerged")],
)
def test_unmerged_answers_have_a_name_of_their_own(engine, label):
    plan = plan_with(engine=engine, adapters="unmerged")
    assert ServingHook(plan, "float16", "~/models/base").engine == label


def test_the_base_model_reaches_the_host_with_its_hash(calls):
    plan = plan_with(adapters="unmerged")
    ServingHook(plan, "float16", "~/models/base", "hash").switch("/code/adapter", 7, "r1")
    settings = calls[0][0].settings
    assert (settings.base_model, settings.base_model_hash) == ("~/models/base", "hash")


def test_whole_models_need_no_base_model():
    settings = hook.server_settings(plan_with(), "float16", "~/models/base", "hash")
    assert (settings.base_model, settings.base_model_hash) == ("", "")
