"""The lab's training config: LoRA on a small Llama, on CPU hosts, over gloo.

For a laptop and for tests, not for GPU hosts: those use `codellama_7b_qlora.py`.
The chain writes a copy beside the weights, with the plan's values in part 1 and the included parts in place.
To train by hand with that copy, on each host:

    torchrun --nnodes=2 --node_rank=R --nproc_per_node=1 --master_addr=IP --master_port=12345 \
        -m xtuner.tools.train config/lab_lora.py --work-dir DIR \
        --deepspeed deepspeed_zero3_offload --launcher pytorch
"""
import torch
from adapter_finetune import AdapterFinetune
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from peft import LoraConfig
from torch.optim import AdamW
from transformers import AutoModelForCausalLM

# Part 1: settings. The chain replaces these values, and no others.
pretrained_model_name_or_path = "base-model"
data_path = "train.jsonl"
start_adapter = ""  # folder of the adapter to go on from; "": a new one
start_digest = ""
max_length = 256
batch_size = 8
accumulative_counts = 1
max_steps = 30
max_epochs = 0
lr = 1e-3
lora_r = 16
seed = 42
log_interval = 1
save_steps = 500
save_total_limit = 2
# Rows are short and few here: padding keeps each question at the positions that it is served at.
pack_to_max_length = False
map_num_proc = 1
warmup_steps = 2
max_norm = 1.0
backend = "gloo"

# include: common.py

# Part 2: model
model = dict(
    type=AdapterFinetune,
    peft_model=start_adapter or None,
    adapter_digest=start_digest,
    use_varlen_attn=False,
    # xtuner turns gradient checkpointing on by default; a model this small fits without it.
    use_activation_checkpointing=False,
    llm=dict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path=pretrained_model_name_or_path,
        torch_dtype=torch.bfloat16,
    ),
    lora=dict(
        type=LoraConfig,
        r=lora_r,
        lora_alpha=2 * lora_r,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    ),
)

# Part 3: optimizer and schedule
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=lr, betas=(0.9, 0.999), weight_decay=0),
    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),
    accumulative_counts=accumulative_counts,
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=warmup_steps),
    dict(
        type=CosineAnnealingLR,
        eta_min=0.1 * lr,
        by_epoch=by_epoch,
        begin=0 if by_epoch else warmup_steps,
        end=total,
        convert_to_iter_based=by_epoch,
    ),
]
log_processor = dict(by_epoch=False, window_size=1)
