"""Random Llamas with a tokenizer of their own: they need no download, and compute as trained ones do."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lab import dataset

END_OF_TEXT = "<|endoftext|>"
VOCABULARY = 8000
"""Tokens at most; the lab's rows give fewer."""
CONTEXT = 4096
SIZES = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    # 0.3 billion parameters.
    "small": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
    },
}


def llama(folder: Path, size: str) -> Path:
    """A random Llama in bfloat16 and its tokenizer, made where another part has not done so.

    Args:
        folder: Folder of the run.
        size: One of `SIZES`.
    """
    target = folder / size
    if target.exists():
        return target
    partial = folder / f"{size}.partial"
    tokenizer = byte_pairs()
    torch.manual_seed(0)
    end = tokenizer.eos_token_id
    config = LlamaConfig(
        **SIZES[size],
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    return partial.rename(target)


def byte_pairs() -> PreTrainedTokenizerFast:
    """A tokenizer of byte pairs, trained on the lab's rows."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((text for row in dataset.rows(1) for text in row.values()), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
