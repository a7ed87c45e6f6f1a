"""Show a run of the chain until it ends: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.airflow_api import Airflow, Task
from lab.settings import ROOT
from lab.waiting import bar, duration

sys.path.insert(0, str(ROOT / "plugins"))
from sqltune.records import evaluations, series
from ssh_gang.model import slug
from ssh_gang.progress import Progress

DAG = "text2sql_retrain"
SIGNS = {
    "success": "[green]✔[/]",
    "failed": "[red]✘[/]",
    "running": "[yellow]▶[/]",
    "deferred": "[yellow]▶[/]",
    "skipped": "[dim]–[/]",
    "queued": "[dim]…[/]",
    "up_for_retry": "[yellow]↻[/]",
}
NOT_STARTED = (None, "scheduled", "upstream_failed")
OVER = ("success", "failed", "skipped", "upstream_failed")


def _label(task: Task) -> str:
    """A task's name, with its index if it is mapped."""
    index = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
    return f"{task['task_id']}{index}"


def _seconds(task: Task) -> str:
    return duration(task["duration"]) if task["duration"] else ""


def _iterations(progress: Progress) -> str:
    share = progress.step / progress.total if progress.total else 0
    return f"{bar(share)} {progress}"


class Follow:
    """What is known of a run while it is followed."""

    def __init__(self, airflow: Airflow, run_id: str) -> None:
        self.airflow, self.run_id = airflow, run_id
        self.run_key = slug(run_id)
        self.tasks: list[Task] = []
        self.state = "queued"
        self._printed_states: dict[str, str] = {}
        self._printed_progress = ""
        self._began = time.monotonic()
        self._first_answers: dict[str, tuple[float, int]] = {}
        """Of each phase, when answers were first seen, and how many."""

    def refresh(self) -> bool:
        """Query Airflow; return whether the run has ended."""
        self.state = self.airflow.run_state(DAG, self.run_id)
        self.tasks = self.airflow.tasks(DAG, self.run_id)
        return self.state in ("success", "failed")

    def progress(self) -> str:
        """How far the running task is, and what is left: iterations and each host's state, or answers."""
        running = {t["task_id"] for t in self.tasks if t["state"] in ("running", "deferred")}
        if "train" in running:
            return self._training_progress()
        if running & {"before.evaluate", "after.evaluate"}:
            return self._answering_progress(running)
        return ""

    def _training_progress(self) -> str:
        last = series.last_iteration(self.run_key)
        step = _iterations(last.progress) if last else "loading the model"
        hosts = {name: point.state for name, point in series.host_states(self.run_key).items()}
        return " · ".join([step, *(f"{host} {state}" for host, state in hosts.items())])

    def _answering_progress(self, running: set[str]) -> str:
        state = evaluations.progress(self.run_key)
        if state and f"{state.phase}.evaluate" in running:
            return self._answers(state.phase, state.answered, state.questions)
        return ""

    def _answers(self, phase: str, answered: int, questions: int) -> str:
        text = f"{bar(answered / questions)} {answered}/{questions} questions answered"
        began = self._first_answers.setdefault(phase, (time.monotonic(), answered))
        seconds, new = time.monotonic() - began[0], answered - began[1]
        return f"{text} · {duration(seconds / new * (questions - answered))} left" if new else text

    def whole(self) -> str:
        """How much of the run is done, by its tasks."""
        over = sum(task["state"] in OVER for task in self.tasks)
        share = over / len(self.tasks) if self.tasks else 0
        return f"{bar(share)} {over}/{len(self.tasks)} tasks · {duration(time.monotonic() - self._began)}"

    def lines(self) -> list[str]:
        """Changes since the last call, one line each."""
        now = time.strftime("%H:%M:%S")
        lines = []
        for task in self.tasks:
            state, label = task["state"], _label(task)
            if state in (*NOT_STARTED, "queued") or self._printed_states.get(label) == state:
                continue
            self._printed_states[label] = str(state)
            is_over = state in ("success", "failed") and task["duration"]
            lines.append(f"{now} {label}: {state}{f' in {_seconds(task)}' if is_over else ''}")
        progress = self.progress()
        if progress and progress != self._printed_progress:
            self._printed_progress = progress
            lines.append(f"{now}   {progress}")
        return lines

    def picture(self) -> Group:
        """The live display."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for task in self.tasks:
            state = task["state"]
            if state not in NOT_STARTED:
                table.add_row(SIGNS.get(str(state), state), Text(_label(task)), _seconds(task))
        texts = (Text(text, style="cyan") for text in (self.progress(), self.whole()))
        return Group(Text(f"{DAG} {self.run_id}"), table, *texts)

    def until_the_end(self) -> str:
        """Show the run until it has ended; return its state."""
        console = Console()
        if console.is_terminal:
            self._show_live(console)
        else:
            self._print_lines()
        return self.state

    def _print_lines(self) -> None:
        while True:
            has_ended = self.refresh()
            for line in self.lines():
                print(line, flush=True)
            if has_ended:
                return
            time.sleep(1)

    def _show_live(self, console: Console) -> None:
        with Live(console=console, refresh_per_second=4) as live:
            while not self.refresh():
                live.update(self.picture())
                time.sleep(1)
            live.update(self.picture())
