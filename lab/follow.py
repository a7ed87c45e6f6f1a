"""Show a run of the chain until it ends: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.airflow_api import Airflow
from lab.settings import LAB, ROOT

sys.path.insert(0, str(ROOT / "plugins"))
from sqltune.records.files import Record
from ssh_gang.model import slug
from ssh_gang.progress import Progress

DAG = "text2sql_retrain"
_SIGNS = {
    "success": "[green]✔[/]",
    "failed": "[red]✘[/]",
    "running": "[yellow]▶[/]",
    "deferred": "[yellow]▶[/]",
    "skipped": "[dim]–[/]",
    "queued": "[dim]…[/]",
    "up_for_retry": "[yellow]↻[/]",
}


def read(path: Path) -> Any:
    """JSON, or None where it is not there yet."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


class Follow:
    """What is known of a run while it is followed."""

    def __init__(self, airflow: Airflow, run_id: str) -> None:
        self.airflow, self.run_id = airflow, run_id
        self.record = LAB / "records" / "runs" / slug(run_id)
        self.tasks: list[dict[str, Any]] = []
        self.state = "queued"
        self._said: dict[tuple[str, int], str] = {}
        self._said_progress = ""

    def look(self) -> bool:
        """Ask Airflow; whether the run has ended."""
        self.state = self.airflow.run(DAG, self.run_id)["state"]
        self.tasks = self.airflow.tasks(DAG, self.run_id)
        return self.state in ("success", "failed")

    def progress(self) -> str:
        """What the task that runs is at: iterations and each host's state, or questions answered."""
        running = [t["task_id"] for t in self.tasks if t["state"] in ("running", "deferred")]
        if "train" in running:
            last = Record(self.record).last("progress")
            hosts = read(self.record / "hosts.json") or {}
            at = str(Progress.model_validate(last["progress"])) if last else "loading the model"
            return " · ".join([at, *(f"{h} {s}" for h, s in hosts.items())])
        if "before.ask" in running or "after.ask" in running:
            asked = read(self.record / "asked.json")
            if asked and f"{asked['which']}.ask" in running:
                return f"{asked['done']}/{asked['of']} questions answered"
        return ""

    def lines(self) -> list[str]:
        """What is new since the last call, as plain lines."""
        found = []
        for t in self.tasks:
            key = (t["task_id"], t["map_index"])
            if (
                t["state"]
                and t["state"] not in ("scheduled", "queued", "upstream_failed")
                and self._said.get(key) != t["state"]
            ):
                self._said[key] = t["state"]
                took = (
                    f" in {t['duration']:.0f} s"
                    if t["duration"] and t["state"] in ("success", "failed")
                    else ""
                )
                index = f"[{t['map_index']}]" if t["map_index"] >= 0 else ""
                found.append(f"{time.strftime('%H:%M:%S')} {t['task_id']}{index}: {t['state']}{took}")
        progress = self.progress()
        if progress and progress != self._said_progress:
            self._said_progress = progress
            found.append(f"{time.strftime('%H:%M:%S')}   {progress}")
        return found

    def picture(self) -> Group:
        """The live display."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for t in self.tasks:
            if t["state"] in (None, "scheduled", "upstream_failed"):
                continue
            index = f"[{t['map_index']}]" if t["map_index"] >= 0 else ""
            table.add_row(
                _SIGNS.get(t["state"], t["state"]),
                Text(t["task_id"] + index),
                f"{t['duration']:.0f} s" if t["duration"] else "",
            )
        return Group(Text(f"{DAG} {self.run_id}"), table, Text(self.progress(), style="cyan"))

    def until_the_end(self) -> str:
        """Show the run until it has ended; its state."""
        console = Console()
        if not console.is_terminal:
            while True:
                ended = self.look()
                for line in self.lines():
                    print(line, flush=True)
                if ended:
                    return self.state
                time.sleep(1)
        with Live(console=console, refresh_per_second=4) as live:
            while not self.look():
                live.update(self.picture())
                time.sleep(1)
            live.update(self.picture())
        return self.state
