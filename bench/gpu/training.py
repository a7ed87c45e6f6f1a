"""Parts `training_STRATEGY`: the production recipe's config, with a tiny Llama in NF4 in place of the 7B."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.gpu.all_reduce import ranks
from bench.gpu.models import llama
from bench.gpu.work import LeftOut, Work
from bench.strategies import launch, training_rows
from sqltune.config.loading import load_recipe
from sqltune.config.xtuner_config import read_config, set_values

RECIPE = "codellama_7b_qlora"
STEPS, CPU_STEPS = 48, 4
"""Iterations; the recipe's weights change at every 16th."""
ON_CPU = {"backend": "gloo", "max_length": 512, "accumulative_counts": 2, "map_num_proc": 1}
"""What a CPU and a minute force."""


def measure(work: Work, strategy: str) -> dict[str, Any]:
    """Seconds an iteration, and the memory of the card that took most."""
    if work.on_cpu and strategy == "ddp":
        raise LeftOut("without DeepSpeed, the config's AmpOptimWrapper in float16 needs a card")
    steps = CPU_STEPS if work.on_cpu else STEPS
    config = production_config(work, training_rows(work.folder), steps)
    trained = launch(strategy, config, steps, work.folder, ranks=ranks(work), python=Path(sys.executable))
    return {
        "ranks": ranks(work),
        "iterations": steps,
        "seconds_per_iteration": round(trained.seconds_per_step, 4),
        "peak_memory_mib": trained.peak_memory,
        "losses": [trained.losses[0], trained.losses[-1]],
        "seconds": round(trained.wall, 1),
    }


def production_config(work: Work, train_path: str, steps: int) -> str:
    """The recipe's config with its values; the model, the rows and the number of iterations are others."""
    recipe = load_recipe(RECIPE)
    training = recipe.training
    values = {
        "batch_size": training.batch_size,
        "accumulative_counts": training.accumulative_counts,
        "max_length": training.max_length,
        "lr": training.learning_rate,
        "lora_r": training.lora_rank,
    }
    replaced = {
        "pretrained_model_name_or_path": str(llama(work.folder, "tiny")),
        "data_path": train_path,
        "max_steps": steps,
        "max_epochs": 0,
        "log_interval": 1,
    }
    return set_values(read_config(recipe.xtuner_config), values | replaced | (ON_CPU if work.on_cpu else {}))
