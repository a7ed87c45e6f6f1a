"""How often the gate lets a model through, by how much better or worse it truly is: simulated, one JSON object a line.

    python bench/gate.py [TRIALS]

Two models answer the same questions. `exchanged` is the share of questions that one of them has right and the other wrong; the candidate's true gain is
the difference of the two parts of it. Drawn anew for every trial, judged by the rules of `include/configs/gate.yaml` that compare (gain, interval).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.config.loading import load_gate_rules, load_recipe
from sqltune.evaluation.rules import gains_enough, surely_not_worse
from sqltune.evaluation.statistics import compare

SIZES = (100, 200, 500, 1000, 2000)
EXCHANGED = (0.10, 0.20)
GAINS = (-0.05, -0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03, 0.05, 0.08)


def let_through(
    questions: int, gain: float, exchanged: float, trials: int, rng: np.random.Generator
) -> float:
    """Share of trials in which the comparing rules pass."""
    up = (exchanged + gain) / 2
    drawn = rng.multinomial(questions, [up, exchanged - up, 1 - exchanged], size=trials)
    passed = 0
    # The same counts come again and again: each is judged once.
    for (gained, lost), times in zip(*np.unique(drawn[:, :2], axis=0, return_counts=True), strict=True):
        found = compare(questions, int(gained), int(lost), RULES.confidence)
        passed += int(times) * (gains_enough(found, RULES) and surely_not_worse(found, RULES))
    return passed / trials


def by_counting(
    questions: int, gain: float, exchanged: float, trials: int, rng: np.random.Generator
) -> float:
    """What a comparison of two scores does: more right answers, let through."""
    up = (exchanged + gain) / 2
    drawn = rng.multinomial(questions, [up, exchanged - up, 1 - exchanged], size=trials)
    return float(np.mean(drawn[:, 0] > drawn[:, 1]))


if __name__ == "__main__":
    RULES = load_gate_rules(load_recipe("codellama_7b_qlora"), "codellama_7b_qlora")
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    rng = np.random.default_rng(20261123)
    for exchanged in EXCHANGED:
        for questions in SIZES:
            for gain in GAINS:
                print(
                    json.dumps(
                        {
                            "measure": "let through",
                            "questions": questions,
                            "exchanged": exchanged,
                            "true_gain": gain,
                            "trials": trials,
                            "gate": round(let_through(questions, gain, exchanged, trials, rng), 4),
                            "more_right_answers": round(
                                by_counting(questions, gain, exchanged, trials, rng), 4
                            ),
                        }
                    ),
                    flush=True,
                )
