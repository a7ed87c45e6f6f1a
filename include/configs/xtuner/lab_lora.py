"""The lab's training config: LoRA on a small Llama, on CPU hosts, over gloo.

For a laptop and for tests. Not for GPU hosts: `codellama_7b_qlora.py` is for those.
Run by the chain, which writes a copy with the plan's values in part 1 beside the weights; by hand, on each host:

    torchrun --nnodes=2 --node_rank=R --nproc_per_node=1 --master_addr=IP --master_port=12345 \
        .../xtuner/tools/train.py lab_lora.py --work-dir DIR --deepspeed deepspeed_zero3_offload --launcher pytorch
"""
import torch
from datasets import load_dataset
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from peft import LoraConfig
from seal_checkpoint import SealCheckpoint
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.engine.hooks import ThroughputHook
from xtuner.engine.runner import TrainLoop
from xtuner.model import SupervisedFinetune

# A plain import is lazy in a config of this kind; this one has to run now, before xtuner asks about CUDA.
__import__("xtuner_host_shim")

# Part 1: settings. The chain replaces these values, and no others.
pretrained_model_name_or_path = "base-model"
data_path = "train.jsonl"
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
# Rows are short and few here: padded rows keep every question at the positions it is served at.
pack_to_max_length = False
map_num_proc = 1
warmup_steps = 2
max_norm = 1.0
backend = "gloo"

# The home of the host it runs on; at once, for a call is lazy in a config of this kind.
pretrained_model_name_or_path = __import__("os").path.expanduser(pretrained_model_name_or_path)
data_path = __import__("os").path.expanduser(data_path)

# Part 2: model and tokenizer
tokenizer = dict(
    type=AutoTokenizer.from_pretrained,
    pretrained_model_name_or_path=pretrained_model_name_or_path,
    padding_side="right",
)
model = dict(
    type=SupervisedFinetune,
    use_varlen_attn=False,
    # xtuner turns gradient checkpointing on by default; a model this small fits without recomputing it.
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

# Part 3: data. Rows are prepared in the shape of xtuner's single-turn conversation, with the prompt they are served with.
train_dataset = dict(
    type=process_hf_dataset,
    # In memory: rank 0 sends the data set to the other hosts, and a memory-mapped one arrives there as a path that is not theirs.
    dataset=dict(type=load_dataset, path="json", data_files=dict(train=data_path), keep_in_memory=True),
    tokenizer=tokenizer,
    max_length=max_length,
    remove_unused_columns=True,
    shuffle_before_pack=True,
    pack_to_max_length=pack_to_max_length,
    map_num_proc=map_num_proc,
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    dataset=train_dataset,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=default_collate_fn, use_varlen_attn=False),
)

# Part 4: schedule and optimizer
by_epoch = max_steps == 0
total = max_epochs if by_epoch else max_steps
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=lr, betas=(0.9, 0.999), weight_decay=0),
    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),
    accumulative_counts=accumulative_counts,
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=warmup_steps),
    dict(type=CosineAnnealingLR, eta_min=0.1 * lr, by_epoch=by_epoch, begin=0 if by_epoch else warmup_steps, end=total, convert_to_iter_based=by_epoch),
]
train_cfg = dict(type=TrainLoop, max_epochs=max_epochs) if by_epoch else dict(type=TrainLoop, max_iters=max_steps)

# Part 5: runtime
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, log_metric_by_epoch=False, interval=log_interval),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=save_steps, max_keep_ckpts=save_total_limit),
    sampler_seed=dict(type=DistSamplerSeedHook),
)
custom_hooks = [dict(type=ThroughputHook), dict(type=SealCheckpoint)]
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend=backend),
)
visualizer = None
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=seed, deterministic=False)
log_processor = dict(by_epoch=False, window_size=1)
