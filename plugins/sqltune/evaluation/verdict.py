"""The gate's decision for one run, with the result of each rule."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from sqltune.evaluation.audit.flags import Flags, Reason
from sqltune.evaluation.statistics import PairedComparison
from ssh_gang.model import Model


class RuleResult(Model):
    """What one rule of the gate measured, its limit, and whether it is met."""

    id: str = Field(description="Stable name of the rule, as in docs/verdict.md.")
    passed: bool = Field(description="Whether the rule is met.")
    value: float | None = Field(
        description="What was measured: a share from 0 to 1, a number of questions, seconds, or a factor; "
        "null where it is not known, and the rule is met."
    )
    limit: float = Field(description="What it is compared with, in the same unit.")
    explanation: str = Field(description="One line for people: what was measured, and what is required.")
    advisory: bool = Field(False, description="A remark: if it is not met, that does not decide.")

    def __str__(self) -> str:
        mark = "ok " if self.passed else "NB " if self.advisory else "NO "
        return f"{mark} {self.id}: {self.explanation}"


class ChangedAnswer(Model):
    """A discordant pair: a question that exactly one of the two models answers correctly."""

    id: str = Field(description="Id of the question.")
    before: str = Field(description="Outcome and reason of the old model's answer.")
    after: str = Field(description="Outcome and reason of the candidate's answer.")
    doubts: tuple[Reason, ...] = Field((), description="Why the gold query is doubtful.")

    def __str__(self) -> str:
        doubts = f" (doubtful gold: {', '.join(self.doubts)})" if self.doubts else ""
        return f"{self.id}: {self.before} → {self.after}{doubts}"


class Verdict(Model):
    """Whether the candidate may be served, and why."""

    passed: bool = Field(description="Whether every rule is met; remarks do not decide.")
    rules: tuple[RuleResult, ...] = Field(description="Every rule, in the order of docs/verdict.md.")
    comparison: PairedComparison = Field(description="The paired comparison of the two models.")
    gained: tuple[ChangedAnswer, ...] = Field((), description="Questions only the candidate gets right.")
    lost: tuple[ChangedAnswer, ...] = Field((), description="Questions only the old model gets right.")
    flags: Flags = Field({}, description="Why gold queries are doubtful, by question id.")

    @property
    def outcome(self) -> str:
        """`passed` or `held back`."""
        return "passed" if self.passed else "held back"

    @property
    def failed_rules(self) -> list[RuleResult]:
        """The rules that are not met and decide."""
        return [rule for rule in self.rules if not (rule.passed or rule.advisory)]

    @property
    def headline(self) -> str:
        """One line: the outcome, and the ids of the rules that are not met."""
        return ": ".join(filter(None, [self.outcome, ", ".join(rule.id for rule in self.failed_rules)]))

    @property
    def without_answers(self) -> Self:
        """The verdict without its lists of questions, small enough to pass between tasks."""
        return self.model_copy(update={"gained": (), "lost": (), "flags": {}})

    def with_rule(self, rule: RuleResult) -> Self:
        """The verdict with one more rule, in place of an earlier one of its id."""
        rules = (*(earlier for earlier in self.rules if earlier.id != rule.id), rule)
        passed = all(rule.passed or rule.advisory for rule in rules)
        return self.model_copy(update={"rules": rules, "passed": passed})

    def __str__(self) -> str:
        stays = "" if self.passed else " (the model that is served stays)"
        lines = [f"verdict: {self.outcome}{stays}", *(f"  {rule}" for rule in self.rules)]
        for name, changes in (("gained", self.gained), ("lost", self.lost)):
            lines += [f"{name} {change}" for change in changes]
        lines += [f"doubtful gold {name}: {flag}" for name, flags in self.flags.items() for flag in flags]
        return "\n".join(lines)


class RecordedVerdict(Verdict):
    """A verdict as the run's record keeps it."""

    table: str = Field(description="The before/after table as text.")

    @classmethod
    def of(cls, verdict: Verdict, table: str) -> RecordedVerdict:
        """Return a verdict together with its table."""
        return cls(**dict(verdict), table=table)
