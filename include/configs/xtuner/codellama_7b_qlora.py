"""CodeLlama-7b with QLoRA on Chinese text-to-SQL: the production config.

For GPU hosts, 4 bits, ZeRO-3 with offload; not for a laptop, which uses `lab_lora.py`. A 7B model in 4 bits
needs about 6 GB of a card, so on cards of 16 GB or more ZeRO-3 with offload is a choice, and a slow one;
zero2 fits too.
The chain writes a copy beside the weights, with the plan's values in part 1 and the included parts in place.
To train by hand with that copy, on each host:

    torchrun --nnodes=2 --node_rank=R --nproc_per_node=4 --master_addr=IP --master_port=12345 \
        -m xtuner.tools.train config/codellama_7b_qlora.py --work-dir DIR \
        --deepspeed deepspeed_zero3_offload --launcher pytorch
"""

# Part 1: settings. The chain replaces these values, and no others.
pretrained_model_name_or_path = "/code/models/CodeLlama-7b-hf"
data_path = "train.jsonl"
start_adapter = ""  # folder of the adapter to go on from; "": a new one
start_digest = ""
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

# include: common.py
# include: codellama_qlora.py
