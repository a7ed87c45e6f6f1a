"""The lab's command line, `python -m lab VERB`; `VERBS` lists them. The Makefile calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

from lab import credentials, postgres, settings, start, stop, supervisor
from lab.airflow_settings import airflow_env, records_env
from lab.settings import HOSTS, ROOT, Settings


def up(airflow: bool) -> Settings:
    """Start what is not running; a lab that is up keeps its settings.

    Args:
        airflow: With Airflow and its database; otherwise the hosts and the hub only.
    """
    s = settings.load()
    if s and not supervisor.is_running():
        # Left by a crash or a restart of the machine: namespaces, or processes without their supervisor.
        stop.stop_all(s)
        s = None
    s = s or settings.choose()
    print(f"hosts {', '.join(HOSTS)}: {_network(s)}", flush=True)
    start.start_hosts(s)
    if airflow:
        postgres.start_database()
        print("Airflow: api-server, scheduler, dag-processor, triggerer", flush=True)
        start.start_airflow(s)
    return s


def _network(s: Settings) -> str:
    if s.namespaces:
        return f"network namespaces, 10.213.{s.subnet}.0/24"
    return "two ports on loopback (network namespaces need root)"


def running_lab() -> Settings:
    """The settings of the lab that is up.

    Raises:
        SystemExit: no lab is up; the message is how to start one.
    """
    s = settings.load()
    if s is None or not supervisor.is_running():
        raise SystemExit("the lab is not up: make lab, or make demo")
    return s


def _sqltune(s: Settings | None, *arguments: str) -> int:
    """Run the `sqltune` command with the lab's environment; return its exit code."""
    lab_env = airflow_env(s) if s else records_env()
    env = os.environ | lab_env | {"PYTHONPATH": str(ROOT / "plugins")}
    return subprocess.run([sys.executable, "-m", "sqltune.cli", *arguments], env=env, check=False).returncode


def demo() -> int:
    """Train, evaluate and serve a model."""
    from lab.arguments import form_values
    from lab.demo import demo as run_demo

    conf = form_values()
    return run_demo(up(airflow=True), conf)


def lab() -> int:
    """Start the hosts and the hub."""
    up(airflow=False)
    return status()


def airflow() -> int:
    """Start the lab and Airflow, without a run."""
    from lab.demo import connect

    s = up(airflow=True)
    connect(s)
    print(f"{s.airflow_url}  ({credentials.USER} / {credentials.password()})")
    return 0


def ask() -> int:
    """Ask the served model one question, from the variables Q and C."""
    s = running_lab()
    question, context = os.environ.get("Q", ""), os.environ.get("C", "")
    if not question or not context:
        raise SystemExit("make ask Q='the question' C='CREATE TABLE …'")
    code = _sqltune(s, "ask", question, "--context", context, "--cluster", "lab")
    if code:
        print("if nothing is served yet: make demo", file=sys.stderr)
    return code


def served() -> int:
    """Show every promotion, or what was served at the time AT."""
    at = os.environ.get("AT")
    return _sqltune(settings.load(), "served", "--cluster", "lab", *(["--at", at] if at else []))


def alert() -> int:
    """Send a test message to everyone who gets alerts, and show which arrived."""
    return _sqltune(running_lab(), "alert", "--test")


def report() -> int:
    """Save a run as one HTML file, from the variable RUN; by default the last run of `make demo`."""
    run = os.environ.get("RUN") or _last_run()
    return _sqltune(settings.load(), "report", run, "--output", f"{run.replace(':', '-')}.html")


def _last_run() -> str:
    path = settings.LAB / "demo.json"
    if not path.exists():
        raise SystemExit("make report RUN=<run id>: the page of a run shows its id")
    return str(json.loads(path.read_text())["run_id"])


def status() -> int:
    """Show every process, and how to reach the hosts."""
    s = running_lab()
    for p in supervisor.programs():
        print(f"{p.name:15} {p.state:9} {p.description}")
    keys = f"-i {settings.LAB}/keys/id_ed25519 -o UserKnownHostsFile={settings.LAB}/keys/known_hosts"
    for host in HOSTS:
        namespace = f" (ip netns exec {s.namespace(host)} …)" if s.namespaces else ""
        print(f"ssh {keys} -p {s.ssh_ports[host]} {s.address(host)}   # {host}{namespace}")
    print(f"hub {s.hub}, Airflow {s.airflow_url}, served model {s.endpoint}")
    return 0


def down() -> int:
    """Stop everything that this lab started."""
    s = settings.load()
    if s is None and not supervisor.is_running():
        print("the lab is not up")
        return 0
    if s:
        stop.stop_all(s)
        settings.STATE.unlink(missing_ok=True)
    print("down: no process of the lab is left")
    return 0


VERBS: dict[str, Callable[[], int]] = {
    verb.__name__: verb for verb in (demo, lab, airflow, ask, served, alert, report, status, down)
}


def main(name: str) -> int:
    """Run one verb; return the exit code.

    Raises:
        SystemExit: no verb has this name.
    """
    if name not in VERBS:
        raise SystemExit(f"{name!r} is not one of {', '.join(VERBS)}")
    return VERBS[name]()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the lab stays up: `make demo` continues, `make down` stops everything")
