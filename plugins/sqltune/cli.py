"""The command line: `sqltune score | explain | audit | ask | served | versions | revisions | report | …`.

Each command imports what it needs when it runs, so that `sqltune --help` answers at once and `sqltune score`
starts without Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="sqltune",
    help="Evaluate text-to-SQL predictions, and see what a cluster serves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        envvar="SQLTUNE_CLUSTER",
        help="Cluster file in include/configs/clusters, without .yaml.",
    ),
]
DatabasesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of <db_id>.sqlite or <db_id>/<db_id>.sqlite. Without it, synthetic databases are "
        "generated from each row's CREATE TABLE context.",
    ),
]


@contextmanager
def _records_errors() -> Iterator[None]:
    """Print an error of the records as one line instead of a traceback, and exit with 1."""
    from sqlalchemy.exc import SQLAlchemyError

    from sqltune.errors import SqltuneError
    from sqltune.records.database import describe

    try:
        yield
    except (SqltuneError, SQLAlchemyError, OSError) as e:
        typer.echo(str(e) if isinstance(e, SqltuneError) else describe(e), err=True)
        raise typer.Exit(1) from None


@app.command()
def score(
    gold: Annotated[
        Path,
        typer.Argument(
            help="JSON lines or a JSON list. The gold query is read from query, answer_sqlite or answer."
        ),
    ],
    predictions: Annotated[
        Path,
        typer.Argument(help="One query a line, or a JSON list of queries or of objects with a result key."),
    ],
    after: Annotated[
        Path | None,
        typer.Argument(help="Predictions of another model: both are shown side by side."),
    ] = None,
    databases: DatabasesOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a report.")
    ] = False,
) -> None:
    """Score predicted SQL by execution match, the semantics of the official test-suite evaluation.

    Answers with other rows are counted by error class: what is wrong with them (docs/verdict.md).

    Exits with 2 when a file cannot be read or the number of predictions differs from the number of rows.
    """
    from sqltune.errors import SqltuneError
    from sqltune.evaluation.score_files import score_files

    try:
        typer.echo(score_files(gold, predictions, databases, as_json, after=after))
    except SqltuneError as e:
        typer.echo(str(e), err=True)
        raise typer.Exit(2) from None


@app.command()
def explain(
    gold: Annotated[
        Path | None,
        typer.Argument(help="Questions and gold queries, as for score. Not with --run."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Argument(help="Predictions, as for score; those before, where AFTER is given."),
    ] = None,
    after: Annotated[
        Path | None, typer.Argument(help="Predictions of another model, to be shown beside them.")
    ] = None,
    databases: DatabasesOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Airflow's run id, or the run's key in the records: explain its answers, before and after."
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question",
            "-q",
            help="Id of a question or number of its row, from 1; may be repeated. Default: every question "
            "with a wrong answer.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of tables.")
    ] = False,
) -> None:
    """Show why answers are wrong: for each, the smallest database found on which it differs from the gold.

    Exits with 2 when a file cannot be read, the files do not fit together or there is no such question, and
    with 1 when the run is not in the records.
    """
    from rich.console import Console

    from sqltune.errors import SqltuneError
    from sqltune.evaluation.explained import answered_in_files, answered_in_run, explain_answers
    from sqltune.evaluation.explanation_view import print_explained

    if (run is None) == (gold is None) or (gold and not predictions):
        raise typer.BadParameter("give either GOLD and PREDICTIONS, or --run")
    try:
        if gold and predictions:
            answered = answered_in_files(gold, predictions, after, databases)
        else:
            with _records_errors():
                answered = answered_in_run(run or "")
        questions = explain_answers(answered, question or ())
    except SqltuneError as e:
        typer.echo(str(e), err=True)
        raise typer.Exit(2) from None
    if as_json:
        for explained in questions:
            typer.echo(explained.model_dump_json())
    else:
        print_explained(Console(highlight=False, emoji=False, markup=False), questions)


@app.command()
def audit(
    source: Annotated[
        str,
        typer.Argument(
            help="JSON lines or a JSON list, as for score; or the name of a suite, such as a folder in "
            "SQLTUNE_SUITES."
        ),
    ],
    databases: DatabasesOption = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of predictions, as for score. Give two: questions on which both models agree with "
            "each other, and not with the gold query, are flagged."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each doubtful question.")
    ] = False,
) -> None:
    """Name the questions whose gold query is doubtful, and why.

    docs/verdict.md describes the reasons. A gold query that is wrong is corrected in
    include/configs/regression/corrections.yaml. Exits with 2 when a file cannot be read.
    """
    from sqltune.errors import SqltuneError
    from sqltune.evaluation.audit.audit_files import audit_source

    try:
        typer.echo(audit_source(source, databases, predictions or (), as_json))
    except SqltuneError as e:
        typer.echo(str(e), err=True)
        raise typer.Exit(2) from None


@app.command()
def normalise(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON lines or a JSON list. The query is read from answer or query, the CREATE TABLE "
            "statements from context."
        ),
    ],
    databases: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of <db_id>.sqlite to try the rewritten queries on. Without it, each is tried on "
            "empty tables made from its row's context.",
        ),
    ] = None,
) -> None:
    """Rewrite DuSQL's SQL dialect to SQLite's.

    Standard output has the rows with the new query under answer_sqlite, null where it does not run.

    Standard error has the counts and what cannot be normalised. Exits with 1 when a file cannot be read.
    """
    from sqltune.dataset import normalise_file

    raise typer.Exit(normalise_file.main(file, databases))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, in the language the model was trained on.")],
    context: Annotated[str, typer.Option("--context", "-c", help="CREATE TABLE statements of the tables.")],
    cluster: ClusterOption = "lab",
    url: Annotated[
        str | None,
        typer.Option(
            help="Base address of the API, such as http://10.0.0.1:8000/v1. Default: the cluster's."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the served model. Default: the cluster's.")
    ] = None,
) -> None:
    """Ask the served model one question and print its SQL.

    The API key is read from the environment variable that the cluster file names in serving.api_key_env; of
    several keys the first one.
    """
    from sqltune.config.loading import load_cluster
    from sqltune.config.recipe import Decoding
    from sqltune.errors import SqltuneError
    from sqltune.serving.client import Endpoint
    from sqltune.serving.client import ask as complete
    from sqltune.sql.create_table import quote_context
    from sqltune.sql.prompt import render

    try:
        serving = load_cluster(cluster).serving
        endpoint = Endpoint(url or serving.url, model or serving.model_name, serving.api_key)
        # As in training: names that need quotes have them.
        prompt = render(question, quote_context(context))
        typer.echo(complete(endpoint, [prompt], Decoding())[0].text.strip())
    except SqltuneError as e:
        typer.echo(str(e), err=True)
        raise typer.Exit(1) from None


@app.command()
def served(
    cluster: ClusterOption = "lab",
    at: Annotated[
        str | None,
        typer.Option(help="A time, such as '2026-11-24 14:03' (local time) or with an offset. Default: all."),
    ] = None,
) -> None:
    """Show what a cluster served at a given time, or every promotion.

    Exits with 1 when nothing was served at that time, and with 2 when --at is not a time.
    """
    with _records_errors():
        from sqltune.registry import versions

        raise typer.Exit(versions.main(cluster, at))


@app.command()
def versions(cluster: ClusterOption = "lab") -> None:
    """List a cluster's versions with score and verdict; an asterisk marks the champion."""
    with _records_errors():
        from sqltune.registry import versions as registered

        raise typer.Exit(registered.list_versions(cluster))


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="Airflow's run id, or the run's key in the records.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: sqltune-<key>.html, or .json."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for scripts instead of HTML.")] = False,
) -> None:
    """Save a run as one HTML file to hand on: training, comparison and every answer. It needs no network.

    Exits with 1 when the run is not in the records.
    """
    import json

    from sqltune.errors import SqltuneError
    from sqltune.ui import export, run_page
    from sqltune.ui.contracts import DAG_ID

    try:
        key = run_page.resolve(run)
        text = (
            json.dumps(export.run_json(key), indent=1, ensure_ascii=False)
            if as_json
            else export.run_html(key, DAG_ID)
        )
    except SqltuneError as e:
        typer.echo(str(e), err=True)
        raise typer.Exit(1) from None
    path = output or Path(f"sqltune-{key}.{'json' if as_json else 'html'}")
    path.write_text(text)
    typer.echo(path)


@app.command()
def alert(
    test: Annotated[bool, typer.Option("--test", help="Send a test message to every entry.")] = False,
) -> None:
    """Show who is told of which events, from the Airflow Connection sqltune_alerts; --test tries each.

    Exits with 1 when there is no such Connection, when it has a mistake, or when a message did not arrive.
    """
    from sqltune.alerts import checking

    raise typer.Exit(checking.main(test))


@app.command()
def revisions(
    commits: Annotated[
        list[str] | None, typer.Argument(help="Commits to train, in this order; they may be abbreviated.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Start a run for each commit.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the hub first.")] = False,
    airflow: Annotated[
        str, typer.Option(envvar="SQLTUNE_AIRFLOW_URL", help="Address of Airflow's page.")
    ] = "http://localhost:8080",
    user: Annotated[str, typer.Option(envvar="SQLTUNE_AIRFLOW_USER", help="Airflow user.")] = "",
    password: Annotated[str, typer.Option(envvar="SQLTUNE_AIRFLOW_PASSWORD", help="Its password.")] = "",
    token: Annotated[str, typer.Option(envvar="SQLTUNE_AIRFLOW_TOKEN", help="In place of both.")] = "",
) -> None:
    """List the commits of the watched dataset and what became of each; train chosen ones.

    `sqltune revisions --train A B C` starts a run of text2sql_retrain for each, with the user's rights. They
    are trained one after the other; a commit that was trained is trained again.
    """
    with _records_errors():
        from sqltune.revisions import command
        from sqltune.revisions.starting import AirflowLogin
        from sqltune.ui.contracts import DAG_ID

        login = AirflowLogin(airflow, token, user, password)
        for line in command.run(commits or [], train=train, refresh=refresh, login=login, dag_id=DAG_ID):
            typer.echo(line)


@app.command()
def migrate(
    from_files: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="SQLTUNE_HOME of version 0.1: its versions and promotions are imported into the database.",
        ),
    ] = None,
) -> None:
    """Create the records' database, or bring its tables up to date.

    The database is SQLTUNE_DATABASE_URL, or else a SQLite file under SQLTUNE_HOME.

    Run it before the first start and after each upgrade. Running it twice, or on two machines, is safe.
    """
    with _records_errors():
        from sqltune.records.file_import import import_files
        from sqltune.records.migrate import migrate as migrate_records

        typer.echo(f"The records have schema {migrate_records()}.")
        if from_files:
            imported = import_files(from_files)
            for cluster, (versions, promotions) in imported.items():
                typer.echo(f"Imported {versions} versions and {promotions} promotions of {cluster}.")
            if not imported:
                typer.echo(
                    f"Imported nothing: the database has all versions in {from_files}, if there are any."
                )


if __name__ == "__main__":
    app()
