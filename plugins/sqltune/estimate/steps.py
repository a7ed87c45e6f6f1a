"""Iterations of a training from its rows: what mmengine's sampler and xtuner's packer make of them."""

from __future__ import annotations

from math import ceil

from sqltune.config.recipe import Training
from sqltune.estimate.model import Tokens


def rows_of_epoch(tokens: Tokens, training: Training, packed: bool) -> int:
    """Rows that an epoch has: packed ones are cut at `max_length`, and the rest is left out."""
    return max(1, tokens.total // training.max_length) if packed else tokens.rows


def iterations(tokens: Tokens | None, training: Training, packed: bool, ranks: int) -> int | None:
    """Micro-batches of a rank; None where the rows decide and are not known."""
    if training.max_steps is not None:
        return training.max_steps
    if tokens is None or training.max_epochs is None:
        return None
    of_rank = ceil(rows_of_epoch(tokens, training, packed) / ranks)
    return training.max_epochs * ceil(of_rank / training.batch_size)


def tokens_per_iteration(tokens: Tokens | None, training: Training, packed: bool) -> int | None:
    """Tokens of one rank's micro-batch, on average; padding does not count."""
    if packed:
        return training.batch_size * training.max_length
    return None if tokens is None else round(training.batch_size * tokens.total / max(1, tokens.rows))


def widest_batch(tokens: Tokens | None, training: Training, packed: bool) -> int:
    """Tokens of the largest micro-batch, padding included: its memory is the peak."""
    longest = tokens.longest if tokens and tokens.longest and not packed else training.max_length
    return training.batch_size * min(longest, training.max_length)
