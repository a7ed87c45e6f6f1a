"""What the DAG costs: its wall time and training rate against the same commands in one shell script.

    make bench-overhead          # the lab must be up: make airflow

Both run on the same lab, one after the other, with the same plan (lab_smollm2, 8 steps, 20 questions). The
script is what an engineer would write who has the commands at hand: hosts in parallel where the DAG has them
in parallel, and no checks of its own. First the run's tasks as a table (`bench/task_costs.py`), then one JSON
object a line: measure, system, value, unit.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).resolve().parents[1]),
    str(Path(__file__).resolve().parents[1] / "plugins"),
]

from sqlalchemy import text  # noqa: E402

from bench import task_costs  # noqa: E402
from bench.task_costs import TaskCost  # noqa: E402
from lab import demo, network, settings  # noqa: E402
from lab.airflow_settings import records_env  # noqa: E402
from sqltune.config.plan import RunPlan  # noqa: E402
from sqltune.config.xtuner_config import render as render_config  # noqa: E402
from sqltune.node import exports  # noqa: E402
from sqltune.node_contracts.all_reduce import ALL_REDUCE, AllReduceRequest  # noqa: E402
from sqltune.node_contracts.dataset import FETCH_DATASET, FetchRequest  # noqa: E402
from sqltune.node_contracts.export import EXPORT_MODEL, ExportRequest  # noqa: E402
from sqltune.node_contracts.preflight import PREFLIGHT, PreflightRequest  # noqa: E402
from sqltune.node_contracts.script import NodeModel, NodeScript  # noqa: E402
from sqltune.node_contracts.serving import SERVING, ServingRequest  # noqa: E402
from sqltune.operators.members import torchrun  # noqa: E402
from sqltune.operators.mmengine import PROGRESS_PATTERN  # noqa: E402
from sqltune.records import database  # noqa: E402
from sqltune.sql.prompt import render  # noqa: E402
from sqltune.tasks import evaluate  # noqa: E402
from ssh_gang.progress import parse_progress  # noqa: E402

_PATTERN = re.compile(PROGRESS_PATTERN)
FORM = {"recipe": "lab_smollm2", "max_steps": 8, "eval_questions": 20, "force": True}
WARM_UP = 2
"""Steps left out of the rate: the first ones allocate."""
PART = "part of the script: "
"""Begins the line that the script prints as a part of it begins."""
END = "end"
"""Name of the part that is none: the script ends there."""


def report(measure: str, system: str, value: float, unit: str) -> None:
    """One result."""
    print(
        json.dumps({"measure": measure, "system": system, "value": round(value, 3), "unit": unit}), flush=True
    )


def rate(lines: list[str]) -> float:
    """Median seconds per step in a log, without the warm-up."""
    seconds = [
        p.seconds_per_step
        for p in (parse_progress(_PATTERN, line) for line in lines)
        if p and p.seconds_per_step and p.step > WARM_UP
    ]
    return statistics.median(seconds)


def run_dag(s: settings.Settings) -> tuple[RunPlan, list[TaskCost], float, float]:
    """One run of the chain: its plan, its tasks, wall seconds from trigger to end, seconds per step."""
    airflow = demo.connect(s)
    # Known answers would not be generated again: both systems must generate them.
    with database.writing() as session:
        session.execute(text("UPDATE judgements SET answer_id = NULL"))
        session.execute(text("DELETE FROM answers"))
    began = time.monotonic()
    run_id = airflow.trigger(demo.DAG, FORM)
    while airflow.run_state(demo.DAG, run_id) not in ("success", "failed"):
        time.sleep(0.5)
    seconds = time.monotonic() - began
    if airflow.run_state(demo.DAG, run_id) != "success":
        raise SystemExit(demo.failure_report(airflow, run_id))
    plan = RunPlan.model_validate(airflow.xcom(demo.DAG, run_id, "plan"))
    costs = task_costs.of_run(airflow, demo.DAG, run_id)
    return plan, costs, seconds, rate(airflow.log(demo.DAG, run_id, "train"))


def script(plan: RunPlan, s: settings.Settings, work: Path) -> str:
    """The same commands as one shell script, which prints a line as each part of it begins."""
    a, b = plan.cluster.hosts
    ssh = {
        h.name: f"ssh -i {network.KEY} -o UserKnownHostsFile={network.KNOWN_HOSTS} "
        f"-p {s.ssh_ports[h.name]} {s.address(h.name)} bash -s"
        for h in (a, b)
    }
    env = exports(plan)
    code, run = plan.code_dir.replace("~", "$HOME"), "$HOME/code/runs/by-hand"
    master = s.address(a.name) if s.namespaces else "127.0.0.1"

    def on(host: str, text: str) -> str:
        return f"{ssh[host]} <<'ON_HOST'\nset -e\n{env}{text}\nON_HOST\n"

    def on_both(text: list[str]) -> str:
        first, second = on(a.name, text[0]), on(b.name, text[1])
        return f"{{ {first}}} & first=$!\n{{ {second}}} & second=$!\nwait $first\nwait $second\n"

    def script_call(script: NodeScript, request: NodeModel) -> str:
        program, file, argument = script.argv(code, request)
        return f"{program} {file} {shlex.quote(argument)} >/dev/null"

    def ranks(script: list[str]) -> list[str]:
        return [
            f"mkdir -p {run}/train && cd {run}/train && "
            f"{shlex.join(torchrun(plan.cluster, r, master, script)).replace('HOME_', '$HOME')} 2>&1"
            for r in (0, 1)
        ]

    servers = evaluate.serving(plan).server_settings

    def serve(action: str, name: str, model: str = "") -> str:
        request = ServingRequest(action=action, settings=servers, name=name, model=model)
        return script_call(SERVING, request)

    flight = PreflightRequest(
        work_dir=plan.cluster.work_dir,
        installation=plan.installation,
        interface=plan.cluster.interface,
        accelerator="cpu",
        processes=1,
        is_master=True,
        master_port=plan.cluster.master_port,
        base_model=plan.base_model,
        min_free_disk_gb=1,
        min_free_memory_gb=1,
    )
    fetch = FetchRequest(
        repo=plan.dataset_repo,
        commit=plan.dataset_commit,
        files=plan.recipe.dataset_files,
        endpoint=plan.cluster.hub_endpoint,
        folder=plan.data_dir,
        split_dir=plan.split_dir,
        percent=plan.recipe.held_out_percent,
        questions=0,
        max_length=plan.training.max_length,
        base_model=plan.base_model,
    )
    # ~ is the home on the host: the scripts expand it.
    folder = "~/code/runs/by-hand"
    export = ExportRequest(
        config=f"{folder}/config/c.py",
        checkpoint=f"{folder}/train/iter_{plan.training.max_steps}.pth",
        world_size=2,
        base_model=plan.base_model,
        adapter=f"{folder}/adapter",
        merged=f"{folder}/merged",
    )
    config = render_config(plan, plan.train_path)
    for number, q in enumerate(evaluate.suite_of(plan)):
        body = {
            "model": "MODEL",
            "prompt": render(q.question, q.context),
            "max_tokens": plan.recipe.decoding.max_tokens,
            "temperature": 0,
            "stop": plan.recipe.decoding.stop,
        }
        (work / f"{number}.json").write_text(json.dumps(body))

    def evaluate_command(name: str) -> str:
        return (
            f"ls {work}/*.json | xargs -P {plan.recipe.decoding.concurrency} -I FILE sh -c "
            f"'sed s/MODEL/{name}/ FILE | "
            'curl --noproxy "*" -sf -H "Content-Type: application/json" -d @- '
            f"{plan.cluster.serving.url}/completions >/dev/null'\n"
        )

    shards = f"~/code/runs/by-hand/train/iter_{plan.training.max_steps}.pth"
    train = [
        "-m",
        "xtuner.tools.train",
        "HOME_/code/runs/by-hand/config/c.py",
        "--work-dir",
        "HOME_/code/runs/by-hand/train",
        "--deepspeed",
        f"deepspeed_{plan.training.deepspeed}",
        "--launcher",
        "pytorch",
    ]
    put = f"rm -rf {run} && mkdir -p {run}/config && cat >{run}/config/c.py <<'CONFIG'\n{config}\nCONFIG"
    gather = (
        f"{ssh[b.name].removesuffix(' bash -s')} 'tar cf - -C {shards} .' | "
        f"{ssh[a.name].removesuffix(' bash -s')} 'tar xf - -C {shards}'\n"
    )
    reduce = ALL_REDUCE.argv("HOME_" + plan.code_dir[1:], AllReduceRequest(backend="gloo"))[1:]
    parts = {
        "preflight": on_both([script_call(PREFLIGHT, flight)] * 2),
        "all_reduce": on_both(ranks(reduce)),
        "download_dataset": on_both([script_call(FETCH_DATASET, fetch)] * 2),
        "before.serve": on(a.name, serve("up", "by-hand-base", plan.base_model)),
        "before.evaluate": evaluate_command("by-hand-base"),
        "before.stop": on(a.name, serve("down", "by-hand-base")),
        "train": on_both([put] * 2) + on_both(ranks(train)),
        "export_model": gather + on(a.name, f"cd {run} && {script_call(EXPORT_MODEL, export)}"),
        "after.serve": on(a.name, serve("up", "by-hand", f"{folder}/merged")),
        "after.evaluate": evaluate_command("by-hand"),
        "after.stop": on(a.name, serve("down", "by-hand")),
    }
    marked = [f"echo {PART}{name} $EPOCHREALTIME\n{text}" for name, text in parts.items()]
    return "".join(["set -e -o pipefail\n", *marked, f"echo {PART}{END} $EPOCHREALTIME\n"])


def seconds_by_part(output: str) -> dict[str, float]:
    """How long each part of the script took, by its name.

    Raises:
        SystemExit: The script ended before its end.
    """
    begun = [line.removeprefix(PART).split() for line in output.splitlines() if line.startswith(PART)]
    if begun[-1][0] != END:
        raise SystemExit(f"the script ended in its part {begun[-1][0]}")
    return {name: float(end) - float(began) for (name, began), (_, end) in itertools.pairwise(begun)}


def main() -> None:
    """Both, and their ratios."""
    s = settings.load()
    if s is None:
        raise SystemExit("the lab is not up: make airflow")
    os.environ.update(
        {
            "SQLTUNE_LAB_HUB": s.hub,
            "SQLTUNE_LAB_SERVING": s.address(settings.HOSTS[0]),
            "SQLTUNE_LAB_INTERFACE": s.interface,
            "SQLTUNE_LAB_NODE_ENV": str(settings.NODE),
            **records_env(),
        }
    )
    plan, costs, dag_seconds, dag_rate = run_dag(s)
    with tempfile.TemporaryDirectory() as folder:
        # From a file: an ssh in it that reads its stdin would take the rest of a script from there.
        file = Path(folder) / "by-hand.sh"
        file.write_text(script(plan, s, Path(folder)))
        began = time.monotonic()
        answer = subprocess.run(["bash", file], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        hand_seconds = time.monotonic() - began
    if answer.returncode:
        raise SystemExit(answer.stdout[-3000:] + answer.stderr[-3000:])
    print(task_costs.table(costs, seconds_by_part(answer.stdout)), flush=True)
    hand_rate = rate(answer.stdout.splitlines())
    report("wall time of the chain", "DAG", dag_seconds, "s")
    report("wall time of the chain", "shell script", hand_seconds, "s")
    report("wall time of the chain", "DAG / shell script", dag_seconds / hand_seconds, "ratio")
    report("seconds per training step, median", "DAG", dag_rate, "s")
    report("seconds per training step, median", "torchrun by hand", hand_rate, "s")
    report("training rate", "DAG / torchrun by hand", hand_rate / dag_rate, "ratio")


if __name__ == "__main__":
    main()
