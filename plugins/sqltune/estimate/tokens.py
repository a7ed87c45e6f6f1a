"""Tokens of a commit's training rows, counted where the plan is made."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqltune.config.plan import RunPlan
from sqltune.dataset import hub
from sqltune.dataset.rows import read_rows
from sqltune.dataset.split import split
from sqltune.errors import DatasetError, DiskError, HubError
from sqltune.estimate.model import Tokens
from sqltune.records import token_counts
from sqltune.sql.prompt import training_row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

SPECIAL = 2
"""Tokens that xtuner adds to an example: its start and its end."""
TOKENS_PER_CHARACTER = 0.66
"""Of DuSQL's 21,156 training rows by SmolLM2's tokenizer (11.0 million tokens, 16.7 million characters). Used
where nothing was counted yet."""


def known_tokens(plan: RunPlan) -> Tokens | None:
    """What the records know of the rows: this commit's count, or another commit's."""
    key = token_counts.key_of(plan)
    if found := token_counts.find(key):
        return Tokens(rows=found.rows, total=found.tokens, longest=found.longest, basis="counted")
    if other := token_counts.newest(key):
        return Tokens(rows=other.rows, total=other.tokens, longest=other.longest, basis="other_commit")
    return None


def count_tokens(plan: RunPlan) -> Tokens | None:
    """The rows' tokens: known ones, or counted now with the base model's tokenizer, and recorded.

    Where the hub has no tokenizer of it, the characters are counted, and the hosts count the tokens when they
    have the commit. None where the hub does not answer, the disk is full, or the rows cannot be used:
    `download_dataset` says what is wrong.
    """
    known = known_tokens(plan)
    if known and known.basis == "counted":
        return known
    endpoint = plan.cluster.hub_endpoint
    try:
        with TemporaryDirectory() as folder:
            files = hub.fetch(
                plan.dataset_repo, plan.dataset_commit, plan.recipe.dataset_files, endpoint, Path(folder)
            )
            rows = split(read_rows(files), plan.recipe.held_out_percent).train
            encoder = _tokenizer(plan, endpoint, Path(folder))
            turns = [training_row(**row)["conversation"][0] for row in rows]
    except (DatasetError, DiskError, HubError, OSError) as e:
        log.warning("tokens are not counted: %s", e)
        return known
    if encoder is None:
        characters = sum(len(turn["input"]) + len(turn["output"]) for turn in turns)
        total = round(characters * _tokens_per_character(known, characters, len(rows)))
        return Tokens(rows=len(rows), total=total, longest=None, basis="characters")
    counted = tokens_of(turns, encoder)
    token_counts.put(token_counts.key_of(plan), counted.rows, counted.total, counted.longest or 0)
    return counted


def tokens_of(turns: list[dict[str, str]], encoder: Tokenizer) -> Tokens:
    """Count as xtuner encodes: prompt and answer each without special tokens, which it adds itself."""
    lengths = [SPECIAL] * len(turns)
    for part in ("input", "output"):
        encoded = encoder.encode_batch_fast([turn[part] for turn in turns], add_special_tokens=False)
        lengths = [length + len(e.ids) for length, e in zip(lengths, encoded, strict=True)]
    return Tokens(rows=len(turns), total=sum(lengths), longest=max(lengths), basis="counted")


def _tokens_per_character(known: Tokens | None, characters: int, rows: int) -> float:
    """By the average row of a commit that was counted, where there is one."""
    if known is None or not characters:
        return TOKENS_PER_CHARACTER
    return (known.total / known.rows) / (characters / rows)


def _tokenizer(plan: RunPlan, endpoint: str, folder: Path) -> Tokenizer | None:
    """The base model's tokenizer from the hub, or None where the recipe names no repository that has it."""
    repo = plan.recipe.base_model_repo
    if repo is None or plan.base_model != plan.recipe.base_model:
        return None
    try:
        file = hub.fetch_model_file(repo, "tokenizer.json", endpoint, folder)
    except (DiskError, HubError) as e:
        log.info("tokens are estimated from characters: %s", e)
        return None
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))
