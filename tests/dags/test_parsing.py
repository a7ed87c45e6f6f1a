"""What reading a DAG file or the plugin imports: each process of Airflow pays for it again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

LIBRARIES = {
    "alembic",
    "apprise",
    "asyncssh",
    "huggingface_hub",
    "mlflow",
    "numpy",
    "paramiko",
    "scipy",
    "sqlglot",
    "tokenizers",
}
"""What takes long to import, and few tasks use."""
NOT_IN_A_DAG = {*LIBRARIES, "sqltune.records.models"}
"""Neither are the tables of the records in a DAG file."""
READ = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("read", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["read"] = module
spec.loader.exec_module(module)
print(json.dumps(sorted(sys.modules)))
"""
FILES = [*sorted((ROOT / "dags").glob("*.py")), ROOT / "plugins" / "sqltune_plugin.py"]


def run(script: str, *arguments: str) -> list[str]:
    """The lines that a script prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins"), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def modules_of(script: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter has imported at the end of a script, which prints them."""
    return set(json.loads(run(script, *arguments)[-1]))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_reading_a_file_imports_nothing_heavy(file):
    assert modules_of(READ, str(file)) & NOT_IN_A_DAG == set()


def test_reading_the_plugin_builds_no_page():
    assert not [name for name in modules_of(READ, str(FILES[-1])) if name.startswith("sqltune.ui")]


IMPORT_EACH = """
import importlib, json, os, sys
import airflow.sdk
for module in sys.argv[1:]:
    # As Airflow starts a task: a copy of a process that has imported the SDK and no more.
    if os.fork() == 0:
        importlib.import_module(module)
        print(json.dumps([module, sorted(sys.modules)]), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(f"{module} cannot be imported")
"""
TASKS = {
    "plan": "sqltune.tasks.plan",
    "hosts": "sqltune.tasks.plan",
    "storages": "sqltune.tasks.plan",
    "strategies": "sqltune.tasks.plan",
    "preflight": "sqltune.tasks.preflight",
    "master_ip": "sqltune.tasks.preflight",
    "all_reduce": "sqltune.operators.all_reduce",
    "download_dataset": "sqltune.tasks.dataset",
    "approve_data": "sqltune.operators.data_approval",
    "before.serve": "sqltune.tasks.evaluate",
    "before.evaluate": "sqltune.tasks.evaluate",
    "before.stop": "sqltune.tasks.evaluate",
    "reference.questions": "sqltune.tasks.reference",
    "reference.hosted": "sqltune.operators.hosted_reference",
    "reference.answers": "sqltune.tasks.reference",
    "probe": "sqltune.operators.probe",
    "train": "sqltune.operators.train",
    "reap": "sqltune.operators.reap",
    "export_model": "sqltune.operators.export",
    "after.serve": "sqltune.tasks.evaluate",
    "after.evaluate": "sqltune.tasks.evaluate",
    "after.stop": "sqltune.tasks.evaluate",
    "gate": "sqltune.tasks.gate",
    "register": "sqltune.tasks.register",
    "approve": "sqltune.operators.approval",
    "trial": "sqltune.operators.trial",
    "end_trial": "sqltune.tasks.trial",
    "promote": "sqltune.tasks.promote",
    "prune": "sqltune.tasks.prune",
    "finish": "sqltune.tasks.finish",
}
"""The module of each task of the chain."""

# What is paid for by those that use it, and by no others.
WORK = {
    "an answer that is the gold query in another spelling": (
        "from sqltune.evaluation.scorer import score_queries\n"
        "score_queries('m', QUESTIONS, {'1': 'select A from T where A = 1'}, processes=1)",
        set(),
    ),
    "a wrong answer, whose syntax tree says why": (
        "from sqltune.evaluation.scorer import score_queries\n"
        "score_queries('m', QUESTIONS, {'1': 'SELECT a FROM t WHERE a = 2'}, processes=1)",
        {"sqlglot"},
    ),
    "the gate's statistics": (
        "from sqltune.evaluation.gate import decide\n"
        "from sqltune.evaluation.scorer import score_queries\n"
        "from sqltune.config.gate_rules import GateRules\n"
        "score = score_queries('m', QUESTIONS, {'1': QUESTIONS[0].gold}, processes=1)\n"
        "decide(score, score, GateRules.model_validate(RULES))",
        {"numpy", "scipy"},
    ),
}
SHOW = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"


@pytest.fixture(scope="module")
def imported_by_task() -> dict[str, set[str]]:
    """The modules that are imported where a task's function or operator is called, by its module."""
    lines = run(IMPORT_EACH, *sorted({*TASKS.values()}))
    # Airflow may print what it logs in between.
    answers = [json.loads(line) for line in lines if line.startswith('["sqltune.')]
    return {module: set(modules) for module, modules in answers}


def test_every_task_of_the_chain_is_in_the_table(dags):
    assert {task.task_id for task in dags["text2sql_retrain"].tasks} == {*TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_begins_without_what_it_may_not_use(imported_by_task, task):
    assert imported_by_task[TASKS[task]] & LIBRARIES == set()


@pytest.mark.parametrize("work", WORK)
def test_work_imports_what_it_uses(work):
    script, used = WORK[work]
    rules = yaml.safe_load((ROOT / "include" / "configs" / "gate.yaml").read_text())
    question = (
        "from sqltune.evaluation.questions import Question\n"
        "QUESTIONS = [Question(id='1', question='q', context='CREATE TABLE t (a INTEGER)', "
        "gold='SELECT a FROM t WHERE a = 1')]\n"
        f"RULES = {rules!r}\n"
    )
    assert modules_of(question + script + SHOW) & LIBRARIES == used


def test_the_process_that_runs_queries_imports_no_library():
    assert (
        modules_of("import sqltune.evaluation.worker" + SHOW) & {*LIBRARIES, "pydantic", "airflow"} == set()
    )
