"""Parts `serving_ENGINE`: answers a second of an engine, with a random Llama in bfloat16."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import torch

from bench import serving
from bench.gpu.models import llama
from bench.gpu.work import Work
from bench.strategies import free_port
from sqltune.node_contracts.serving import Engine

CPU_AT_ONCE, CPU_QUESTIONS = (1, 4), 4


def measure(work: Work, engine: str) -> dict[str, Any]:
    """Rates by the number of questions at once, memory, and the answers, to compare those of two engines."""
    size, count, at_once = (
        ("tiny", CPU_QUESTIONS, CPU_AT_ONCE) if work.on_cpu else ("small", serving.QUESTIONS, serving.AT_ONCE)
    )
    prompts = serving.questions(count)
    model = llama(work.folder, size)
    used_before = card_memory(work)
    started = serving.running(
        cast(Engine, engine),
        model,
        "bfloat16",
        work.folder,
        free_port(),
        device="cpu" if work.on_cpu else "cuda",
        python=Path(sys.executable),
    )
    with started as server:
        asyncio.run(serving.answers(server, prompts[: serving.WARM_UP], 1))
        for number in at_once:
            serving.measure(server, prompts, number)
        used = card_memory(work) - used_before
    return {
        "model": size,
        "questions": count,
        "start_seconds": round(server.start, 1),
        "host_memory_gib": round(server.peak, 2),
        "card_memory_gib": None if work.on_cpu else round(used, 2),
        "answers_per_second": {number: round(rate, 2) for number, (rate, _) in server.rates.items()},
        "tokens_per_second": {number: round(rate, 1) for number, (_, rate) in server.rates.items()},
        "answers": server.texts,
    }


def card_memory(work: Work) -> float:
    """Memory of the first card that is in use by whichever process, in GiB."""
    if work.on_cpu:
        return 0.0
    free, total = torch.cuda.mem_get_info(0)
    return float(total - free) / 1024**3
