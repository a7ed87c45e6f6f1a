"""CodeLlama-7b with QLoRA on Chinese text-to-SQL: the production config.

For GPU hosts, 4 bits, ZeRO-3 with offload. Not for a laptop: `lab_lora.py` is for that. A 7B model in 4 bits needs about
6 GB of a card, so on cards of 16 GB or more ZeRO-3 with offload is a choice, and a slow one; zero2 fits too.
Run by the chain, which writes a copy with the plan's values in part 1 beside the weights; by hand, on each host:

    torchrun --nnodes=2 --node_rank=R --nproc_per_node=4 --master_addr=IP --master_port=12345 \
        -m xtuner.tools.train codellama_7b_qlora.py --work-dir DIR --deepspeed deepspeed_zero3_offload --launcher pytorch
"""
import torch
from datasets import load_dataset
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import AmpOptimWrapper, CosineAnnealingLR, LinearLR
from peft import LoraConfig
from seal_checkpoint import SealCheckpoint
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.engine.hooks import DatasetInfoHook, ThroughputHook
from xtuner.engine.runner import TrainLoop
from xtuner.model import SupervisedFinetune

# Inert where CUDA or ROCm is present; lets this very file be built and stepped on a CPU by the tests.
__import__("xtuner_host_shim")

# Part 1: settings. The chain replaces these values, and no others.
pretrained_model_name_or_path = "/code/models/CodeLlama-7b-hf"
data_path = "train.jsonl"
max_length = 2048
batch_size = 1
accumulative_counts = 16
max_steps = 0  # 0: max_epochs decides
max_epochs = 3
lr = 2e-4
lora_r = 64
seed = 42
log_interval = 10
save_steps = 500
save_total_limit = 2
# Packed rows keep the cards busy: most questions are far shorter than 2,048 tokens.
pack_to_max_length = True
map_num_proc = 4
warmup_ratio = 0.03
max_norm = 1.0
backend = "nccl"

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
# With DeepSpeed xtuner takes the optimizer from here, and its own wrapper.
optim_wrapper = dict(
    type=AmpOptimWrapper,
    optimizer=dict(type=AdamW, lr=lr, betas=(0.9, 0.999), weight_decay=0),
    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),
    accumulative_counts=accumulative_counts,
    loss_scale="dynamic",
    dtype="float16",
)
# Two steps at least: mmengine's LinearLR over one step never leaves its start factor, and the whole training runs at 1e-5 of its rate.
warmup = warmup_ratio * total if by_epoch else max(2, round(warmup_ratio * total))
param_scheduler = [
    dict(type=LinearLR, start_factor=1e-5, by_epoch=by_epoch, begin=0, end=warmup, convert_to_iter_based=by_epoch),
    dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=by_epoch, begin=warmup, end=total, convert_to_iter_based=by_epoch),
]
train_cfg = dict(type=TrainLoop, max_epochs=max_epochs) if by_epoch else dict(type=TrainLoop, max_iters=max_steps)

# Part 5: runtime. No EvaluateChatHook: it generates 600 tokens at the start, at the end and at every checkpoint; the chain asks the
# served model instead.
custom_hooks = [dict(type=DatasetInfoHook, tokenizer=tokenizer), dict(type=ThroughputHook), dict(type=SealCheckpoint)]
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, log_metric_by_epoch=False, interval=log_interval),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=save_steps, max_keep_ckpts=save_total_limit),
    sampler_seed=dict(type=DistSamplerSeedHook),
)
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
log_processor = dict(by_epoch=False)
