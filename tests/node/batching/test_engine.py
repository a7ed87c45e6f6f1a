"""The batched engine with a small random model, in the node environment: the cases of `cases.py`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NODE_PYTHON, ROOT

pytestmark = pytest.mark.slow
TOO_LONG, OUT_OF_MEMORY, INTERNAL = 40303, 50002, 50001


def run(script: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE_PYTHON, Path(__file__).with_name(script), *arguments],
        env={"PYTHONPATH": str(ROOT / "include/node"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What each case found; all in one process, which takes seconds to load torch."""
    if not NODE_PYTHON.exists():
        pytest.fail(f"{NODE_PYTHON} is not there: make setup-dev")
    answer = run("cases.py", timeout=300)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.fixture
def result(results, request) -> Any:
    """What the case of the test's name found."""
    found = results[request.param]
    if isinstance(found, dict) and "error" in found:
        pytest.fail(found["error"], pytrace=False)
    return found


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("result", [name], indirect=True)


@of("many")
def test_none_of_a_thousand_answers_is_lost_or_swapped(result):
    assert result["lost"] == []
    assert result["wrong"] == []
    assert result["texts"] > 100, "the answers cannot be distinguished"


@of("many")
def test_a_client_that_left_gets_nothing_more(result):
    assert result["left"] > 50
    assert result["late"] == []


@of("many")
def test_what_is_streamed_is_a_beginning_of_the_answer(result):
    assert result["streamed"] > 300
    assert result["not_a_beginning"] == []


@of("many")
def test_rows_that_had_to_make_room_have_begun_again(result):
    assert result["begun_again"] > 0


@of("another_family")
def test_qwen2_answers_as_it_does_alone(result):
    assert result["wrong"] == []


@of("hooks")
def test_a_model_that_is_spread_over_devices_answers_as_one_that_is_not(result):
    assert result["wrong"] == []


@of("bounded_memory")
def test_memory_is_bounded_and_requests_wait_for_it(result):
    assert result["cells"] <= 400
    assert 1 < result["rows"] < 20
    assert result["wrong"] == []


@of("bounded_memory")
def test_a_prompt_that_alone_does_not_fit_is_refused(result):
    code, message = result["refused"]
    assert code == TOO_LONG
    assert "memory for the keys of 400" in message
    assert "raise serving.cache_gib" in message


@of("idle")
def test_an_idle_engine_gives_its_memory_back_and_answers_on(result):
    assert result["texts"] == [result["alone"]] * 2


@of("measured_again")
def test_memory_that_others_have_given_back_is_used(result):
    """A worker started beside the one that it replaced had no more than that had left, for ever."""
    assert result["codes"] == [TOO_LONG, 0]
    assert result["text"]


@of("a_row_that_outgrows_the_memory")
def test_a_row_that_outgrows_the_memory_is_cut(result):
    assert result["finish_reason"] == "length"
    assert result["usage"]["total_tokens"] in (99, 100)


@of("turns")
def test_who_came_first_is_served_first(result):
    assert result == sorted(result)
    assert len(result) == 9


@of("a_long_prompt")
def test_a_long_prompt_is_computed_in_chunks_while_rows_go_on(result):
    assert result["steps"] == -(-result["tokens"] // 32)
    assert result["gained"] == result["steps"]
    assert result["largest_step"] <= 32 + 1
    assert result["right"]


@of("a_shared_head")
def test_a_head_that_prompts_share_is_computed_once(result):
    first, *others = result["computed"]
    assert first > result["head"]
    assert all(computed <= first - result["head"] for computed in others)
    assert result["right"]


@of("stop_texts")
@pytest.mark.parametrize("stops", ["across", "both", "none"])
def test_an_answer_ends_before_the_first_stop_text(result, stops):
    assert result[stops]["right"]
    assert result[stops]["reason"] == "stop"


@of("stop_texts")
@pytest.mark.parametrize("stops", ["across", "both", "none"])
def test_nothing_after_the_stop_text_is_streamed(result, stops):
    assert result[stops]["sent_more"] == []
    assert result[stops]["chunks"] > 1


@of("like_fastchat")
@pytest.mark.parametrize("params", ["plain", "echo", "one token", "penalty", "end token"])
def test_the_last_chunk_is_fastchats(result, params):
    assert result[params]["ours"] == result[params]["theirs"]


@of("like_fastchat")
@pytest.mark.parametrize("params", ["logprobs", "echo and logprobs"])
def test_logprobs_are_fastchats(result, params):
    ours, theirs = result[params]["logprobs"]
    assert ours == theirs
    assert ours["tokens"]


@of("streamed_logprobs")
def test_a_token_of_a_stream_is_decoded_once_for_its_logprobs(result):
    assert result["chunks"] > 5
    assert result["decoded"] == result["answered"]
    assert result["equal"]


@of("a_step_that_fails")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("memory", OUT_OF_MEMORY),
        ("driver", OUT_OF_MEMORY),
        ("allocation", OUT_OF_MEMORY),
        ("other", INTERNAL),
    ],
)
def test_a_step_that_fails_is_the_answer_to_its_rows(result, error, code):
    assert [chunk["error_code"] for chunk in result[error]] == [code, code]
    assert all("injected" in chunk["text"] for chunk in result[error])


@of("a_step_that_fails")
def test_after_a_step_that_failed_requests_are_answered(result):
    assert result["afterwards"]


@of("not_a_number")
@pytest.mark.parametrize("way", ["shared", "scored", "moved"])
def test_a_row_that_becomes_nan_leaves_nothing_to_others(result, way):
    assert result[way] == [True, True]


@of("nan_while_sampling")
def test_a_row_that_becomes_nan_while_it_samples_fails_alone(result):
    """It failed all rows."""
    assert result["code"] == INTERNAL
    assert "the model's scores are not finite" in result["message"]
    assert result["right"]


@pytest.mark.parametrize(("broken", "error"), [("device", "device-side assert"), ("memory", "injected")])
def test_an_engine_that_cannot_go_on_ends_its_process(broken, error):
    """Its thread ended alone, and every later request waited for ever."""
    ended = run("broken_engine.py", broken, timeout=60)
    assert ended.returncode == 1
    assert "the engine cannot go on" in ended.stderr
    assert error in ended.stderr


@of("deterministic")
def test_a_deterministic_answer_does_not_depend_on_the_others(result):
    assert result == {"rows": 1, "wrong": []}


@of("a_client_that_leaves")
def test_the_place_of_a_client_that_left_is_free_at_once(result):
    assert result == {"rows": [2], "ended": [1], "unanswered": 0}


@of("refusals")
@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ("too long", TOO_LONG, "1200 tokens, and the model's context is 512"),
        ("empty", 40001, "the prompt has no token"),
        ("no prompt", 40001, "KeyError: 'prompt'"),
        ("stop", 40001, "stop is [1]: a text or a list of texts is expected"),
        ("many stops", 40302, "stop has 17 texts, the model's template's included: 16 or fewer are expected"),
        ("a long stop", 40302, "stop has a text of 257 characters: 256 or fewer are expected"),
        ("temperature", 40001, "could not convert string to float: 'warm'"),
        ("max_new_tokens", 40302, "max_new_tokens is 0: 1 or more is expected"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(result, request_, code, message):
    assert result[request_][0] == code
    assert message in result[request_][1]


@pytest.mark.parametrize(
    "result", ["adapters_of_a_llama", "adapters_of_a_qwen2"], indirect=True, ids=["llama", "qwen2"]
)
def test_base_and_adapters_in_one_batch_answer_as_each_does_alone(result):
    assert result["distinguished"] > 12, "the answers cannot be distinguished"
    assert result["unlike_peft"] == []
    assert result["unlike_merged"] == []


@of("adapters_and_shared_heads")
def test_keys_are_shared_between_rows_of_one_adapter_only(result):
    assert result["computed"] == [3 * result["prompt"], 3]


@of("adapters_on_several_devices")
def test_adapters_are_where_their_layers_are(result):
    assert result["wrong"] == []


@of("adapters_that_come_and_go")
def test_no_answer_is_lost_or_swapped_while_adapters_come_and_go(result):
    assert result["dropped"] > 20
    assert result["lost"] == []
    assert result["wrong"] == []


@of("adapters_that_come_and_go")
def test_the_memory_of_an_adapter_is_free_after_its_last_row(result):
    assert result["still_in_memory"] == 0


@of("adapters_of_other_models")
@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (
            "wider",
            "model.layers.0.mlp.down_proj is [64, 96] in the base model, and the adapter's is [128, 96]",
        ),
        ("deeper", "model.layers.3.mlp.down_proj is not in the base model"),
        ("dora", "has use_dora True, and unmerged False is expected: set serving.adapters to merged"),
        ("head", "has the weight base_model.model.lm_head"),
        ("bias", "has bias 'lora_only', and unmerged 'none' is expected"),
        ("missing", "holds no whole adapter (FileNotFoundError"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(result, adapter, message):
    assert message in result[adapter]
