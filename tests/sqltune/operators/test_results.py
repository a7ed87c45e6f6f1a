"""The result that a script leaves at the end of its output."""

from __future__ import annotations

import pytest

from sqltune.node_contracts.all_reduce import ALL_REDUCE, AllReduceResponse
from sqltune.operators.results import result_of
from ssh_gang.errors import GangError

MEASURED = AllReduceResponse(backend="gloo", world_size=2, mebibytes=16, seconds=0.5)


def test_the_result_of_an_output_is_validated():
    assert result_of(ALL_REDUCE, f"noise\nRESULT {MEASURED.model_dump_json()}\nmore\n") == MEASURED


def test_an_output_without_a_result_is_quoted():
    with pytest.raises(GangError, match=r"(?s)printed no result; its output ends:.*done"):
        result_of(ALL_REDUCE, "half\ndone\n")


def test_an_invalid_result_names_its_field():
    with pytest.raises(GangError, match="invalid result: world_size: Field required"):
        result_of(ALL_REDUCE, 'RESULT {"backend": "gloo", "mebibytes": 16, "seconds": 0.5}')
