"""Iterations are those that mmengine's sampler and xtuner's packer make of the rows."""

from __future__ import annotations

import pytest

from sqltune.config.loading import load_recipe
from sqltune.estimate.model import Tokens
from sqltune.estimate.steps import iterations, tokens_per_iteration, widest_batch

ROWS = Tokens(rows=1000, total=500_000, longest=900, basis="counted")
TRAINING = load_recipe("codellama_7b_qlora").training.model_copy(
    update={"max_epochs": 3, "max_length": 2048, "batch_size": 1}
)


@pytest.mark.parametrize(
    ("packed", "batch_size", "ranks", "expected"),
    [
        # 500,000 tokens make 244 whole rows of 2,048; 31 of them for each of eight ranks.
        (True, 1, 8, 3 * 31),
        (True, 2, 8, 3 * 16),
        (False, 1, 8, 3 * 125),
        (False, 8, 2, 3 * 63),
    ],
)
def test_epochs_become_iterations(packed, batch_size, ranks, expected):
    training = TRAINING.model_copy(update={"batch_size": batch_size})
    assert iterations(ROWS, training, packed, ranks) == expected


def test_max_steps_win_over_epochs():
    assert iterations(ROWS, TRAINING.model_copy(update={"max_steps": 7}), True, 8) == 7


def test_iterations_of_rows_that_are_not_known_are_not_known():
    assert iterations(None, TRAINING, True, 8) is None


def test_iterations_of_unknown_rows_are_known_where_the_steps_are():
    assert iterations(None, TRAINING.model_copy(update={"max_steps": 7}), True, 8) == 7


def test_packed_rows_are_full():
    assert tokens_per_iteration(ROWS, TRAINING, packed=True) == 2048


def test_padded_rows_have_the_average_row():
    assert tokens_per_iteration(ROWS, TRAINING.model_copy(update={"batch_size": 4}), packed=False) == 2000


def test_widest_padded_batch_is_of_the_longest_rows():
    assert widest_batch(ROWS, TRAINING.model_copy(update={"batch_size": 4}), packed=False) == 3600


def test_widest_batch_of_unknown_rows_is_of_max_length():
    assert widest_batch(None, TRAINING, packed=False) == 2048
