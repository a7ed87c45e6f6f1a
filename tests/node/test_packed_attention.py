"""Examples that share a packed row do not see one another: the real model, in the node environment."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.conftest import BASE, ROOT

SCRIPT = """
import json, sys, torch
from types import SimpleNamespace
from transformers import AutoModelForCausalLM
from packed_attention import PackedAttention, block_diagonal

torch.manual_seed(1)
llm = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32).eval()
lengths = [5, 1, 9]
examples = [torch.randint(3, 1000, (1, n)) for n in lengths]
bounds = torch.tensor([0, 5, 6, 15], dtype=torch.int32)
positions = torch.cat([torch.arange(n) for n in lengths])[None]
data = {"input_ids": torch.cat(examples, 1), "position_ids": positions, "attention_mask": None,
        "cumulative_len": [bounds], "max_seqlen": 9}
runner = SimpleNamespace(model=SimpleNamespace(module=SimpleNamespace(llm=llm)))
whole = dict(data)
PackedAttention().before_train_iter(runner, 0, {"data": data})
with torch.no_grad():
    alone = torch.cat([llm(e).logits for e in examples], 1)
    apart = llm(**data).logits
    mixed = llm(input_ids=whole["input_ids"], position_ids=positions).logits
llm.config._attn_implementation = "flash_attention_2"
flash = dict(whole)
PackedAttention().before_train_iter(runner, 0, {"data": flash})
print(json.dumps({
    "apart": float((apart - alone).abs().max()),
    "mixed": float((mixed - alone).abs().max()),
    "keys": sorted(data),
    "flash_mask": flash["attention_mask"],
    "visible": (block_diagonal(bounds, torch.float16)[0, 0] == 0).sum(1).tolist(),
}))
"""


@pytest.fixture(scope="module")
def result() -> dict:
    from tests.conftest import NODE_PYTHON

    if not NODE_PYTHON.exists():
        pytest.fail(f"{NODE_PYTHON} is not there: make setup-dev")
    answer = subprocess.run(
        [NODE_PYTHON, "-c", SCRIPT, str(BASE / "models" / "tiny")],
        env={"PYTHONPATH": str(ROOT / "include/node"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout.splitlines()[-1])


pytestmark = pytest.mark.slow


def test_a_packed_example_gets_the_logits_that_it_gets_alone(result):
    assert result["apart"] < 1e-4


def test_without_the_mask_it_would_not(result):
    assert result["mixed"] > 1e-2


def test_each_token_sees_those_of_its_own_example_before_it(result):
    assert result["visible"] == [1, 2, 3, 4, 5, 1, *range(1, 10)]


def test_the_model_gets_nothing_that_it_does_not_know(result):
    assert result["keys"] == ["attention_mask", "input_ids", "position_ids"]


def test_flash_attention_gets_no_mask_but_positions(result):
    assert result["flash_mask"] is None
