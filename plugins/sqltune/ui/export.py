"""A run as one HTML file that needs no server and no network, and as JSON for scripts.

The file holds the built app and every answer of the API that the app asks for, under the address it asks
with: what is seen in it is what was seen on the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, TypeAdapter

from sqltune.records.comparisons import AnswerFilter
from sqltune.ui import (
    comparison_page,
    contracts,
    data_page,
    estimate_page,
    failure_page,
    hosts_page,
    lineage_page,
    run_page,
    timeline_page,
)
from sqltune.ui.addresses import airflow_address
from sqltune.ui.comparison_page import MOST_QUESTIONS
from sqltune.ui.downsampling import POINTS
from sqltune.ui.explained_page import explain_all

APP = Path(__file__).parent / "static" / "frame.js"
MAX_EXPLAINED = 300
"""Questions that the file explains: a witness takes up to a fifth of a second."""
LOG_LINES = 200
GPU_POINTS = 200


def run_json(key: str) -> dict[str, JsonValue]:
    """Return all that the page shows of a run, by the address of the API that answers with it."""
    return {path: _json(answer) for path, answer in _answers(key)}


def run_html(key: str, dag_id: str) -> str:
    """Return a run as one HTML file.

    Args:
        key: The run.
        dag_id: The DAG that it is a run of.
    """
    head = run_page.head(key)
    app = APP.read_text()
    # "</script" would end the element that holds the data, "<!--" would change how it is read.
    data = json.dumps(run_json(key), ensure_ascii=False).replace("<", "\\u003c")
    digest = base64.b64encode(hashlib.sha256(app.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src-attr 'unsafe-inline'"
    title = html.escape(f"{head.run_id}: {head.verdict or head.state}")
    root = {"id": "root", "data-dag-id": dag_id, "data-run-id": head.run_id}
    if airflow := airflow_address():
        root["data-airflow"] = f"{airflow}/"
    attributes = " ".join(f'{name}="{html.escape(value)}"' for name, value in root.items())
    return f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="{policy}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>{title}</title>
  </head>
  <body>
    <div {attributes}></div>
    <script type="application/json" id="sqltune-report">{data}</script>
    <script>{app}</script>
  </body>
</html>
"""


def _answers(key: str) -> Iterator[tuple[str, object]]:
    head = run_page.head(key)
    yield _path(head.run_id), head
    run = _path(key)
    yield f"{run}/series", run_page.curves(key, POINTS)
    yield f"{run}/gpus?points={GPU_POINTS}", run_page.gpus(key, GPU_POINTS)
    yield f"{run}/plan", run_page.plan(key)
    yield f"{run}/data", data_page.data(key)
    yield f"{run}/comparison", comparison_page.comparison(key)
    yield f"{run}/timeline", timeline_page.timeline(key)
    yield f"{run}/failure", failure_page.failure(key)
    yield f"{run}/preflight", hosts_page.preflight(key)
    yield f"{run}/commands", timeline_page.commands(key)
    yield f"{run}/estimate", estimate_page.of_run(key)
    yield f"{run}/lineage", lineage_page.lineage(key)
    hosts = hosts_page.hosts(key)
    yield f"{run}/hosts", hosts
    for name in [name for host in hosts for name in host.logs]:
        yield f"{run}/logs/{_component(name)}?lines={LOG_LINES}", hosts_page.log(key, name, LOG_LINES)
    yield (
        f"{run}/questions?limit={MOST_QUESTIONS}",
        comparison_page.questions(key, AnswerFilter(), MOST_QUESTIONS, 0),
    )
    questions = comparison_page.whole_questions(key)
    for question in questions:
        yield f"{run}/question?id={_component(question.id)}", question
    for name, explanation in explain_all(_worth_explaining(questions)).items():
        yield f"{run}/explanation?id={_component(name)}", explanation


def _worth_explaining(questions: list[contracts.Question]) -> list[contracts.Question]:
    """The questions that changed, then those that stayed wrong, as many as `MAX_EXPLAINED`."""
    order = ("lost", "gained", "both_wrong")
    chosen = [q for change in order for q in questions if q.change == change]
    return chosen[:MAX_EXPLAINED]


def _path(run: str) -> str:
    return f"sqltune/api/v1/runs/{_component(run)}"


def _component(text: str) -> str:
    """Encode a part of an address as JavaScript's encodeURIComponent does."""
    return quote(text, safe="!'()*")


def _json(answer: object) -> JsonValue:
    if isinstance(answer, BaseModel):
        dumped: JsonValue = answer.model_dump(mode="json")
        return dumped
    return TypeAdapter(object).dump_python(answer, mode="json")  # type: ignore[no-any-return] # JSON
