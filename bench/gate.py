"""How often the gate passes a candidate, by how much better or worse it truly is: a simulation.

    python bench/gate.py [TRIALS]

Two models answer the same questions. A share `discordant` of them is answered correctly by exactly one of the
two; the candidate's true gain is the difference between its part of that share and the other model's. Each
trial draws new answers and applies the two rules of `include/configs/gate.yaml` that compare the models (gain
and not_worse). Prints one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.config.gate_rules import GateRules
from sqltune.config.loading import load_gate_rules, load_recipe
from sqltune.evaluation.rules import gains_enough, surely_not_worse
from sqltune.evaluation.statistics import compare

SIZES = (100, 200, 500, 1000, 2000)
"""Numbers of questions."""
DISCORDANT = (0.10, 0.20)
"""Shares of questions that exactly one of the two models answers correctly."""
GAINS = (-0.05, -0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03, 0.05, 0.08)
"""True differences between the candidate's and the other model's share of correct answers."""
TRIALS = 4000
SEED = 20261123

Counts = npt.NDArray[np.int64]
"""Questions gained and lost, a row for each trial."""


def draw(questions: int, gain: float, discordant: float, trials: int, rng: np.random.Generator) -> Counts:
    """Draw the discordant pairs of each trial."""
    gained = (discordant + gain) / 2
    cells = [gained, discordant - gained, 1 - discordant]
    return rng.multinomial(questions, cells, size=trials)[:, :2]


def share_passed(counts: Counts, questions: int, limits: GateRules) -> float:
    """Share of trials in which the comparing rules pass."""
    passed = 0
    # The same counts occur again and again: each is judged once.
    for (gained, lost), times in zip(*np.unique(counts, axis=0, return_counts=True), strict=True):
        paired = compare(questions, int(gained), int(lost), limits.confidence)
        passed += int(times) * (gains_enough(paired, limits) and surely_not_worse(paired, limits))
    return passed / len(counts)


def share_with_more_correct_answers(counts: Counts) -> float:
    """Share of trials that a plain comparison of two scores would pass."""
    return float(np.mean(counts[:, 0] > counts[:, 1]))


def main(trials: int) -> None:
    """Simulate every combination of size, discordant share and gain."""
    limits = load_gate_rules(load_recipe("codellama_7b_qlora"), "codellama_7b_qlora")
    rng = np.random.default_rng(SEED)
    for discordant in DISCORDANT:
        for questions in SIZES:
            for gain in GAINS:
                by_gate, by_counting = (draw(questions, gain, discordant, trials, rng) for _ in range(2))
                result = {
                    "measure": "passed",
                    "questions": questions,
                    "discordant": discordant,
                    "true_gain": gain,
                    "trials": trials,
                    "gate": round(share_passed(by_gate, questions, limits), 4),
                    "more_correct_answers": round(share_with_more_correct_answers(by_counting), 4),
                }
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
