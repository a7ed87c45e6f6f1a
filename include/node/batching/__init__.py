"""Continuous batching for FastChat's model worker: many answers at once, on plain PyTorch and transformers.

    requests   what a client asks for, checked
    rows       an answer as it grows: its tokens, its text, where it ends
    sampling   the next token of each row
    keys       keys and values of all rows, within a bound of memory; attention over rows of any length
    memory     how many tokens that bound is
    models     the models that this can serve
    adapters   LoRA adapters beside the model's weights, each for its own rows
    engine     rows join, leave and wait between two steps of the model
    thread     the engine's thread, and how a request reaches it

Why it exists: FastChat's own worker computes one answer at a time, so that it answers as many questions a
second with 64 clients as with one. Servers that batch (vLLM, TGI, SGLang) need recent GPUs, or other versions
of torch than the training. This runs wherever the training does: CUDA, ROCm, old cards, CPU.

Each step sends one token of every running row, and up to a chunk of tokens of rows that have just joined,
through the model in one pass (Yu et al., Orca, OSDI 2022: iteration-level scheduling). Only attention sees
where one row ends. A row that joins copies the keys of the longest beginning that it shares with a row that
is still in memory: prompts of one template have half of their tokens in common.

Limits:

- Llama and Qwen2 without sliding window, and not quantised. Others are refused at start.
- The rows share a rectangle of memory as wide as the longest of them. One long answer among many short ones
  makes all of them take its space.
- The whole text of a row that is streamed or has stop texts is decoded anew with each token, and each chunk
  of a stream has all of it and, where they were asked for, the logprobs of all its tokens: the time for a
  long answer grows with the square of its length. The other rows wait for it.
- No embeddings, no beam search, no images.
- In bfloat16 and float16, an answer may depend on which others are computed beside it: the sums are rounded
  in another order. float32 has margin enough. `--deterministic` computes one row at a time.

It uses the internals of transformers 4.48.0: the arguments that a model passes to `past_key_values.update`
and to the functions in `ALL_ATTENTION_FUNCTIONS`. It refuses to start on any other version.

When to remove it: transformers has continuous batching of its own since 4.53 (`generate_batch`,
`ContinuousBatchingManager`), with paged keys. Once the training's pinned version has it, `engine` becomes a
call of the manager's `add_request`, and a loop over its results; `keys`, `memory`, `models` and `sampling`
go. `requests`, `rows` (FastChat's texts and stop strings) and `batched_worker.py` stay.
"""
