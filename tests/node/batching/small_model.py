"""A small random Llama with grouped keys, in the node environment.

`python small_model.py FOLDER [SIZES]` saves one.

Its weights are large, so that its answers vary and end, and it is float32.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

TEXTS = ["SELECT count(*) FROM head WHERE age > 56;", "SELECT name, id FROM t1 ORDER BY name DESC", "部门"]
HEAD = "Write one SQL query that answers the question.\n"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
}


def small_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([HEAD, *TEXTS], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def small_model(family: str = "llama", **changes: Any) -> Any:
    torch.manual_seed(7)
    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[
        family
    ]
    sizes = SIZES | {"vocab_size": len(small_tokenizer()), "bos_token_id": None, "eos_token_id": 0}
    return model(config(**sizes | changes)).eval()


def small_prompts(count: int) -> list[str]:
    """Different prompts with one head, of 10 to 60 tokens after it."""
    numbers = random.Random(5)
    words = ["SELECT", "name", "count", "age", "head", "FROM", "WHERE", "id", ">", "t1", "部门", "ORDER"]
    return [HEAD + " ".join(numbers.choices(words, k=numbers.randint(3, 20))) for _ in range(count)]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    small_model(**json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}).save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
