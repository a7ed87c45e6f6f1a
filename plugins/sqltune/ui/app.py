"""The page's API: read-only, versioned. `sqltune_plugin` mounts it in Airflow and says who has access."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response, params
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import AwareDatetime, JsonValue

from sqltune.records.comparisons import AnswerFilter, Change
from sqltune.records.errors import SchemaError, UnknownRun
from sqltune.ui import (
    comparison_page,
    contracts,
    data_contracts,
    data_page,
    estimate_contracts,
    estimate_page,
    explained_page,
    export,
    failure_page,
    frame,
    gang_contracts,
    history_page,
    hosts_page,
    lineage_page,
    revision_contracts,
    revisions_page,
    run_page,
    timeline_page,
)
from sqltune.ui.contracts import DAG_ID
from sqltune.ui.downsampling import POINTS
from sqltune.ui.errors import NotRecorded
from sqltune.ui.live import Feeds, moment

STATIC = FilePath(__file__).parent / "static"
"""The built app."""
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer of the API: it is data, and never a document of its own."""

STREAM_HEADERS = SECURITY_HEADERS | {"X-Accel-Buffering": "no"}
"""Of a stream of events: nginx must not hold it back."""

Run = Annotated[str, Path(description="Key of the run, or Airflow's run id.")]
Points = Annotated[int, Query(ge=8, le=20_000, description="Points that a curve has at most.")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="How many at most.")]
Offset = Annotated[int, Query(ge=0, description="How many of the first ones are left out.")]


class RevalidatedFiles(StaticFiles):
    """The built app. A browser asks each time whether it has changed, so that an upgrade is seen at once."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Answer with a file, or with 304 where the browser has it."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def add_security_headers(response: Response) -> None:
    """Add `SECURITY_HEADERS` to an answer."""
    response.headers.update(SECURITY_HEADERS)


Against = Annotated[str | None, Query(description='Another run: its candidate takes the place of "before".')]

QuestionId = Annotated[str, Query(alias="id", description="Id of the question.")]
"""Not a part of the path: an id may be any text, and a path with `..`, `//` or a line break is changed."""


def _resolved(run: str | None) -> str | None:
    return run_page.resolve(run) if run else None


router = APIRouter(prefix="/api/v1", dependencies=[Depends(add_security_headers)])


@router.get("/clusters")
def clusters() -> contracts.Clusters:
    """List the clusters that a run was planned for."""
    return history_page.clusters()


@router.get("/clusters/{cluster}/history")
def history(cluster: str) -> contracts.History:
    """Return a cluster's versions with their scores, and what served when."""
    return history_page.history(cluster)


@router.get("/clusters/{cluster}/revisions")
def revisions(cluster: str) -> revision_contracts.Revisions:
    """Return the commits of a cluster's dataset, what became of each, and what its training cost."""
    return revisions_page.revisions(cluster)


@router.get("/queue")
def queue() -> revision_contracts.CommitQueue:
    """Return the commits that will be trained by themselves, in order; they come after Airflow's runs."""
    return revisions_page.queue()


@router.get("/runs")
def runs(
    cluster: Annotated[str | None, Query(description="Only the runs of this cluster.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> contracts.RunList:
    """List runs, the newest first."""
    return run_page.run_list(cluster, limit, offset)


@router.get("/runs/{run}")
def run(run: Run) -> contracts.RunHead:
    """Return one run at a glance."""
    return run_page.head(run_page.resolve(run))


@router.get("/runs/{run}/series")
def series(
    run: Run,
    points: Points = POINTS,
    after: Annotated[AwareDatetime | None, Query(description="`cursor` of an earlier answer.")] = None,
) -> contracts.Series:
    """Return the curves of a training: loss, learning rate, seconds a step, tokens a second."""
    return run_page.curves(run_page.resolve(run), points, after)


@router.get("/runs/{run}/gpus")
def gpus(run: Run, points: Points = POINTS) -> list[contracts.GpuLine]:
    """Return use and memory of each GPU over time."""
    return run_page.gpus(run_page.resolve(run), points)


@router.get("/runs/{run}/hosts")
def hosts(run: Run) -> list[gang_contracts.Host]:
    """Return the hosts and ranks of a run, with what is known of the training on each."""
    return hosts_page.hosts(run_page.resolve(run))


@router.get("/runs/{run}/preflight")
def preflight(run: Run) -> gang_contracts.Preflight:
    """Return what preflight found on each host: value, limit and problem of every check."""
    return hosts_page.preflight(run_page.resolve(run))


@router.get("/runs/{run}/timeline")
def timeline(run: Run) -> gang_contracts.Timeline:
    """Return what happened to the gangs of a run, and when; time to the first step, and goodput."""
    return timeline_page.timeline(run_page.resolve(run))


@router.get("/runs/{run}/failure")
def failure(run: Run) -> gang_contracts.FailureAnswer:
    """Return what a run failed of, or null: host, rank, step, exit, first errors, where a retry goes on."""
    return failure_page.failure(run_page.resolve(run))


@router.get("/runs/{run}/commands")
def commands(run: Run) -> gang_contracts.Commands:
    """Return what the run's gangs ran on each host, as a person would type it."""
    return timeline_page.commands(run_page.resolve(run))


@router.get("/runs/{run}/estimate")
def estimate(run: Run) -> estimate_contracts.RunEstimate:
    """Return what a run was estimated to take, beside what it took."""
    return estimate_page.of_run(run_page.resolve(run))


@router.get("/runs/{run}/turn")
def turn(run: Run) -> revision_contracts.Turn:
    """Return the run that has claimed what this one trains: while that one runs, this one waits."""
    return revisions_page.turn(run_page.resolve(run))


@router.get("/choices")
def choices() -> estimate_contracts.Choices:
    """List the recipes, clusters and presets that a new run can be made of."""
    return estimate_page.choices()


@router.get("/estimate")
def new_run_estimate(
    recipe: str | None = None,
    cluster: str | None = None,
    preset: str | None = None,
    max_steps: int | None = None,
    max_epochs: int | None = None,
    deepspeed: str | None = None,
    probe: bool | None = None,
) -> estimate_contracts.NewRunEstimate:
    """Return what a run would take with these fields of the form; nothing is started, and nobody is asked."""
    given = {
        "recipe": recipe,
        "cluster": cluster,
        "preset": preset,
        "max_steps": max_steps,
        "max_epochs": max_epochs,
        "deepspeed": deepspeed,
        "probe": probe,
    }
    return estimate_page.of_form({name: value for name, value in given.items() if value is not None})


@router.get("/runs/{run}/lineage")
def lineage(run: Run) -> gang_contracts.Lineage:
    """Return what a run's version was made from, each with its hash, and when it served."""
    return lineage_page.lineage(run_page.resolve(run))


@router.get(
    "/runs/{run}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}},
)
async def events(
    request: Request,
    run: Run,
    after: Annotated[AwareDatetime | None, Query(description="`cursor` of the curves so far.")] = None,
    last_event_id: Annotated[
        str | None, Header(description="Id of the last event; set by the browser.")
    ] = None,
) -> StreamingResponse:
    """Send news of a run as it is recorded: each event has the name of a route, and its answer.

    An event `series` holds what follows the one before, and its id, sent back as Last-Event-ID, is where the
    next stream goes on. A stream ends after a few seconds, and the browser opens the next one by itself: so a
    server that is stopped waits for none, and access is checked again and again.
    """
    key = await asyncio.to_thread(run_page.resolve, run)
    feeds: Feeds = request.app.state.feeds
    news = feeds.stream(key, moment(last_event_id) or after)
    return StreamingResponse(news, media_type="text/event-stream", headers=STREAM_HEADERS)


@router.get("/runs/{run}/logs/{name}")
def log(
    run: Run,
    name: str,
    lines: Annotated[int, Query(ge=1, le=5_000, description="Lines of its end.")] = 200,
    rank: Annotated[int | None, Query(ge=0, description="Only what this rank printed.")] = None,
) -> gang_contracts.Log:
    """Return the last lines of one of a run's logs."""
    return hosts_page.log(run_page.resolve(run), name, lines, rank)


@router.get("/runs/{run}/plan")
def plan(
    run: Run,
    against: Annotated[str | None, Query(description="Another run, to see what differs.")] = None,
) -> contracts.Plan:
    """Return what a run runs with, beside another run's plan where one is named."""
    return run_page.plan(run_page.resolve(run), _resolved(against))


@router.get("/runs/{run}/data")
def data(run: Run) -> data_contracts.DataPage:
    """Return what a run's revision of the dataset changed, against the recipe's limits."""
    return data_page.data(run_page.resolve(run))


@router.get("/runs/{run}/comparison")
def comparison(run: Run, against: Against = None) -> contracts.Comparison:
    """Return a run's result before and after, in numbers."""
    return comparison_page.comparison(run_page.resolve(run), _resolved(against))


@router.get("/runs/{run}/questions")
def questions(
    run: Run,
    change: Annotated[
        Change | None,
        Query(description="What became of the question; only of those that enter the numbers."),
    ] = None,
    outcome: Annotated[str | None, Query(description="Outcome of the candidate's answer.")] = None,
    failure_class: Annotated[str | None, Query(description="Why the candidate's SQL does not run.")] = None,
    language: str | None = None,
    hardness: str | None = None,
    database: str | None = None,
    text: Annotated[str | None, Query(max_length=200, description="Part of the question or the SQL.")] = None,
    against: Against = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> contracts.Questions:
    """Return a run's questions with what both models made of them, filtered, in the suite's order."""
    shown = AnswerFilter(
        change=change,
        outcome=outcome,
        failure_class=failure_class,
        language=language,
        hardness=hardness,
        database=database,
        text=text or None,
    )
    return comparison_page.questions(run_page.resolve(run), shown, limit, offset, _resolved(against))


@router.get("/runs/{run}/question")
def question(run: Run, name: QuestionId, against: Against = None) -> contracts.Question:
    """Return one question of a run with both answers."""
    return comparison_page.question(run_page.resolve(run), name, _resolved(against))


@router.get("/runs/{run}/explanation")
def explanation(run: Run, name: QuestionId, against: Against = None) -> contracts.Explained:
    """Return why both answers to a question were judged so, each wrong one on its witness."""
    return explained_page.explained(run_page.resolve(run), name, _resolved(against))


@router.get("/runs/{run}/report.html", response_class=HTMLResponse)
def report(run: Run) -> HTMLResponse:
    """Return a run as one HTML file to hand on: it needs no server, and opens from a mail."""
    key = run_page.resolve(run)
    name = f"sqltune-{key}.html"
    return HTMLResponse(
        export.run_html(key, DAG_ID),
        headers=SECURITY_HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/runs/{run}/report.json")
def report_json(run: Run) -> dict[str, JsonValue]:
    """Return all that the page shows of a run, by the address that answers with it."""
    return export.run_json(run_page.resolve(run))


def create_app(access: Sequence[params.Depends] = ()) -> FastAPI:
    """Return the API with the built app beside it.

    Args:
        access: Dependencies that let a request through or refuse it; every route of the API has them. The
            built app itself holds no data, and is open.
    """
    app = FastAPI(
        title="sqltune",
        version="1",
        description="What the records hold of trainings, evaluations and versions. It changes nothing.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.feeds = Feeds()
    app.include_router(router, dependencies=list(access))
    app.include_router(frame.router)
    app.mount("/static", RevalidatedFiles(directory=STATIC), name="static")
    app.add_exception_handler(UnknownRun, _not_found)
    app.add_exception_handler(NotRecorded, _not_found)
    app.add_exception_handler(SchemaError, _unavailable)
    return app


def _not_found(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=404, headers=SECURITY_HEADERS)


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503, headers=SECURITY_HEADERS)
