"""What the batched engine does with adapters of a small model: answers, shared keys, refusals."""

from __future__ import annotations

import copy
import gc
import random
import tempfile
import weakref
from pathlib import Path
from typing import Any

from accelerate import dispatch_model
from engine_client import TOKENIZER, Client, alone, case
from peft import PeftModel
from small_adapter import save_adapter
from small_model import HEAD, small_model, small_prompts

from batching.adapters import Adapter, Adapters
from lora import AdapterError

FOLDER = Path(tempfile.mkdtemp(prefix="sqltune-adapters-"))
BASE = Path("/base")


def adapter_folder(name: str, family: str = "llama", seed: int = 1, **options: Any) -> Path:
    folder = FOLDER / name
    if not folder.exists():
        save_adapter(small_model(family), folder, seed, **options)
    return folder


def two_folders(family: str) -> list[Path]:
    """One on all linear layers, and one of another rank on some, with another factor."""
    return [
        adapter_folder(f"{family}-a", family),
        adapter_folder(
            f"{family}-b",
            family,
            seed=2,
            r=9,
            target_modules=["q_proj", "v_proj", "down_proj"],
            use_rslora=True,
        ),
    ]


def client_with(family: str = "llama", **options: Any) -> tuple[Client, Adapters]:
    model = small_model(family)
    adapters = Adapters(model, BASE)
    return Client(model, adapters=adapters, **options), adapters


def compared(family: str) -> dict[str, Any]:
    """Base and both adapters in one batch, against PEFT's model of each and its merged one, each alone."""
    client, adapters = client_with(family)
    folders = two_folders(family)
    loaded: list[Adapter | None] = [None, *map(adapters.load, folders)]
    prompts = small_prompts(24)
    for i, prompt in enumerate(prompts):
        client.send(prompt, streams=bool(i % 2), adapter=loaded[i % 3])
    client.finish()
    peft = [small_model(family), *(PeftModel.from_pretrained(small_model(family), f) for f in folders)]
    merged = [peft[0], *(copy.deepcopy(model).merge_and_unload() for model in peft[1:])]
    answers = [[alone(model, p) for model in peft] for p in prompts]
    return {
        "unlike_peft": [i for i in range(24) if client.text(i) != answers[i][i % 3]],
        "unlike_merged": [i for i, p in enumerate(prompts) if client.text(i) != alone(merged[i % 3], p)],
        "distinguished": sum(len(set(texts)) == 3 for texts in answers),
    }


@case
def adapters_of_a_llama() -> dict[str, Any]:
    return compared("llama")


@case
def adapters_of_a_qwen2() -> dict[str, Any]:
    return compared("qwen2")


@case
def adapters_and_shared_heads() -> dict[str, Any]:
    """Prompts with one head: its keys are of use to rows of the same adapter, and wrong for the others."""
    client, adapters = client_with()
    loaded = [None, *map(adapters.load, two_folders("llama"))]
    prompt, computed = HEAD + "name", []
    for _ in range(2):
        before = sum(client.seen)
        for adapter in loaded:
            client.send(prompt, max_new_tokens=1, adapter=adapter)
        client.finish()
        computed.append(sum(client.seen) - before)
    return {"prompt": len(TOKENIZER(prompt).input_ids), "computed": computed}


@case
def adapters_on_several_devices() -> dict[str, Any]:
    """A model that accelerate has spread out, as one on several GPUs; its parts are all on the CPU here."""
    parts = ["model.embed_tokens", *(f"model.layers.{i}" for i in range(3)), "model.norm", "model.rotary_emb"]
    places = dict.fromkeys([*parts, "lm_head"], "cpu")
    model = dispatch_model(small_model(), places, main_device="cpu", force_hooks=True)
    adapters = Adapters(model, BASE)
    client = Client(model, adapters=adapters)
    folder, prompts = two_folders("llama")[0], small_prompts(8)
    adapter = adapters.load(folder)
    for i, prompt in enumerate(prompts):
        client.send(prompt, adapter=adapter if i % 2 else None)
    client.finish()
    peft = [small_model(), PeftModel.from_pretrained(small_model(), folder)]
    return {"wrong": [i for i, p in enumerate(prompts) if client.text(i) != alone(peft[i % 2], p)]}


@case
def adapters_that_come_and_go() -> dict[str, Any]:
    """Loaded and dropped again and again while rows of them run, in memory for a few rows."""
    client, adapters = client_with(tokens=700, chunk=40)
    folders = two_folders("llama")
    models = [PeftModel.from_pretrained(small_model(), folder) for folder in folders]
    prompts = small_prompts(30)
    expected = [[alone(model, prompt) for prompt in prompts] for model in models]
    numbers = random.Random(2)
    current = [adapters.load(folder) for folder in folders]
    dropped: list[weakref.ref[Adapter]] = []
    sent = []
    while len(sent) < 300 or client.engine.unanswered:
        if numbers.random() < 0.1:
            which = numbers.randrange(2)
            dropped.append(weakref.ref(current[which]))
            current[which] = adapters.load(folders[which])
        for _ in range(min(numbers.randint(0, 3), 300 - len(sent))):
            which, prompt = numbers.randrange(2), numbers.randrange(len(prompts))
            client.send(prompts[prompt], streams=bool(len(sent) % 2), adapter=current[which])
            sent.append((which, prompt))
        client.engine.step()
    client.send(HEAD)
    client.finish()
    gc.collect()
    return {
        "lost": [i for i in range(300) if client.ended.count(i) != 1],
        "wrong": [i for i, (which, p) in enumerate(sent) if client.text(i) != expected[which][p]],
        "dropped": len(dropped),
        "still_in_memory": sum(ref() is not None for ref in dropped),
    }


@case
def adapters_of_other_models() -> dict[str, Any]:
    _, adapters = client_with()
    wider = FOLDER / "wider"
    save_adapter(small_model(hidden_size=128), wider, 3)
    deeper = FOLDER / "deeper"
    save_adapter(small_model(num_hidden_layers=4), deeper, 3)
    folders = {
        "wider": wider,
        "deeper": deeper,
        "dora": adapter_folder("dora", use_dora=True),
        "head": adapter_folder("head", target_modules=["q_proj", "lm_head"]),
        "bias": adapter_folder("bias", bias="lora_only"),
        "missing": FOLDER / "missing",
    }
    found = {}
    for name, folder in folders.items():
        try:
            adapters.load(folder)
        except AdapterError as e:
            found[name] = str(e)
    return found
