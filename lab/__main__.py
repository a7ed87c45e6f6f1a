"""The lab from the command line: `python -m lab demo|lab|airflow|ask|served|status|down`; the Makefile calls it."""

from __future__ import annotations

import os
import sys

from lab import credentials, postgres, settings, start, stop, supervisor


def up(airflow: bool) -> settings.Settings:
    """Bring up what is not up; the same settings for as long as the lab is up."""
    found = settings.load()
    if found and not supervisor.is_running():
        # Left by a crash or a restart of the machine: its namespaces, or processes without their supervisor.
        stop.stop_all(found)
        found = None
    chosen = found or settings.choose()
    how = (
        f"network namespaces, 10.213.{chosen.subnet}.0/24"
        if chosen.namespaces
        else "two ports on loopback (root could have namespaces)"
    )
    print(f"hosts {', '.join(settings.HOSTS)}: {how}", flush=True)
    start.start_hosts(chosen)
    if airflow:
        postgres.start_database(chosen)
        print("Airflow: api-server, scheduler, dag-processor, triggerer", flush=True)
        start.start_airflow(chosen)
    return chosen


def needs_lab() -> settings.Settings:
    """The lab that is up, or an exit that says how to have one."""
    found = settings.load()
    if found is None or not supervisor.is_running():
        raise SystemExit("the lab is not up: make lab, or make demo")
    return found


def ask() -> None:
    """One question to the served model."""
    import httpx

    sys.path.insert(0, str(settings.ROOT / "plugins"))
    from sqltune.prompt import STOP, render

    s = needs_lab()
    question, context = os.environ.get("Q", ""), os.environ.get("C", "")
    if not question or not context:
        raise SystemExit("make ask Q='the question' C='CREATE TABLE …'")
    key = os.environ.get("SQLTUNE_LAB_API_KEY")
    body = {
        "model": "text2sql",
        "prompt": render(question, context),
        "max_tokens": 64,
        "temperature": 0,
        "stop": list(STOP),
    }
    try:
        answer = httpx.post(
            f"{s.endpoint}/completions",
            json=body,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=120,
            trust_env=False,
        )
    except httpx.TransportError as e:
        raise SystemExit(f"nothing is served at {s.endpoint} ({e}): make demo") from None
    print(answer.json()["choices"][0]["text"].strip() if answer.status_code == 200 else answer.text)


def served() -> None:
    """What serves, and what served when."""
    os.environ["SQLTUNE_HOME"] = str(settings.LAB / "records")
    sys.path.insert(0, str(settings.ROOT / "plugins"))
    from sqltune.registry import versions

    if versions.main("lab", os.environ.get("AT") or None):
        raise SystemExit(1)


def status() -> None:
    """Every process and its state."""
    s = needs_lab()
    for info in supervisor.supervisor().getAllProcessInfo():  # type: ignore[operator,union-attr]
        print(f"{info['name']:15} {info['statename']:9} {info['description']}")
    for host in settings.HOSTS:
        extra = f" (ip netns exec {s.namespace(host)} …)" if s.namespaces else ""
        print(
            f"ssh -i {settings.LAB}/keys/id_ed25519 -o UserKnownHostsFile={settings.LAB}/keys/known_hosts -p {s.ssh_ports[host]} {s.address(host)}   # {host}{extra}"
        )
    print(f"hub {s.hub}, Airflow {s.airflow_url}")


def down() -> None:
    """Stop everything that this lab started."""
    s = settings.load()
    if s is None and not supervisor.is_running():
        print("the lab is not up")
        return
    if s:
        stop.stop_all(s)
        settings.STATE.unlink(missing_ok=True)
    print("down: no process of the lab is left")


def main(verb: str) -> int:
    """One verb; the exit code."""
    if verb == "demo":
        from lab import demo

        conf = demo.arguments()
        return demo.demo(up(airflow=True), conf)
    if verb == "lab":
        up(airflow=False)
        status()
    elif verb == "airflow":
        from lab import demo

        s = up(airflow=True)
        demo.connect(s)
        print(f"{s.airflow_url}  ({credentials.USER} / {credentials.password()})")
    elif verb in ("ask", "served", "status", "down"):
        {"ask": ask, "served": served, "status": status, "down": down}[verb]()
    else:
        raise SystemExit(f"{verb!r} is not one of demo, lab, airflow, ask, served, status, down")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
    except KeyboardInterrupt:
        sys.exit("\nleft as it is: `make demo` follows on, `make down` stops everything")
