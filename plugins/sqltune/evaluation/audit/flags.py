"""Why a gold query is doubtful."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field

from ssh_gang.model import Model

Reason = Literal[
    "does_not_run",
    "empty_everywhere",
    "tie_at_limit",
    "unquoted_date",
    "missing_comma",
    "literal_not_in_question",
    "literal_not_in_gold",
    "contradictory_golds",
    "models_agree",
]

REASONS: tuple[Reason, ...] = get_args(Reason)
"""Every reason, in the order in which reports list them. Each is the name of the rule that finds it."""


class Flag(Model):
    """A reason to doubt a question's gold query."""

    reason: Reason = Field(description="Stable id of the rule that found it, as in docs/verdict.md.")
    detail: str = Field(description="What it found, for people: the literal, the error, the other question.")

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


Flags = dict[str, tuple[Flag, ...]]
"""Flags by question id; questions without one are left out."""


def count_by_reason(flags: Mapping[str, tuple[Flag, ...]]) -> dict[str, int]:
    """Return how many questions have a flag of each reason."""
    times = Counter(reason for found in flags.values() for reason in {flag.reason for flag in found})
    return {reason: times[reason] for reason in REASONS if times[reason]}


def merged(*parts: Mapping[str, tuple[Flag, ...]]) -> Flags:
    """Return the flags of several audits of the same questions together, each flag once."""
    ids = dict.fromkeys(name for part in parts for name in part)
    return {name: tuple(dict.fromkeys(flag for part in parts for flag in part.get(name, ()))) for name in ids}
