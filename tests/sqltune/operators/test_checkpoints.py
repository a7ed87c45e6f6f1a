"""Which checkpoints a training may go on from: the whole table."""

from __future__ import annotations

import pytest

from sqltune.node_contracts.checkpoints import SealedCheckpoint
from sqltune.operators.checkpoints import candidates


def seal(attempt, step, files, **other):
    values = {
        "attempt": attempt,
        "step": step,
        "total": 100,
        "fingerprint": "f",
        "world_size": 2,
        "files": dict.fromkeys(files, "0"),
    }
    return SealedCheckpoint.model_validate(values | other)


A, B = "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"


@pytest.mark.parametrize(
    ("a", "b", "steps"),
    [
        ([seal("t1", 10, [A]), seal("t1", 20, [A])], [seal("t1", 10, [B]), seal("t1", 20, [B])], [20, 10]),
        # A shard is missing: its host did not seal it.
        ([seal("t1", 10, [A]), seal("t1", 20, [A])], [seal("t1", 10, [B])], [10]),
        # Another training, another number of ranks, the end itself.
        ([seal("t1", 10, [A], fingerprint="g")], [seal("t1", 10, [B], fingerprint="g")], []),
        ([seal("t1", 10, [A], world_size=8)], [seal("t1", 10, [B], world_size=8)], []),
        ([seal("t1", 100, [A])], [seal("t1", 100, [B])], []),
        # Shards of two tries are not one checkpoint.
        ([seal("t1", 10, [A])], [seal("t2", 10, [B])], []),
        ([], [], []),
    ],
)
def test_candidates_are_whole_checkpoints_of_this_training(a, b, steps):
    assert [c.step for c in candidates([a, b], "f", 2)] == steps
