"""Download a pinned commit of the data set on this host, verify it, and prepare it for training.

    python fetch_dataset.py '{"repo": …, "commit": …, "files": […], "endpoint": …, "folder": …, "split_dir": …, "percent": 10, "questions": 100, "max_length": 256, "base_model": …}'

The last line it prints is `RESULT {…}` with paths and counts, the held-out questions among it where `questions` is not 0.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sqltune.dataset.hub import fetch
from sqltune.dataset.rows import read_rows
from sqltune.dataset.split import sample, split, write
from sqltune.errors import DatasetError, SqltuneError


def longest(train: Path, base_model: Path) -> int:
    """Tokens of the longest training example, with the end token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    texts = []
    for line in train.read_text(encoding="utf-8").splitlines():
        turn = json.loads(line)["conversation"][0]
        texts.append(turn["input"] + turn["output"])
    return max(len(ids) for ids in tokenizer(texts).input_ids) + 2


def main(want: dict) -> dict:
    """Fetch, verify, split, write; what is whole already is not done again."""
    folder = Path(want["folder"]).expanduser()
    files = fetch(want["repo"], want["commit"], want["files"], want["endpoint"], folder / "raw")
    parts = split(read_rows(files), want["percent"])
    result = write(parts, Path(want["split_dir"]).expanduser())
    tokens = longest(Path(str(result["train_path"])), Path(want["base_model"]).expanduser())
    if tokens > want["max_length"]:
        raise DatasetError(
            f"max_length: {want['max_length']} tokens, but the longest example has {tokens}: set max_length to {tokens} or more in the form, or it would be cut"
        )
    return result | {
        "longest": tokens,
        "files": [f.name for f in files],
        "held_out": sample(parts.held_out, want["questions"]),
    }


if __name__ == "__main__":
    try:
        print("RESULT " + json.dumps(main(json.loads(sys.argv[1]))))
    except SqltuneError as e:
        print(e)
        sys.exit(os.EX_DATAERR if isinstance(e, DatasetError) else 1)
