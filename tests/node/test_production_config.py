"""The production config files themselves: built and stepped on CPU, with a tiny Llama in place of the 7B."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from lab import dataset
from sqltune.config.loading import load_recipe
from sqltune.config.recipe import Recipe
from sqltune.config.xtuner_config import read_config, set_values
from sqltune.dataset.split import clean, split, write
from sqltune.node_contracts.export import EXPORT_MODEL, ExportedModel, ExportRequest
from tests.conftest import BASE, NODE_PYTHON, ROOT, free_port

EXPORT = ROOT / "include/node/export_model.py"
TINY = BASE / "models" / "tiny"


@pytest.fixture(scope="module", params=["codellama_7b_qlora", "codellama_7b_qlora_fast"])
def recipe(request) -> Recipe:
    return load_recipe(request.param)


def config_for_cpu(recipe: Recipe, train_path: str, **others: object) -> str:
    """The recipe's config with what a CPU and a minute force, and other values; all else is the recipe's."""
    forced = {
        "pretrained_model_name_or_path": str(TINY),
        "data_path": train_path,
        "backend": "gloo",
        "max_length": 512,
        "accumulative_counts": 2,
        "max_steps": 6,
        "max_epochs": 0,
        "log_interval": 1,
        "map_num_proc": 1,
    }
    recipes = {
        "batch_size": recipe.training.batch_size,
        "lr": recipe.training.learning_rate,
        "lora_r": recipe.training.lora_rank,
    }
    return set_values(read_config(recipe.xtuner_config), forced | recipes | others)


class Training:
    """A training that has ended, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = os.environ | {
            "PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins",
            "PATH": f"{NODE_PYTHON.parent}:{os.environ['PATH']}",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "HOME": str(folder),
            "TORCH_EXTENSIONS_DIR": str(NODE_PYTHON.parents[1] / "torch_extensions"),
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.log = ""

    def train(self, recipe: Recipe, work_dir: str, **others: object) -> str:
        """Train with two ranks, and other values for some of the recipe's settings; return the log."""
        config = config_for_cpu(recipe, str(self.folder / "train.jsonl"), **others)
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config" / "c.py").write_text(config)
        torchrun = ["torchrun", "--nnodes=1", "--nproc_per_node=2", f"--master_port={free_port()}"]
        script = ["-m", "xtuner.tools.train", "config/c.py", "--work-dir", work_dir, "--launcher", "pytorch"]
        answer = self.run(*torchrun, *script, "--deepspeed", f"deepspeed_{recipe.training.deepspeed}")
        return answer.stdout + answer.stderr

    def export(self, checkpoint: str, adapter: str) -> ExportedModel:
        """Export a checkpoint of two ranks."""
        request = ExportRequest(
            config="config/c.py",
            checkpoint=checkpoint,
            world_size=2,
            base_model=str(TINY),
            adapter=adapter,
            merged=f"{adapter}-merged",
        )
        return EXPORT_MODEL.read(self.run("python", str(EXPORT), request.model_dump_json()).stdout)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300
        )
        assert answer.returncode == 0, answer.stderr[-3000:] + answer.stdout[-1000:]
        return answer


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory) -> Training:
    """Six iterations of the production config, with two ranks."""
    if not NODE_PYTHON.exists():
        pytest.fail(f"{NODE_PYTHON} does not exist: make setup-dev")
    training = Training(tmp_path_factory.mktemp("production"))
    rows = [clean(r) for r in dataset.rows(1)[:400]]
    write(split(rows, recipe.held_out_percent), training.folder)
    training.log = training.train(recipe, "work")
    return training


@pytest.fixture(scope="module")
def exported(trained) -> ExportedModel:
    """What became of the last checkpoint."""
    return trained.export("work/iter_6.pth", "adapter")


def test_training_reaches_the_last_iteration(trained):
    assert "Iter(train) [6/6]" in trained.log


def test_learning_rate_leaves_its_start_factor(trained, recipe):
    """A warm-up of one step would keep it for ever, and train nothing."""
    rates = [float(r) for r in re.findall(r"lr: ([\d.e+-]+)", trained.log)]
    assert max(rates) > 0.5 * recipe.training.learning_rate


def test_every_rank_writes_a_shard(trained):
    shards = [p.name for p in (trained.folder / "work" / "iter_6.pth").iterdir() if "optim_states" in p.name]
    assert len(shards) == 2, shards


def test_every_layer_of_the_adapter_is_trained(exported):
    assert exported.layers == 14


def test_adapter_has_the_recipes_rank(exported, trained, recipe):
    adapter = json.loads((trained.folder / "adapter" / "adapter_config.json").read_text())
    assert adapter["r"] == recipe.training.lora_rank


def test_the_merged_model_is_base_and_adapter(exported):
    assert exported.largest_difference < 0.01


@pytest.mark.chaos
def test_a_training_goes_on_from_the_adapter(exported, trained, recipe):
    """At no learning rate to speak of, the weights that come out are those that went in."""
    start = {
        "start_adapter": "adapter",
        "start_digest": exported.adapter_hash,
        "lr": 1e-12,
        "max_steps": 3,
        "seed": 7,
    }
    log = trained.train(recipe, "further", **start)
    assert "going on from the adapter in adapter: 28 weights" in log
    trained.export("further/iter_3.pth", "same")
    compare = (
        "import torch; from safetensors.torch import load_file as load\n"
        "old, new = (load(f'{name}/adapter_model.safetensors') for name in ('adapter', 'same'))\n"
        "assert len(old) == len(new) == 28\n"
        "assert any(w.any() for n, w in old.items() if 'lora_B' in n)\n"
        "assert all(torch.allclose(old[n], new[n], rtol=0.01, atol=1e-6) for n in old)\n"
    )
    trained.run("python", "-c", compare)


@pytest.mark.chaos
def test_an_adapter_that_was_changed_or_does_not_fit_is_refused(exported, trained):
    script = f"""
from pathlib import Path
from adapter_finetune import load_adapter
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
llm = AutoModelForCausalLM.from_pretrained({str(TINY)!r})
for rank, digest in ((8, {exported.adapter_hash!r}), (64, "another")):
    adapted = get_peft_model(llm, LoraConfig(r=rank, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    try:
        load_adapter(adapted, Path("adapter"), digest)
    except SystemExit as e:
        print(e)
"""
    *_, shape, changed = trained.run("python", "-c", script).stdout.splitlines()
    assert "the adapter in adapter does not fit: 28 weights, 4 expected; the first that differs is" in shape
    assert "adapter has the hash " in changed
