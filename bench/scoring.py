"""What scoring Spider dev costs: CPU seconds of one core for 1,034 predictions, one JSON object a line.

    python bench/scoring.py SPIDER_DEV [TIMES]

SPIDER_DEV: the folder with dev.json, sqlite/ and predictions/. `judged` is execution match alone, in this
process: what the official evaluator does. `scored` is `score_queries`, with its worker process, the import of
the parser, and the syntax trees that say `exact` and the error classes. Each time in a fresh interpreter, so
that nothing is known from the time before; the median, the fewest and the most.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.evaluation.judge import Judge, Pair
from sqltune.evaluation.score_files import queries_of, read_questions
from sqltune.evaluation.scorer import score_queries

TIMES = 9


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def once(data: Path, predictions: Path) -> dict[str, float]:
    """Score once on one core; then judge again in this process, which scoring has told nothing."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    questions = read_questions(data / "dev.json", data / "sqlite")
    queries = queries_of(questions, predictions)
    before = cpu_seconds()
    score = score_queries(predictions.stem, questions, queries, processes=1)
    scored = cpu_seconds() - before
    judge, began = Judge(), time.process_time()
    matches = [judge.judge(Pair(q.gold, queries[q.id], q.context, q.database)) for q in questions]
    judged = time.process_time() - began
    return {"judged": judged, "scored": scored, "differ": score.matched - sum(m.matched for m in matches)}


def main(data: Path, times: int) -> None:
    """Measure each file of predictions."""
    for predictions in sorted((data / "predictions").iterdir()):
        command = [sys.executable, __file__, str(data), str(predictions)]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(times)]
        if any(run["differ"] for run in runs):
            raise SystemExit(f"{predictions.name}: the two ways of judging differ")
        for name in ("judged", "scored"):
            seconds = sorted(run[name] for run in runs)
            figures = {"median": median(seconds), "fewest": seconds[0], "most": seconds[-1]}
            measured = {key: round(value, 3) for key, value in figures.items()}
            print(json.dumps({"measure": name, "predictions": predictions.stem, **measured}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2 and not sys.argv[2].isdigit():
        print(json.dumps(once(Path(sys.argv[1]), Path(sys.argv[2]))))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else TIMES)
