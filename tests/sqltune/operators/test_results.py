"""The result that a script leaves at the end of its output."""

from __future__ import annotations

import pytest

from sqltune.operators.results import result_of
from ssh_gang.errors import GangError


def test_the_last_result_counts():
    assert result_of('RESULT {"n": 1}\nmore\nRESULT {"n": 2}\n') == {"n": 2}


def test_an_output_without_a_result_is_quoted():
    with pytest.raises(GangError, match=r"(?s)left no result; its output ends:.*done"):
        result_of("half\ndone\n")
