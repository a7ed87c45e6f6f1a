"""Model, optimizer and schedule of CodeLlama-7b with QLoRA, for a config that includes `common.py` before.

Not a config of its own; see `common.py`.
"""
import torch
from adapter_finetune import AdapterFinetune
from mmengine.optim import AmpOptimWrapper, CosineAnnealingLR, LinearLR
from peft import LoraConfig
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from xtuner.engine.hooks import DatasetInfoHook

# Part 2: model
model = dict(
    type=AdapterFinetune,
    peft_model=start_adapter or None,
    adapter_digest=start_digest,
    use_varlen_attn=False,
    llm=dict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path=pretrained_model_name_or_path,
        torch_dtype=torch.float16,
        quantization_config=dict(
            type=BitsAndBytesConfig,
            load_in_4bit=True,
            load_in_8bit=False,
            llm_int8_threshold=6.0,
            llm_int8_has_fp16_weight=False,
            bnb_4bit_compute_dtype=torch.float16,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_quant_type="nf4",
        ),
    ),
    lora=dict(type=LoraConfig, r=lora_r, lora_alpha=16, lora_dropout=0.1, bias="none", task_type="CAUSAL_LM"),
)

# Part 3: optimizer and schedule
# With DeepSpeed, xtuner takes the optimizer from here and uses a wrapper of its own.
optim_wrapper = dict(
    type=AmpOptimWrapper,
    optimizer=dict(type=AdamW, lr=lr, betas=(0.9, 0.999), weight_decay=0),
    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),
    accumulative_counts=accumulative_counts,
    loss_scale="dynamic",
    dtype="float16",
)
# At least two steps: mmengine's LinearLR over one step never leaves its start factor, and the whole training
# would run at 1e-5 of its rate.
warmup = warmup_ratio * total if by_epoch else max(2, round(warmup_ratio * total))
param_scheduler = [
    dict(
        type=LinearLR,
        start_factor=1e-5,
        by_epoch=by_epoch,
        begin=0,
        end=warmup,
        convert_to_iter_based=by_epoch,
    ),
    dict(
        type=CosineAnnealingLR,
        eta_min=0.0,
        by_epoch=by_epoch,
        begin=warmup,
        end=total,
        convert_to_iter_based=by_epoch,
    ),
]
custom_hooks = [dict(type=DatasetInfoHook, tokenizer=tokenizer), *custom_hooks]
log_processor = dict(by_epoch=False)
