"""From a checkpoint to a merged model, by the script, with xtuner's own merge and a tiny base model.

Converting a checkpoint that was trained: test_production_config.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import export_model
import hashing
from sqltune.node_contracts.export import EXPORT_MODEL, ExportRequest
from tests.conftest import BASE, ROOT

TINY = BASE / "models" / "tiny"
SHARD = "bf16_zero_pp_rank_{}_mp_rank_00_optim_states.pt"
MAKE_ADAPTER = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(1)
llm = AutoModelForCausalLM.from_pretrained(sys.argv[1])
adapted = get_peft_model(llm, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
for name, weight in adapted.named_parameters():
    if "lora_B" in name:
        torch.nn.init.constant_(weight, float(sys.argv[3]))
adapted.save_pretrained(sys.argv[2])
"""


class Run:
    """A run's folder on the serving host, with the shards of a checkpoint of one step."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self.checkpoint = folder / "iter_1.pth"
        self.checkpoint.mkdir()
        (self.checkpoint / SHARD.format(0)).write_bytes(b"state")

    def make_adapter(self, lora_b: float) -> None:
        """Make the adapter that an earlier try converted the checkpoint to, with one value in each lora_B."""
        self.python_run("-c", MAKE_ADAPTER, TINY, self.folder / "adapter", str(lora_b)).check_returncode()
        mark = export_model.mark_of(self.folder / "adapter", hashing.folder_hash(self.checkpoint))
        (self.folder / "adapter/checkpoint_hash").write_text(mark)

    def export(self, world_size: int = 1) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        request = ExportRequest(
            config="c.py",
            checkpoint=str(self.checkpoint),
            world_size=world_size,
            base_model=str(TINY),
            adapter=str(self.folder / "adapter"),
            merged=str(self.folder / "merged"),
        )
        return self.python_run(ROOT / "include/node/export_model.py", request.model_dump_json())

    def python_run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *arguments],
            env={
                "PYTHONPATH": f"{ROOT}/plugins",
                "PATH": "/usr/bin:/bin",
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": "1",
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def run(node_python, tmp_path) -> Run:
    return Run(node_python, tmp_path)


def test_a_missing_shard_fails_the_export(run):
    result = run.export(world_size=2)
    assert result.returncode == 1
    assert "has 1 of 2 shards" in result.stderr


def test_a_missing_shard_leaves_no_adapter(run):
    run.export(world_size=2)
    assert not (run.folder / "adapter").exists()


def test_a_failure_of_xtuners_converter_is_one_of_the_script_with_its_message(run):
    result = run.export()
    assert result.returncode == 1
    assert "FileNotFoundError: Cannot find c.py" in result.stderr


def test_a_checkpoint_that_was_converted_already_is_merged_only(run):
    run.make_adapter(lora_b=0.01)
    result = run.export()
    assert "adapter is there already, of this checkpoint: it is merged again" in result.stdout
    exported = EXPORT_MODEL.read(result.stdout)
    assert exported.layers == 2
    assert exported.largest_difference < 0.01
    assert json.loads((run.folder / "merged/config.json").read_text())["torch_dtype"] == "float16"


def test_an_adapter_of_another_checkpoint_is_converted_anew(run):
    run.make_adapter(lora_b=0.01)
    (run.checkpoint / SHARD.format(0)).write_bytes(b"another state")
    result = run.export()
    assert "is there already" not in result.stdout
    assert "Cannot find c.py" in result.stderr


def test_an_adapter_of_which_no_layer_was_trained_is_refused(run):
    run.make_adapter(lora_b=0)
    assert "none of the 2 layers of the adapter was trained: every lora_B is zero" in run.export().stderr


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_lost_what_a_file_holds_is_converted_anew(run, file):
    """The host lost power after the adapter had got its name."""
    run.make_adapter(lora_b=0.01)
    os.truncate(run.folder / "adapter" / file, 100)
    result = run.export()
    assert "is there already" not in result.stdout
    assert "Cannot find c.py" in result.stderr


def test_an_adapter_without_weights_is_converted_anew(run):
    run.make_adapter(lora_b=0.01)
    (run.folder / "adapter/adapter_model.safetensors").unlink()
    assert "Cannot find c.py" in run.export().stderr


def test_a_converter_that_writes_no_weights_is_refused(monkeypatch, tmp_path):
    converters = SimpleNamespace(pth_to_hf=SimpleNamespace(__name__="pth_to_hf", main=lambda: None))
    monkeypatch.setitem(sys.modules, "xtuner.tools.model_converters", converters)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit, match=r"reported no error and wrote no adapter_model\.safetensors"):
        export_model.convert(tmp_path / "c.py", tmp_path / "iter_1.pth", "hash", tmp_path / "adapter")


def test_a_merged_model_that_is_not_base_and_adapter_gets_no_name(run):
    run.make_adapter(lora_b=float("nan"))
    result = run.export()
    assert result.returncode == 1
    assert "the merged model and base + adapter differ by nan nats, 0.05 are allowed" in result.stderr
    assert not (run.folder / "merged").exists()
