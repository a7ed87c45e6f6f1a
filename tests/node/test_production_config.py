"""The production config file itself: built and stepped on CPU, with a tiny Llama in place of the 7B."""

from __future__ import annotations

import json
import os
import re
import subprocess

from sqltune.config.loading import load_recipe
from sqltune.config.recipe import Recipe
from sqltune.config.xtuner_config import set_values
from sqltune.dataset.split import clean, split, write
from sqltune.node_contracts.adapter import CONVERT_ADAPTER, ConvertRequest
from tests.conftest import BASE, ROOT, free_port


def test_qlora_zero3_offload_steps_on_cpu(node_python, tmp_path):
    recipe = load_recipe("codellama_7b_qlora")
    assert isinstance(recipe, Recipe)
    from lab import dataset

    rows = [clean(r) for r in dataset.rows(1)[:400]]
    parts = write(split(rows, recipe.held_out_percent), tmp_path)
    source = (ROOT / "include/configs/xtuner" / recipe.xtuner_config).read_text()
    # What a CPU and a minute force: the model, the length, the steps, the backend. All else is the recipe's.
    config = set_values(
        source,
        {
            "pretrained_model_name_or_path": str(BASE / "models" / "tiny"),
            "data_path": parts["train_path"],
            "backend": "gloo",
            "max_length": 512,
            "accumulative_counts": 2,
            "max_steps": 6,
            "max_epochs": 0,
            "log_interval": 1,
            "map_num_proc": 1,
            "batch_size": recipe.training.batch_size,
            "lr": recipe.training.learning_rate,
            "lora_r": recipe.training.lora_rank,
        },
    )
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "c.py").write_text(config)
    env = os.environ | {
        "PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins",
        "PATH": f"{node_python.parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": str(tmp_path),
        "TORCH_EXTENSIONS_DIR": str(node_python.parents[1] / "torch_extensions"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [
        "torchrun",
        "--nnodes=1",
        "--nproc_per_node=2",
        f"--master_port={free_port()}",
        "-m",
        "xtuner.tools.train",
        "config/c.py",
        "--work-dir",
        "work",
        "--deepspeed",
        f"deepspeed_{recipe.training.deepspeed}",
        "--launcher",
        "pytorch",
    ]
    answer = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "Iter(train) [6/6]" in answer.stdout + answer.stderr
    # A warm-up of one step would stay at its start factor for ever, and train nothing.
    rates = [float(r) for r in re.findall(r"lr: ([\d.e+-]+)", answer.stdout + answer.stderr)]
    assert max(rates) > 0.5 * recipe.training.learning_rate, rates
    shards = sorted(p.name for p in (tmp_path / "work" / "iter_6.pth").iterdir())
    assert sum("optim_states" in s for s in shards) == 2, shards
    converted = subprocess.run(
        [
            "python",
            str(ROOT / "include/node/convert_adapter.py"),
            ConvertRequest(
                config="config/c.py", checkpoint="work/iter_6.pth", adapter="adapter", world_size=2
            ).model_dump_json(),
        ],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert converted.returncode == 0, converted.stderr[-3000:] + converted.stdout[-1000:]
    assert CONVERT_ADAPTER.read(converted.stdout).layers == 14
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 64


def test_a_missing_shard_is_named_and_nothing_converted(node_python, tmp_path):
    (tmp_path / "iter_6.pth").mkdir()
    (tmp_path / "iter_6.pth" / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").touch()
    answer = subprocess.run(
        [
            node_python,
            ROOT / "include/node/convert_adapter.py",
            ConvertRequest(
                config="c.py",
                checkpoint=str(tmp_path / "iter_6.pth"),
                adapter=str(tmp_path / "adapter"),
                world_size=2,
            ).model_dump_json(),
        ],
        env={"PYTHONPATH": f"{ROOT}/plugins"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 1
    assert "has 1 of 2 shards" in answer.stderr
    assert not (tmp_path / "adapter").exists()
