"""Download a pinned commit of the dataset to this host, verify it, and prepare it for training.

python fetch_dataset.py '{"repo": …, "commit": …, "files": […], "folder": …, "percent": 10, …}'
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from sqltune.dataset.changes import check_rows, compare
from sqltune.dataset.hub import fetch
from sqltune.dataset.rows import read_rows
from sqltune.dataset.split import sample, split, write
from sqltune.errors import CommitGone, DatasetError, SqltuneError
from sqltune.node_contracts.data_check import RevisionChanges
from sqltune.node_contracts.dataset import FETCH_DATASET, FetchRequest, FetchResponse
from sqltune.node_contracts.script import BAD_DATA

SPECIAL_TOKENS = 2
"""Tokens that training adds to an example: its start and its end."""


def prepare(request: FetchRequest) -> FetchResponse:
    """Fetch, verify, split and write; files that are whole already are not fetched again."""
    files = fetch(
        request.repo,
        request.commit,
        request.files,
        request.endpoint,
        Path(request.folder).expanduser() / "raw",
    )
    rows = list(read_rows(files))
    parts = split(rows, request.percent)
    written = write(parts, Path(request.split_dir).expanduser())
    lengths = token_lengths(Path(written.train_path), Path(request.base_model).expanduser())
    longest = max(lengths)
    if longest > request.max_length:
        raise DatasetError(
            f"max_length: {request.max_length} tokens, but the longest example has {longest} and would be "
            f"cut: set max_length to {longest} or more in the form"
        )
    return FetchResponse(
        train_path=written.train_path,
        held_out_path=written.held_out_path,
        train_hash=written.train_hash,
        counts=asdict(written.counts),
        longest=longest,
        tokens=sum(lengths),
        files=[f.name for f in files],
        held_out=sample(parts.held_out, request.questions),
        check=check_rows(rows, parts, changes_since(request, rows)) if request.questions else None,
    )


def changes_since(request: FetchRequest, rows: list[object]) -> RevisionChanges | None:
    """What the rows change against the earlier commit; None where there is none, or its rows are gone."""
    since = request.previous_commit
    if since is None:
        return None
    folder = Path(request.previous_folder).expanduser() / "raw"
    try:
        earlier = list(read_rows(fetch(request.repo, since, request.files, request.endpoint, folder)))
    except (CommitGone, DatasetError) as e:
        print(f"not compared with {since[:12]}, the revision trained before: {e}")
        return None
    return compare(earlier, rows, since, request.percent)


def token_lengths(train: Path, base_model: Path) -> list[int]:
    """Tokens of each training example as xtuner encodes it: prompt, answer, and two special tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    turns = [row["conversation"][0] for row in read_rows([train])]
    lengths = [SPECIAL_TOKENS] * len(turns)
    for part in ("input", "output"):
        encoded = tokenizer([turn[part] for turn in turns], add_special_tokens=False)
        lengths = [length + len(ids) for length, ids in zip(lengths, encoded.input_ids, strict=True)]
    return lengths


if __name__ == "__main__":
    try:
        FETCH_DATASET.main(prepare)
    except SqltuneError as e:
        print(e)
        sys.exit(BAD_DATA if isinstance(e, DatasetError) else 1)
