"""The verdict: is the new model let through?"""

from __future__ import annotations

from pydantic import BaseModel, Field

from sqltune.scoring import Score


class Rule(BaseModel):
    """One rule and what it found."""

    name: str
    passed: bool
    found: str


class Decision(BaseModel):
    """All rules, and what follows from them."""

    passed: bool
    rules: list[Rule]
    gained: list[str] = Field(description="Held-out questions right now and wrong before.")
    lost: list[str] = Field(description="Held-out questions wrong now and right before.")

    def __str__(self) -> str:
        heading = "let through" if self.passed else "held back"
        return "\n".join([f"verdict: {heading}", *(f"  {'ok ' if r.passed else 'NO '} {r.name}: {r.found}" for r in self.rules)])


def decide(before: Score, after: Score) -> Decision:
    """Held-out questions: not fewer right than before. Reference prompts: none that was right is wrong now.

    ValueError when the two were not asked the same questions: unpaired scores are not compared.
    """
    was = {s.id: s.verdict == "match" for s in before.scored}
    now = {s.id: s.verdict == "match" for s in after.scored}
    if was.keys() != now.keys():
        raise ValueError(f"before has {len(was)} questions and after {len(now)}, or they are not the same: run both again")
    held_out = now.keys() - after.reference.keys()
    gained = sorted(q for q in held_out if now[q] and not was[q])
    lost = sorted(q for q in held_out if was[q] and not now[q])
    broken = [q for q in before.reference if before.reference[q] and not after.reference[q]]
    rules = [
        Rule(
            name="execution match on held-out questions not worse", passed=after.matched >= before.matched,
            found=f"{before.matched} → {after.matched} of {after.questions} ({len(gained)} gained, {len(lost)} lost)",
        ),
        Rule(
            name="no reference prompt broken", passed=not broken,
            found=f"broken: {', '.join(broken)}" if broken else f"{sum(after.reference.values())} of {len(after.reference)} right, {sum(before.reference.values())} before",
        ),
    ]
    return Decision(passed=all(r.passed for r in rules), rules=rules, gained=gained, lost=lost)
