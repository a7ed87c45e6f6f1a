"""What all xtuner configs share: tokenizer, data, loop, hooks and runtime.

Not a config of its own. A config includes it after part 1 with the line `# include: common.py`; the chain
puts the text in its place, so that one self-contained file is trained with and lies beside the weights.
"""
from datasets import load_dataset
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from rank_report import RankReport
from seal_checkpoint import SealCheckpoint
from transformers import AutoTokenizer
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.engine.hooks import ThroughputHook
from xtuner.engine.runner import TrainLoop

# A plain import is lazy in a config of this kind, and so is a call; `__import__` runs at once, before xtuner
# asks about CUDA. The shim does nothing where CUDA or ROCm is present.
__import__("xtuner_host_shim")

# ~ is the home directory of the host that trains.
pretrained_model_name_or_path = __import__("os").path.expanduser(pretrained_model_name_or_path)
data_path = __import__("os").path.expanduser(data_path)
# A config of one's own may do without these two.
start_adapter = __import__("os").path.expanduser(globals().get("start_adapter", ""))
start_digest = globals().get("start_digest", "")

tokenizer = dict(
    type=AutoTokenizer.from_pretrained,
    pretrained_model_name_or_path=pretrained_model_name_or_path,
    padding_side="right",
)

# The rows have the shape of xtuner's single-turn conversation, with the prompt that the model is served with.
train_dataset = dict(
    type=process_hf_dataset,
    # In memory: rank 0 sends the data set to the other hosts. A memory-mapped one arrives there as a path
    # that they do not have.
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

by_epoch = max_steps == 0
total = max_epochs if by_epoch else max_steps
train_cfg = (
    dict(type=TrainLoop, max_epochs=max_epochs)
    if by_epoch
    else dict(type=TrainLoop, max_iters=max_steps)
)

default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, log_metric_by_epoch=False, interval=log_interval),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(
        type=CheckpointHook, by_epoch=False, interval=save_steps, max_keep_ckpts=save_total_limit
    ),
    sampler_seed=dict(type=DistSamplerSeedHook),
)
# No EvaluateChatHook: it generates 600 tokens at the start, at the end and at every checkpoint. The chain
# evaluates the served model instead.
custom_hooks = [dict(type=ThroughputHook), dict(type=SealCheckpoint), dict(type=RankReport)]
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
